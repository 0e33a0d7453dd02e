/**
 * @file The child process of load-check.mjs: loads one backend, multiplies two matrices with it and prints one
 * line of JSON. A library that crashes takes only this process down.
 *
 * Usage: node load-child.mjs tensorflow|wasm|cpu PATH, where PATH is the main file of the package.
 */
import {createRequire} from 'node:module';
import {holdsResultsOnGpu} from './gpu-work.mjs';
import {restoreNodeUtil} from './node-util.mjs';

const [kind, main] = process.argv.slice(2);
restoreNodeUtil();
const require = createRequire(main);
const tf = require('@tensorflow/tfjs');
if (kind !== 'cpu') require(main);
await tf.setBackend(kind);
await tf.ready();
const product = await tf.matMul(tf.tensor2d([[1, 2]]), tf.tensor2d([[3], [4]])).data();
if (tf.getBackend() !== kind || product[0] !== 11) {
  throw new Error(`[1 2] x [3 4] is ${product[0]} on backend ${tf.getBackend()}; expected 11 on ${kind}`);
}
const backend = /** @type {{binding?: {TF_Version: string}, isUsingGpuDevice?: boolean}} */ (
  /** @type {unknown} */ (tf.backend())
);
console.log(
  JSON.stringify({
    tensorflow: backend.binding?.TF_Version ?? null,
    usesGpu: backend.isUsingGpuDevice === true && (await holdsResultsOnGpu(tf)),
  }),
);
