/**
 * @file The child process of native-gpu.mjs: loads tfjs-node-gpu and the addon, and multiplies with it on the GPU. A
 * library that crashes takes only this process down.
 *
 * Usage: node native-gpu-child.mjs TFJS_NODE_GPU_MAIN ADDON
 */
import {createRequire} from 'node:module';
import {restoreNodeUtil} from './node-util.mjs';

const [main, addon] = process.argv.slice(2);
restoreNodeUtil();
const require = createRequire(main);
const tf = require('@tensorflow/tfjs');
require(main);
const native = require(addon);
native.register();
await tf.setBackend('tensorflow');
/**
 * @type {{
 *   binding: Record<string, number>,
 *   isUsingGpuDevice: boolean,
 *   executeSingleOutput(op: string, attrs: object[], inputs: object[]): import('@tensorflow/tfjs').Tensor,
 * }}
 */
const backend = /** @type {any} */ (tf.backend());
if (!backend.isUsingGpuDevice) throw new Error('TensorFlow uses no GPU');

// One input of 512 is masked, and its row of the kernel would spoil the result.
const inputs = 512;
const units = 515;
const x = tf.ones([1, inputs]).mul(tf.range(0, inputs).greater(0));
const kernel = tf.concat([tf.fill([1, units], NaN), tf.ones([inputs - 1, units])]);
const y = backend.executeSingleOutput(
  'SparsifiedMatMul',
  [
    {name: 'B', type: backend.binding.TF_ATTR_INT, value: 1},
    {name: 'activation', type: backend.binding.TF_ATTR_STRING, value: 'relu'},
  ],
  [x.toFloat(), kernel, tf.scalar(0.5), tf.ones([units])],
);
const wrong = y.dataSync().find((/** @type {number} */ value) => value !== inputs);
if (wrong !== undefined) throw new Error(`SparsifiedMatMul gave ${wrong} for ${inputs}`);
if (native.launches() !== 1)
  throw new Error(`SparsifiedMatMul ran ${native.launches()} times on the GPU, not once`);
