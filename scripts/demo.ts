/**
 * @file The main job on a real model: SmolLM2-135M-Instruct becomes a tf.LayersModel, is sparsified as in NNCF's example
 * (up and gate projections 30 %, down projections 50 %), measured against the dense model on text that calibration never
 * saw, and chats.
 *
 * Usage: npm run demo
 */
import {readFile} from 'node:fs/promises';
import {parseArgs} from 'node:util';
import {loadBackend} from '../lib/backend/load.js';
import {withProgress} from '../lib/cli/progress.js';
import {formatTable, percent} from '../lib/cli/table.js';
import {describeGroups} from '../lib/cli/windows.js';
import {median} from '../lib/eval/latency.js';
import {TargetScope, sparsifyActivations} from '../lib/index.js';
import {
  PROJECTIONS,
  compareWithDense,
  fetchModel,
  loadLanguageModel,
  type ChatMessage,
  type Comparison,
  type LanguageModel,
} from '../models/llama/index.js';

const HELP = `Usage: npm run demo

Imports SmolLM2-135M-Instruct, sparsifies it, and prints perplexity, actual sparsity, decode speed and a short chat.`;

/** Windows of the token protocol that are scored: 8,188 tokens. */
const WINDOWS = 4;
const PROMPT_TOKENS = 64;
const DECODED_TOKENS = 64;
const ROUNDS = 5;
const QUESTIONS = ['What is the capital of France?', 'Name one thing to see there, in one sentence.'];

const {values: options} = parseArgs({options: {help: {type: 'boolean', short: 'h', default: false}}});
if (options.help) console.log(HELP);
else await demo();

async function demo(): Promise<void> {
  const {name, why} = await loadBackend();
  console.log(`backend: ${name} (${why})`);
  const started = performance.now();
  const dense = await importModel();
  const sparse = await sparsify(dense);
  const comparison = await compare(sparse);
  const speeds = await decodeSpeeds([dense, sparse]);
  printTable(comparison, speeds);
  await chat(sparse);
  console.log(`\n${((performance.now() - started) / 1000).toFixed(0)} s in all`);
  sparse.dispose();
  dense.dispose();
}

async function importModel(): Promise<LanguageModel> {
  const path = await fetchModel('smollm2-135m-instruct');
  const lm = await withProgress('importing', 'million weights', (onProgress) =>
    loadLanguageModel(path, {
      onProgress: ({done, total}) => onProgress({done: Math.ceil(done / 1e6), total: Math.ceil(total / 1e6)}),
    }),
  );
  const {architecture, layers, contextLength} = lm.config;
  console.log(
    `SmolLM2-135M-Instruct: ${architecture}, ${layers} layers, ${lm.model.countParams().toLocaleString('en')} weights, ` +
      `context of ${contextLength} tokens\n`,
  );
  return lm;
}

/** Thresholds as NNCF finds them, from 16 sequences of 256 tokens: 2,048 tokens already settle them. */
async function sparsify(dense: LanguageModel): Promise<LanguageModel> {
  const text = await readText('wikitext-2-calibration.txt');
  const model = await withProgress('calibrating', 'sequences', (onProgress) =>
    sparsifyActivations(dense.model, dense.dataset(text, {sequenceLength: 256, sequences: 16}), {
      targetSparsityByScope: [
        [new TargetScope({patterns: [PROJECTIONS.gateUp]}), 0.3],
        [new TargetScope({patterns: [PROJECTIONS.down]}), 0.5],
      ],
      calibration: 'nncf',
      onProgress,
    }),
  );
  return dense.withModel(model);
}

async function compare(sparse: LanguageModel): Promise<Comparison> {
  const text = await readText('wikitext-2-test.txt');
  return withProgress('scoring WikiText-2, dense and sparse', 'windows', (onProgress) =>
    compareWithDense(sparse, text, {protocol: 'token', windows: WINDOWS, onProgress}),
  );
}

/** Median tokens a second of each model, decoding in turns so that the machine's mood meets all alike. */
async function decodeSpeeds(models: readonly LanguageModel[]): Promise<number[]> {
  const text = await readText('wikitext-2-calibration.txt');
  const prompt = models[0].tokenizer!.encode(text).slice(0, PROMPT_TOKENS);
  const speeds: number[][] = models.map(() => []);
  await withProgress('decoding, dense and sparse in turns', 'rounds', async (onProgress) => {
    for (let round = 0; round <= ROUNDS; round++) {
      for (const [i, lm] of models.entries()) {
        const {tokensPerSecond} = await lm.generate(prompt, {maxTokens: DECODED_TOKENS});
        if (round > 0) speeds[i].push(tokensPerSecond); // the first warms up
      }
      if (round > 0) onProgress({done: round, total: ROUNDS});
    }
  });
  return speeds.map(median);
}

function printTable({modes, sparsity, tokens}: Comparison, speeds: number[]): void {
  const {divergence, agreement} = modes[1];
  const rows = modes.map((mode, i) => ({...mode, speed: speeds[i]}));
  console.log();
  console.log(
    formatTable(rows, [
      {title: 'mode', cell: ({mode}) => mode},
      {
        title: 'avg. activation sparsity',
        cell: ({sparsity}) => (sparsity === 0 ? '-' : percent(sparsity)),
        align: 'right',
      },
      {title: 'token perplexity', cell: ({tokenPerplexity}) => tokenPerplexity.toFixed(3), align: 'right'},
      {title: 'word perplexity', cell: ({wordPerplexity}) => wordPerplexity.toFixed(3), align: 'right'},
      {title: 'decoding', cell: ({speed}) => `${speed.toFixed(1)} tokens/s`, align: 'right'},
      {title: 'speed', cell: ({speed}) => `${(speed / speeds[0]).toFixed(2)}x`, align: 'right'},
    ]),
  );
  console.log(
    `\nthe first ${tokens.toLocaleString('en')} tokens of WikiText-2's test split; KL divergence from dense ` +
      `${divergence.toPrecision(3)} nats a token, the same likeliest token for ${percent(agreement)}\n`,
  );
  console.log(describeGroups(sparsity!)); // the model is sparsified
}

async function chat(lm: LanguageModel): Promise<void> {
  console.log('\na chat with the sparsified model:');
  const messages: ChatMessage[] = [];
  for (const question of QUESTIONS) {
    messages.push({role: 'user', content: question});
    process.stdout.write(`  > ${question}\n  `);
    const {text} = await lm.generate(messages, {
      maxTokens: 60,
      onToken: ({text}) => process.stdout.write(text.replaceAll('\n', '\n  ')),
    });
    console.log();
    messages.push({role: 'assistant', content: text});
  }
}

function readText(name: string): Promise<string> {
  return readFile(new URL(`../models/llama/data/${name}`, import.meta.url), 'utf8');
}
