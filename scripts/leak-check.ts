/**
 * @file Whether generating for long leaves memory behind: many generations with a tiny checkpoint, dense and sparsified,
 * and what tensors and resident memory were at the start and are at the end.
 *
 * Usage: node --import tsx scripts/leak-check.ts [--tokens 10000]
 */
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import * as tf from '@tensorflow/tfjs';
import {loadBackend} from '../lib/backend/load.js';
import {sparsifyActivations} from '../lib/index.js';
import {PROJECTIONS, loadLanguageModel} from '../lib/language/index.js';

const HELP = `Usage: node --import tsx scripts/leak-check.ts [--tokens N]

Generates N tokens (10,000 by default) on the fastest backend (SPARSIFY_BACKEND names another), and fails if tensors are
left, or resident memory grows by more than 32 MiB after the first tenth.`;

const TINY = fileURLToPath(new URL('../spec/fixtures/tiny/llama3-gqa-rope', import.meta.url));
const TOKENS_A_CALL = 250;
/** Garbage that is not collected yet, and the allocator's own slack. */
const ALLOWED_GROWTH_BYTES = 32 * 1024 ** 2;

const {values: options} = parseArgs({
  options: {help: {type: 'boolean', short: 'h', default: false}, tokens: {type: 'string', default: '10000'}},
});
if (options.help) console.log(HELP);
else await check(Number(options.tokens));

async function check(tokens: number): Promise<void> {
  await loadBackend();
  const dense = await loadLanguageModel(TINY);
  const ids = Array.from({length: 512}, (_, i) => (i * 37) % 250);
  const model = await sparsifyActivations(dense.model, dense.dataset(ids, {sequenceLength: 64}), {
    targetSparsityByScope: {[PROJECTIONS.all]: 0.5},
  });
  const sparse = dense.withModel(model);
  let generated = 0;
  const generate = async (lm: typeof dense) => {
    const prompt = [1 + (generated % 97), 2, 3];
    const options = {maxTokens: TOKENS_A_CALL, temperature: 1, seed: generated};
    generated += (await lm.generate(prompt, options)).tokens.length + 1;
  };
  const until = async (count: number) => {
    while (generated < count) {
      await generate(dense);
      await generate(sparse);
    }
    return {tensors: tf.memory().numTensors, bytes: process.memoryUsage().rss};
  };
  const start = await until(tokens / 10);
  const end = await until(tokens);
  const grown = end.bytes - start.bytes;
  const mebibytes = (bytes: number) => `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
  console.log(
    `${generated} tokens on ${tf.getBackend()}: tensors ${start.tensors} -> ${end.tensors}, resident memory ` +
      `${mebibytes(start.bytes)} -> ${mebibytes(end.bytes)}`,
  );
  if (end.tensors !== start.tensors || grown > ALLOWED_GROWTH_BYTES) {
    console.error('memory is left behind');
    process.exitCode = 1;
  }
  sparse.dispose();
  dense.dispose();
}
