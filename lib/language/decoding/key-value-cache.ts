/**
 * @file Keys and values of one sequence, layer by layer, for attention layers that run part by part. Every layer's lie
 * in one tensor padded to whole blocks: lengths change once a block, since backends compile anew for a new shape (2 ms
 * in oneDNN). All tensors that outlive a call are kept and disposed here.
 */
import * as tf from '@tensorflow/tfjs';
import type {Layer} from '../../tfjs.js';
import {causalMask} from '../graph/layers/causal-mask.js';
import type {ForwardPass, RotaryTensors} from '../graph/layers/forward-pass.js';
import {rotaryTable} from '../graph/layers/rotary.js';

/** Positions of a block. */
const BLOCK = 128;

/** float32 [1, keyHeads, capacity, headSize] each; what lies beyond the cache's length means nothing. */
interface Stored {
  readonly keys: tf.Tensor;
  readonly values: tf.Tensor;
}

export class KeyValueCache {
  /** Positions that are filled in every layer. */
  length = 0;
  private readonly stored = new Map<Layer, Stored>();

  /**
   * Runs `work`, synchronous, as the pass over the next `tokens` positions, and counts them if it succeeds. If it
   * fails, the cache holds what it held.
   *
   * @param work Given the pass; tensors that it makes are disposed but for those that it returns.
   */
  extendBy<T extends tf.TensorContainer>(tokens: number, work: (pass: ForwardPass) => T): T {
    const pass = new CachedPass(this.stored, this.length, tokens);
    try {
      const result = tf.tidy(() => work(pass));
      this.length += tokens;
      return result;
    } finally {
      pass.dispose();
    }
  }

  /** Frees everything; the cache is then empty. */
  dispose(): void {
    for (const {keys, values} of this.stored.values()) tf.dispose([keys, values]);
    this.stored.clear();
    this.length = 0;
  }
}

class CachedPass implements ForwardPass {
  private readonly capacity: number;
  private readonly masks = new Map<number | null, tf.Tensor>();
  private readonly tables: {frequencies: readonly number[]; factor: number; tensors: RotaryTensors}[] = [];
  private padding: tf.Tensor | null = null;

  constructor(
    private readonly stored: Map<Layer, Stored>,
    private readonly start: number,
    private readonly tokens: number,
  ) {
    this.capacity = Math.ceil((start + tokens) / BLOCK) * BLOCK;
  }

  rotary(frequencies: readonly number[], attentionFactor: number): RotaryTensors {
    const known = this.tables.find(
      (table) => table.factor === attentionFactor && sameNumbers(table.frequencies, frequencies),
    );
    if (known !== undefined) return known.tensors;
    const {cosines, sines} = rotaryTable(frequencies, attentionFactor, this.start, this.tokens);
    const shape: [number, number] = [this.tokens, frequencies.length * 2];
    const tensors = {
      cosines: tf.keep(tf.tensor2d(cosines, shape)),
      sines: tf.keep(tf.tensor2d(sines, shape)),
    };
    this.tables.push({frequencies, factor: attentionFactor, tensors});
    return tensors;
  }

  mask(window: number | null): tf.Tensor {
    const known = this.masks.get(window);
    if (known !== undefined) return known;
    const mask = tf.tensor2d(causalMask(this.tokens, this.capacity, this.start, 0, window), [
      this.tokens,
      this.capacity,
    ]);
    this.masks.set(window, tf.keep(mask));
    return mask;
  }

  extend(layer: Layer, keys: tf.Tensor, values: tf.Tensor): Stored {
    const before = this.stored.get(layer);
    const extended = {
      keys: tf.keep(this.extended(before?.keys, keys)),
      values: tf.keep(this.extended(before?.values, values)),
    };
    this.stored.set(layer, extended);
    if (before !== undefined) tf.dispose([before.keys, before.values]);
    return extended;
  }

  dispose(): void {
    tf.dispose([...this.masks.values(), ...this.tables.map(({tensors}) => [tensors.cosines, tensors.sines])]);
    this.padding?.dispose();
  }

  /** The first `start` positions of `before`, then `added`, then padding to the capacity. */
  private extended(before: tf.Tensor | undefined, added: tf.Tensor): tf.Tensor {
    return tf.tidy(() => {
      const parts: tf.Tensor[] = [];
      if (this.start > 0) parts.push(tf.slice(before!, [0, 0, 0, 0], [-1, -1, this.start, -1]));
      parts.push(added);
      const padding = this.capacity - this.start - this.tokens;
      if (padding > 0) {
        const [, heads, , size] = added.shape as [number, number, number, number];
        this.padding ??= tf.keep(tf.zeros([1, heads, padding, size]));
        parts.push(this.padding);
      }
      return parts.length === 1 ? tf.clone(added) : tf.concat(parts, 2);
    });
  }
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
