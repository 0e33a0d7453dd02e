/**
 * @file The child process of native.mjs: loads tfjs-node and the addon, and multiplies with it. A library that
 * crashes takes only this process down.
 *
 * Usage: node native-child.mjs TFJS_NODE_MAIN ADDON
 */
import {createRequire} from 'node:module';
import {restoreNodeUtil} from './node-util.mjs';

const [main, addon] = process.argv.slice(2);
restoreNodeUtil();
const require = createRequire(main);
const tf = require('@tensorflow/tfjs');
require(main);
require(addon).register();
await tf.setBackend('tensorflow');
/**
 * @type {{
 *   binding: Record<string, number>,
 *   executeSingleOutput(op: string, attrs: object[], inputs: object[]): import('@tensorflow/tfjs').Tensor,
 * }}
 */
const backend = /** @type {any} */ (tf.backend());
const attribute = {name: 'activation', type: backend.binding.TF_ATTR_STRING, value: 'relu'};

// One input of 512 is masked, and its row of the kernel would spoil the result; large enough for the threads.
const inputs = 512;
const units = 515;
const x = tf.ones([1, inputs]).mul(tf.range(0, inputs).greater(0));
const kernel = tf.concat([tf.fill([1, units], NaN), tf.ones([inputs - 1, units])]);
const y = backend.executeSingleOutput(
  'SparsifiedMatMulWithBias',
  [attribute],
  [x.toFloat(), kernel, tf.scalar(0.5), tf.ones([units])],
);
const wrong = y.dataSync().find((/** @type {number} */ value) => value !== inputs);
if (wrong !== undefined) throw new Error(`SparsifiedMatMul gave ${wrong} for ${inputs}`);
