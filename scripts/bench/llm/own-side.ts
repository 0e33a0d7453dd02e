/**
 * @file The process of one of our sides. Arguments: model, decoder (`native` or `layers`), weights (`float32`, `bfloat16`,
 * `int8`: embedding and head too, or `as shipped`: those of the file), target sparsity of all seven projections (0: stock Dense layers), threads.
 */
import {readFile} from 'node:fs/promises';
import {IgnoredScope, TargetScope, compressWeights, sparsifyActivations} from '../../../lib/index.js';
import {loadBackend} from '../../../lib/backend/load.js';
import {nativeKernels} from '../../../lib/backend/native.js';
import type {Decoder} from '../../../lib/language/decoding/decoder.js';
import {createGraphDecoder} from '../../../lib/language/decoding/graph-decoder.js';
import {loadLanguageModel} from '../../../lib/language/index.js';
import {createNativeDecoder} from '../../../lib/language/decoding/native-decoder.js';
import {PROJECTIONS} from '../../../lib/language/projections.js';
import {serveSide, type Work} from './side.js';

/** Enough for thresholds (2,048 tokens give those of 16,384 within 1 %). */
const CALIBRATION = {sequenceLength: 256, sequences: 16};
const CALIBRATION_TEXT = new URL('../../../models/smollm2/wikitext-2-calibration.txt', import.meta.url);

const [path, kind, weights, sparsity, threads] = process.argv.slice(2);
await serveSide(load);

async function load(): Promise<Work> {
  await loadBackend({name: 'node'});
  nativeKernels()?.setThreads(Number(threads));
  const lm = await loadLanguageModel(path, {
    ...(path.endsWith('.gguf') ? {weights: weights === 'as shipped' ? 'keep' : 'float32'} : {}),
  });
  if (weights === 'int8') await compressWeights(lm.model, {inPlace: true});
  if (Number(sparsity) > 0) {
    const text = await readFile(CALIBRATION_TEXT, 'utf8');
    await sparsifyActivations(lm.model, lm.dataset(text, CALIBRATION), {
      targetSparsityByScope: [[new TargetScope({patterns: [PROJECTIONS.all]}), Number(sparsity)]],
      ignoredScope: new IgnoredScope({names: ['lm_head'], validate: false}),
      inPlace: true,
    });
  }
  const decoder = makeDecoder();
  if (decoder === null) throw new Error('there is no native decoder here: npx tfjs-sparsify doctor says why');
  return async ({prompt, tokens}) => {
    decoder.truncate(0);
    const start = performance.now();
    let logits = await decoder.append(prompt);
    if (tokens === 0) return {promptMs: performance.now() - start, decodeMs: 0, ids: []};
    const ids = [largest(logits)];
    const first = performance.now();
    while (ids.length < tokens) {
      logits = await decoder.append(ids.slice(-1));
      ids.push(largest(logits));
    }
    return {promptMs: first - start, decodeMs: performance.now() - first, ids};
  };

  function makeDecoder(): Decoder | null {
    if (kind === 'layers') return createGraphDecoder(lm.model, lm.config);
    return createNativeDecoder(lm.model, lm.config, {
      weights: weights === 'bfloat16' ? 'bfloat16' : 'float32',
      cache: 'bfloat16',
    });
  }
}

function largest(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}
