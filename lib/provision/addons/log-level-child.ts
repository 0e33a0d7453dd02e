/**
 * @file The child process that tries the addon of log-level.ts: loads it, then the node package, and multiplies two
 * numbers. A library that crashes takes only this process down.
 *
 * Usage: log-level-child MAIN_OF_THE_PACKAGE ADDON
 */
import {loadTfjs} from '../node-package/tfjs-in-child.js';

const [main, addon] = process.argv.slice(2);
const {tf, require} = loadTfjs(main);
require(addon);
require(main);
await tf.setBackend('tensorflow');
const [product] = tf.matMul(tf.tensor2d([[3]]), tf.tensor2d([[7]])).dataSync();
if (product !== 21) throw new Error(`3 x 7 is ${product}`);
