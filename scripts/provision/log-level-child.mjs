/**
 * @file The child process of log-level.mjs: loads the addon, then the node package, and multiplies two numbers. A library
 * that crashes takes only this process down.
 *
 * Usage: node log-level-child.mjs MAIN_OF_THE_PACKAGE ADDON
 */
import {createRequire} from 'node:module';
import {restoreNodeUtil} from './node-util.mjs';

const [main, addon] = process.argv.slice(2);
restoreNodeUtil();
const require = createRequire(main);
const tf = require('@tensorflow/tfjs');
require(addon);
require(main);
await tf.setBackend('tensorflow');
const [product] = tf.matMul(tf.tensor2d([[3]]), tf.tensor2d([[7]])).dataSync();
if (product !== 21) throw new Error(`3 x 7 is ${product}`);
