/**
 * @file The process of a side in Node on backend wasm. Arguments: the folder of our model, `decoder` (the kernels and the fused
 * decoder in WebAssembly) or `layers` (TensorFlow.js's backend alone, layer by layer, as it was before there were any), and
 * the target sparsity of all projections.
 */
import * as tf from '@tensorflow/tfjs';
import {loadBackend} from '../../../lib/backend/load.js';
import {retarget} from '../../../lib/index.js';
import {createGraphDecoder} from '../../../lib/language/decoding/graph-decoder.js';
import {createNativeDecoder} from '../../../lib/language/decoding/native-decoder.js';
import {likeliest} from '../../../lib/language/decoding/sampler.js';
import {loadLanguageModel} from '../../../lib/language/index.js';
import {PROJECTIONS} from '../../../lib/language/projections.js';
import {serveSide, type Work} from '../llm/side.js';

const [folder, kind, sparsity] = process.argv.slice(2);
await serveSide(load);

async function load(): Promise<Work> {
  if (kind === 'decoder') await loadBackend({name: 'wasm'});
  else {
    await import('@tensorflow/tfjs-backend-wasm');
    if (!(await tf.setBackend('wasm'))) throw new Error('backend wasm cannot be used here');
  }
  const lm = await loadLanguageModel(folder);
  retarget(lm.model, {[PROJECTIONS.all]: Number(sparsity)});
  const decoder =
    kind === 'decoder' ? createNativeDecoder(lm.model, lm.config) : createGraphDecoder(lm.model, lm.config);
  if (decoder === null) throw new Error('there is no decoder in WebAssembly here');
  return async ({prompt, tokens}) => {
    decoder.truncate(0);
    const start = performance.now();
    let logits = await decoder.append(prompt);
    const ids = [likeliest(logits)];
    const first = performance.now();
    while (ids.length < tokens) {
      logits = await decoder.append(ids.slice(-1));
      ids.push(likeliest(logits));
    }
    return {promptMs: first - start, decodeMs: performance.now() - first, ids};
  };
}
