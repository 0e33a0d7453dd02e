/**
 * @file The child process that tries the addon of gpu-addon.ts: loads tfjs-node-gpu and the addon, and multiplies with it
 * on the GPU. A library that crashes takes only this process down.
 *
 * Usage: gpu-addon-child TFJS_NODE_GPU_MAIN ADDON
 */
import {loadTfjs, nodeBackend} from '../node-package/tfjs-in-child.js';
import {multiplyMasked} from './trial-product.js';

const [main, addon] = process.argv.slice(2);
const {tf, require} = loadTfjs(main);
require(main);
const native = require(addon) as {register(): void; launches(): number};
native.register();
await tf.setBackend('tensorflow');
const {isUsingGpuDevice, binding} = nodeBackend(tf);
if (!isUsingGpuDevice) throw new Error('TensorFlow uses no GPU');
multiplyMasked(tf, 'SparsifiedMatMul', [
  {name: 'B', type: binding.TF_ATTR_INT, value: 1},
  {name: 'activation', type: binding.TF_ATTR_STRING, value: 'relu'},
]);
if (native.launches() !== 1) {
  throw new Error(`SparsifiedMatMul ran ${native.launches()} times on the GPU, not once`);
}
