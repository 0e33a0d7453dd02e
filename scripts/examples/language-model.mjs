/**
 * @file A language model is sparsified on a text, held against its dense self on another, and asked to go on with a prompt.
 *
 * Usage: npm run build && node scripts/examples/language-model.mjs [MODEL]
 *
 * MODEL is a GGUF file or a Hugging Face folder; by default SmolLM2-135M-Instruct, which is fetched once (98 MB).
 */
import {readFile} from 'node:fs/promises';
import {TargetScope, sparsifyActivations} from 'tfjs-sparsify';
import {PROJECTIONS, compareWithDense, fetchModel, loadLanguageModel} from 'tfjs-sparsify/language';
import {loadBackend} from 'tfjs-sparsify/node';

const text = (name) => readFile(new URL(`../../models/smollm2/${name}`, import.meta.url), 'utf8');

await loadBackend();
const lm = await loadLanguageModel(process.argv[2] ?? (await fetchModel('smollm2-135m-instruct')));
const contextLength = Math.min(lm.config.contextLength, 256);
const calibration = lm.dataset(await text('wikitext-2-calibration.txt'), {
  sequences: 8,
  sequenceLength: Math.min(contextLength, 64),
});
const sparse = lm.withModel(
  await sparsifyActivations(lm.model, calibration, {
    targetSparsityByScope: [
      [new TargetScope({patterns: [PROJECTIONS.gateUp]}), 0.3],
      [new TargetScope({patterns: [PROJECTIONS.down]}), 0.5],
    ],
  }),
);

const {modes} = await compareWithDense(sparse, await text('wikitext-2-test.txt'), {
  protocol: 'token',
  windows: 2,
  contextLength,
});
for (const {mode, sparsity, tokenPerplexity} of modes) {
  console.log(
    `${mode}: sparsity ${sparsity.toFixed(3)}, perplexity of a token ${tokenPerplexity.toFixed(2)}`,
  );
}

const {text: answer} = await sparse.generate('The capital of France is', {maxTokens: 8});
console.log(`The capital of France is${answer}`);
