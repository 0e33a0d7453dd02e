/**
 * @file The architectures that are too big to ship: the published configurations of Llama-2-7B, Llama-3-8B-Instruct and
 * Mixtral-8x7B-Instruct at full width, with one layer of random weights, through import, sparsify, save, load and decode.
 * With the real checkpoints the same is three commands; --help shows them.
 *
 * Usage: node --import tsx scripts/real-architectures.ts [NAME ...]
 */
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {parseArgs} from 'node:util';
import {loadBackend} from '../lib/backend/load.js';
import {inspect, sparsifyActivations, TargetScope} from '../lib/index.js';
import {PROJECTIONS, loadLanguageModel, type LanguageModel} from '../lib/language/index.js';
import {SHAPES, makeCheckpoint, type Json} from './checkpoint/random-checkpoint.js';

const HELP = `Usage: node --import tsx scripts/real-architectures.ts [llama-2-7b] [llama-3-8b-instruct] [mixtral-8x7b-instruct]

Each needs 2 to 9 GB of disk in the temporary folder (TMPDIR moves it) and 4 to 16 GB of memory, one after the other.

With the real checkpoints, which need consent on the Hugging Face Hub (HF_TOKEN) and about twice their float32 size of
memory (28 GB for 7 billion weights):
  npx tfjs-sparsify sparsify "$(npx tfjs-sparsify fetch hf:meta-llama/Llama-2-7b-hf)" --out llama-2-7b-sparse \\
    --data models/smollm2/wikitext-2-calibration.txt --calibration nncf \\
    --target '@gate_up=0.3' --target '@down=0.5'
  npx tfjs-sparsify evaluate llama-2-7b-sparse --data models/smollm2/wikitext-2-test.txt
  npx tfjs-sparsify generate llama-2-7b-sparse 'The capital of France is'
and so for hf:meta-llama/Meta-Llama-3-8B-Instruct and hf:mistralai/Mixtral-8x7B-Instruct-v0.1.`;

/** The published shapes by the names that this script takes. */
const CONFIGS: Readonly<Record<string, Json>> = {
  'llama-2-7b': SHAPES['llama-2-7b'],
  'llama-3-8b-instruct': SHAPES['llama-3-8b'],
  'mixtral-8x7b-instruct': SHAPES['mixtral-8x7b'],
};
const LAYERS = 1;
const GENERATED_TOKENS = 16;
const SHARD_BYTES = 4e9;

const {values: options, positionals} = parseArgs({
  allowPositionals: true,
  options: {help: {type: 'boolean', short: 'h', default: false}},
});
const unknown = positionals.filter((name) => !Object.hasOwn(CONFIGS, name));
if (options.help) console.log(HELP);
else if (unknown.length > 0) {
  console.error(`there is no ${unknown.join(', ')}; there are ${Object.keys(CONFIGS).join(', ')}`);
  process.exitCode = 2;
} else {
  await loadBackend();
  for (const name of positionals.length > 0 ? positionals : Object.keys(CONFIGS)) await prove(name);
}

async function prove(name: string): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-architecture-'));
  const timed = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    const result = await work();
    const memory = (process.memoryUsage().rss / 1e9).toFixed(1);
    console.log(
      `${name}: ${what}, ${((performance.now() - start) / 1000).toFixed(1)} s, ${memory} GB in use`,
    );
    return result;
  };
  try {
    const config = {...CONFIGS[name], num_hidden_layers: LAYERS};
    await timed('wrote random weights as safetensors', () => makeCheckpoint(folder, config, SHARD_BYTES));
    const lm = await timed('imported', () => loadLanguageModel(folder));
    const ids = Array.from({length: 4 * 64}, (_, i) => 3 + ((i * 7919) % (lm.config.vocabularySize - 3)));
    await timed('sparsified in place', () =>
      sparsifyActivations(lm.model, lm.dataset(ids, {sequenceLength: 64}), {
        targetSparsityByScope: [
          [new TargetScope({patterns: [PROJECTIONS.gateUp]}), 0.3],
          [new TargetScope({patterns: [PROJECTIONS.down]}), 0.5],
        ],
        inPlace: true,
        saveStatistics: true,
      }),
    );
    const before = await timed('decoded', () => decode(lm, ids));
    const thresholds = inspect(lm.model).map(({path, threshold}) => `${path} ${threshold}`);
    await timed('saved', () => lm.save(join(folder, 'sparse')));
    lm.dispose();
    const loaded = await timed('loaded', () => loadLanguageModel(join(folder, 'sparse')));
    const after = await timed('decoded again', () => decode(loaded, ids));
    const same = inspect(loaded.model).map(({path, threshold}) => `${path} ${threshold}`);
    loaded.dispose();
    if (after.join() !== before.join() || same.join() !== thresholds.join()) {
      throw new Error(`${name} differs after loading: ${after.join()} instead of ${before.join()}`);
    }
    console.log(`${name}: the same tokens and thresholds after loading\n`);
  } finally {
    rmSync(folder, {recursive: true});
  }
}

async function decode(lm: LanguageModel, ids: readonly number[]): Promise<readonly number[]> {
  const {tokens, tokensPerSecond} = await lm.generate(ids.slice(0, 32), {maxTokens: GENERATED_TOKENS});
  console.log(`  ${tokensPerSecond.toFixed(1)} tokens a second with ${LAYERS} layer`);
  return tokens;
}
