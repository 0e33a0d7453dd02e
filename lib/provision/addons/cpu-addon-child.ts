/**
 * @file The child process that tries the addon of cpu-addon.ts: loads tfjs-node and the addon, and multiplies with it. A
 * library that crashes takes only this process down.
 *
 * Usage: cpu-addon-child TFJS_NODE_MAIN ADDON
 */
import {loadTfjs, nodeBackend} from '../node-package/tfjs-in-child.js';
import {multiplyMasked} from './trial-product.js';

const [main, addon] = process.argv.slice(2);
const {tf, require} = loadTfjs(main);
require(main);
(require(addon) as {register(): void}).register();
await tf.setBackend('tensorflow');
const {TF_ATTR_STRING} = nodeBackend(tf).binding;
multiplyMasked(tf, 'SparsifiedMatMulWithBias', [{name: 'activation', type: TF_ATTR_STRING, value: 'relu'}]);
