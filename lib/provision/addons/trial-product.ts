/** @file The product by which a child process sees that the kernels of an addon compute, and mask. */
import type * as TensorFlow from '@tensorflow/tfjs';
import {nodeBackend, type OpAttribute} from '../node-package/tfjs-in-child.js';

/** Large enough for several threads, and no multiple of what a register holds. */
const [INPUTS, UNITS] = [512, 515];

/**
 * Multiplies ones: one input is masked, and its row of the kernel would spoil the result.
 *
 * @param tf With backend `tensorflow`, and the addon's ops registered.
 * @param op Its name; it takes x, kernel, threshold and bias.
 * @throws {Error} If the result is wrong.
 */
export function multiplyMasked(tf: typeof TensorFlow, op: string, attributes: readonly OpAttribute[]): void {
  const x = tf.ones([1, INPUTS]).mul(tf.range(0, INPUTS).greater(0)).toFloat();
  const kernel = tf.concat([tf.fill([1, UNITS], NaN), tf.ones([INPUTS - 1, UNITS])]);
  const inputs = [x, kernel, tf.scalar(0.5), tf.ones([UNITS])];
  const y = nodeBackend(tf).executeSingleOutput(op, attributes, inputs);
  const wrong = y.dataSync().find((value) => value !== INPUTS);
  if (wrong !== undefined) throw new Error(`${op} gave ${wrong} for ${INPUTS}`);
}
