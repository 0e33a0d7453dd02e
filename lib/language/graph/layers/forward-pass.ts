/**
 * @file What a forward pass over a part of a sequence tells the attention layers, which the layers executor gives no
 * way to pass: where the part starts and which keys and values came before. Without one, a layer's input is taken as
 * a whole sequence.
 */
import type * as tf from '@tensorflow/tfjs';
import type {Layer} from '../../../tfjs.js';

/** Cosines and sines of a pass's positions, each float32 [T, headSize]. */
export interface RotaryTensors {
  readonly cosines: tf.Tensor;
  readonly sines: tf.Tensor;
}

/** One pass. The tensors that it gives belong to it. */
export interface ForwardPass {
  rotary(frequencies: readonly number[], attentionFactor: number): RotaryTensors;
  /** What is added to scores, float32 [T, S], where S is the number of keys that `extend` gives. */
  mask(window: number | null): tf.Tensor;
  /**
   * Stores the keys and values of the pass's tokens behind those of earlier passes.
   *
   * @param layer The attention layer that they are of.
   * @param keys float32 [1, keyHeads, T, headSize], rotated.
   * @param values float32 [1, keyHeads, T, headSize].
   * @returns All of the sequence, [1, keyHeads, S, headSize]; positions beyond its end are 0 and masked.
   */
  extend(layer: Layer, keys: tf.Tensor, values: tf.Tensor): {keys: tf.Tensor; values: tf.Tensor};
}

let current: ForwardPass | null = null;

/** The pass that is running, or null. */
export function currentForwardPass(): ForwardPass | null {
  return current;
}

/** Runs `work`, synchronous, as `pass`. */
export function duringForwardPass<T>(pass: ForwardPass, work: () => T): T {
  const outer = current;
  current = pass;
  try {
    return work();
  } finally {
    current = outer;
  }
}
