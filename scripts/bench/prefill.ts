/**
 * @file What the prefill policies of `generate` cost: perplexity of the text behind a prompt, with the prompt computed
 * sparse, dense, or dense for its first tokens only. All see the same prompts, and the text behind them is sparse, as
 * generated tokens are.
 *
 * Usage: npm run bench -- prefill [--model PATH] [--windows N] [--prompt T] [--json]
 */
import {readFile} from 'node:fs/promises';
import {parseArgs} from 'node:util';
import {loadBackend} from '../../lib/backend/load.js';
import {withProgress} from '../../lib/cli/progress.js';
import {formatTable, percent} from '../../lib/cli/text-table.js';
import {sparsifyActivations} from '../../lib/index.js';
import {
  PROJECTIONS,
  fetchModel,
  loadLanguageModel,
  type Decoder,
  type LanguageModel,
  type PrefillPolicy,
} from '../../lib/language/index.js';

const HELP = `Usage: npm run bench -- prefill [--model PATH] [--windows N] [--prompt T] [--json]

Cuts the end of the WikiText-2 calibration text, which calibration does not read here, into N (24) pieces of T (256) tokens
of prompt and 256 that follow, and prints the perplexity of what follows by prefill policy and sparsity.

Output of --json: [{sparsity, policy, perplexity, vsSparse}]; policy is 'sparse', 'dense', or how many tokens are dense`;

const FOLLOWING = 256;
const CALIBRATION_SEQUENCES = 16;
const POLICIES: readonly PrefillPolicy[] = ['sparse', 1, 16, 'dense'];
const SPARSITIES = [
  {name: 'up/gate 30 %, down 50 %', targets: {[PROJECTIONS.gateUp]: 0.3, [PROJECTIONS.down]: 0.5}},
  {name: 'all projections 50 %', targets: {[PROJECTIONS.all]: 0.5}},
];

interface Row {
  readonly sparsity: string;
  readonly policy: PrefillPolicy;
  readonly perplexity: number;
  /** Over that of the policy `sparse`. */
  readonly vsSparse: number;
}

const {values: options} = parseArgs({
  options: {
    model: {type: 'string'},
    windows: {type: 'string', default: '24'},
    prompt: {type: 'string', default: '256'},
    json: {type: 'boolean', default: false},
    help: {type: 'boolean', short: 'h', default: false},
  },
});
if (options.help) console.log(HELP);
else await main();

async function main(): Promise<void> {
  const [windows, prompt] = [positive('windows', options.windows), positive('prompt', options.prompt)];
  await loadBackend();
  const dense = await loadLanguageModel(options.model ?? (await fetchModel('smollm2-135m-instruct')), {
    weights: 'float32',
  });
  const text = await readFile(
    new URL('../../models/smollm2/wikitext-2-calibration.txt', import.meta.url),
    'utf8',
  );
  const pieces = lastPieces(dense.tokenizer!.encode(text), windows, prompt + FOLLOWING);
  const rows: Row[] = [];
  for (const {name, targets} of SPARSITIES) {
    const data = dense.dataset(text, {sequences: CALIBRATION_SEQUENCES});
    const model = await withProgress(`calibrating ${name}`, 'sequences', (onProgress) =>
      sparsifyActivations(dense.model, data, {targetSparsityByScope: targets, onProgress}),
    );
    const sparse = dense.withModel(model);
    rows.push(...(await measure(name, sparse, pieces, prompt)));
    sparse.dispose();
  }
  dense.dispose();
  if (options.json) {
    console.log(JSON.stringify(rows, null, 2));
    return;
  }
  console.log(
    formatTable(rows, [
      {title: 'sparsity', cell: (row) => row.sparsity},
      {title: 'prompt', cell: ({policy}) => (typeof policy === 'number' ? `first ${policy} dense` : policy)},
      {title: 'perplexity of what follows', cell: (row) => row.perplexity.toFixed(3), align: 'right'},
      {title: 'more than sparse', cell: (row) => percent(row.vsSparse - 1), align: 'right'},
    ]),
  );
}

/** Pieces of equal length from the end of the text, far from what calibration reads at its beginning. */
function lastPieces(ids: readonly number[], count: number, length: number): number[][] {
  const start = ids.length - count * length;
  if (start < CALIBRATION_SEQUENCES * 256) {
    throw new Error(
      `the text has ${ids.length} tokens: too few for ${count} windows of ${length}; give fewer with --windows`,
    );
  }
  return Array.from({length: count}, (_, i) => ids.slice(start + i * length, start + (i + 1) * length));
}

async function measure(
  sparsity: string,
  lm: LanguageModel,
  pieces: readonly number[][],
  prompt: number,
): Promise<Row[]> {
  const decoder = lm.decoder();
  const perplexities: number[] = [];
  for (const policy of POLICIES) {
    perplexities.push(
      await withProgress(`scoring, prompt ${policy}`, 'windows', async (onProgress) => {
        let logLikelihood = 0;
        for (const [i, piece] of pieces.entries()) {
          logLikelihood += await scoreAfterPrompt(decoder, piece, prompt, policy);
          onProgress({done: i + 1, total: pieces.length});
        }
        return Math.exp(-logLikelihood / (pieces.length * FOLLOWING));
      }),
    );
  }
  decoder.dispose();
  const vsSparse = perplexities[POLICIES.indexOf('sparse')];
  return POLICIES.map((policy, i) => ({
    sparsity,
    policy,
    perplexity: perplexities[i],
    vsSparse: perplexities[i] / vsSparse,
  }));
}

/** Log likelihood of the tokens behind the prompt. The prompt's last token, whose logits give the first of them, is one of them. */
async function scoreAfterPrompt(
  decoder: Decoder,
  tokens: readonly number[],
  prompt: number,
  policy: PrefillPolicy,
): Promise<number> {
  decoder.truncate(0);
  const context = prompt - 1;
  const denseTokens = policy === 'sparse' ? 0 : policy === 'dense' ? context : Math.min(policy, context);
  if (denseTokens > 0) await decoder.append(tokens.slice(0, denseTokens), {dense: true});
  if (denseTokens < context) await decoder.append(tokens.slice(denseTokens, context));
  const scores = await decoder.score(tokens.slice(context, -1), tokens.slice(prompt));
  return scores.reduce((sum, score) => sum + score, 0);
}

function positive(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new Error(`--${name} is ${text}; give a whole number of at least 1`);
}
