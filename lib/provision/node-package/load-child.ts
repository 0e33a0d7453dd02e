/**
 * @file The child process of load-check.ts: loads one backend, multiplies two matrices with it and prints one
 * line of JSON. A library that crashes takes only this process down.
 *
 * Usage: load-child tensorflow|wasm|cpu PATH, where PATH is the main file of the package.
 */
import {holdsResultsOnGpu} from '../nvidia/gpu-work.js';
import type {LoadReport} from './load-check.js';
import {loadTfjs, nodeBackend, type NodeBackend} from './tfjs-in-child.js';

const [kind, main] = process.argv.slice(2);
const {tf, require} = loadTfjs(main);
if (kind !== 'cpu') require(main);
await tf.setBackend(kind);
await tf.ready();
const product = await tf.matMul(tf.tensor2d([[1, 2]]), tf.tensor2d([[3], [4]])).data();
if (tf.getBackend() !== kind || product[0] !== 11) {
  throw new Error(`[1 2] x [3 4] is ${product[0]} on backend ${tf.getBackend()}; expected 11 on ${kind}`);
}
const {binding, isUsingGpuDevice = false} = nodeBackend(tf) as Partial<NodeBackend>;
const report: LoadReport = {
  tensorflow: binding?.TF_Version ?? null,
  usesGpu: isUsingGpuDevice && (await holdsResultsOnGpu(tf)),
};
console.log(JSON.stringify(report));
