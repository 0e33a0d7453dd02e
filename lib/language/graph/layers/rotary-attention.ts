/**
 * @file Causal self-attention with rotary positions, and with query heads that share key heads (Ainslie et al. 2023,
 * arXiv:2305.13245), a sliding window (Mistral), and norms of query and key heads (Qwen3) where a model has them. The
 * projections are Dense layers of their own around it.
 */
import * as tf from '@tensorflow/tfjs';
import type {LayerVariable} from '../../../tfjs.js';
import {type CallArgs, shapesOf} from './call.js';
import {causalMask} from './causal-mask.js';
import {currentForwardPass} from './forward-pass.js';
import {rmsNorm} from './rms-norm.js';
import {rotaryTable} from './rotary.js';

/** Queries that meet their keys at a time without a cache: bounds the scores to [heads, 512, T]. */
const QUERIES_AT_A_TIME = 512;

export interface RotaryAttentionArgs {
  readonly name?: string;
  readonly heads: number;
  /** Divides `heads`. */
  readonly keyHeads: number;
  /** Even. */
  readonly headSize: number;
  /** [headSize / 2]; see `rotaryFrequencies`. */
  readonly frequencies: readonly number[];
  readonly attentionFactor: number;
  /** A token sees itself and the `slidingWindow - 1` before it; 0: all before it. */
  readonly slidingWindow: number;
  /** Epsilon of the norms of query and key heads; 0: there are none. */
  readonly normEpsilon: number;
}

/**
 * Inputs [q, k, v], float32 [B, T, heads * headSize] and twice [B, T, keyHeads * headSize], or the three in one along
 * the last dimension; output [B, T, heads * headSize]. Weights `q_norm` and `k_norm` [headSize] if there are norms.
 */
export class RotaryAttention extends tf.layers.Layer {
  static readonly className = 'SparsifyLlamaRotaryAttention';

  readonly args: Omit<RotaryAttentionArgs, 'name'>;
  queryNorm: LayerVariable | null = null;
  keyNorm: LayerVariable | null = null;

  constructor(args: RotaryAttentionArgs) {
    super(args);
    const {heads, keyHeads, headSize, frequencies, attentionFactor, slidingWindow, normEpsilon} = args;
    this.args = {heads, keyHeads, headSize, frequencies, attentionFactor, slidingWindow, normEpsilon};
  }

  override build(): void {
    if (this.args.normEpsilon > 0) {
      const shape = [this.args.headSize];
      this.queryNorm = this.addWeight('q_norm', shape, 'float32', tf.initializers.ones());
      this.keyNorm = this.addWeight('k_norm', shape, 'float32', tf.initializers.ones());
    }
    this.built = true;
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    const [shape] = shapesOf(inputShape);
    return [...shape.slice(0, -1), this.args.heads * this.args.headSize];
  }

  override call(inputs: tf.Tensor | tf.Tensor[], kwargs: CallArgs): tf.Tensor {
    return tf.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const {heads, keyHeads, headSize} = this.args;
      const given = Array.isArray(inputs) ? inputs : [inputs];
      const sizes = [heads, keyHeads, keyHeads].map((count) => count * headSize);
      const [q, k, v] = given.length === 1 ? tf.split(given[0], sizes, -1) : given;
      const [batch, tokens] = q.shape;
      const byHead = (x: tf.Tensor, count: number) => tf.reshape(x, [batch, tokens, count, headSize]);
      const {queries, keys} = this.rotated(byHead(q, heads), byHead(k, keyHeads)); // each [B, T, heads, D]
      const attended = this.attend(
        headsFirst(queries), // [B, H, T, D]
        headsFirst(keys), // [B, K, T, D]
        headsFirst(byHead(v, keyHeads)),
      ); // [B, H, T, D]
      return tf.reshape(headsFirst(attended), [batch, tokens, heads * headSize]);
    });
  }

  override getConfig(): tf.serialization.ConfigDict {
    return {...super.getConfig(), ...this.args, frequencies: [...this.args.frequencies]};
  }

  /** Normed, turned by position, and queries divided by sqrt(headSize): each [B, T, heads, D]. */
  private rotated(q: tf.Tensor, k: tf.Tensor): {queries: tf.Tensor; keys: tf.Tensor} {
    const {heads, keyHeads, headSize, normEpsilon} = this.args;
    const normed = (x: tf.Tensor, weight: LayerVariable | null) =>
      weight === null ? x : rmsNorm(x, weight.read(), normEpsilon);
    const both = tf.concat([normed(q, this.queryNorm), normed(k, this.keyNorm)], 2); // [B, T, H + K, D]
    const {cosines, sines} = this.table(q.shape[1]!);
    const [first, second] = tf.split(both, 2, -1);
    const turned = tf.add(tf.mul(both, cosines), tf.mul(tf.concat([second, first], -1), sines));
    const [queries, keys] = tf.split(turned, [heads, keyHeads], 2);
    return {queries: tf.mul(queries, 1 / Math.sqrt(headSize)), keys};
  }

  /** Cosines and sines, each [T, 1, D]. */
  private table(tokens: number): {cosines: tf.Tensor; sines: tf.Tensor} {
    const {headSize, frequencies, attentionFactor} = this.args;
    const pass = currentForwardPass();
    if (pass !== null) {
      const {cosines, sines} = pass.rotary(frequencies, attentionFactor);
      return {
        cosines: tf.reshape(cosines, [tokens, 1, headSize]),
        sines: tf.reshape(sines, [tokens, 1, headSize]),
      };
    }
    const {cosines, sines} = rotaryTable(frequencies, attentionFactor, 0, tokens);
    const shape: [number, number, number] = [tokens, 1, headSize];
    return {cosines: tf.tensor3d(cosines, shape), sines: tf.tensor3d(sines, shape)};
  }

  /** @returns [B, H, T, D]. */
  private attend(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor): tf.Tensor {
    const window = this.args.slidingWindow === 0 ? null : this.args.slidingWindow;
    const pass = currentForwardPass();
    if (pass !== null) {
      const {keys, values} = pass.extend(this, k, v);
      return attention(q, keys, values, pass.mask(window));
    }
    const tokens = q.shape[2]!;
    const parts: tf.Tensor[] = [];
    for (let start = 0; start < tokens; start += QUERIES_AT_A_TIME) {
      const rows = Math.min(QUERIES_AT_A_TIME, tokens - start);
      const firstKey = window === null ? 0 : Math.max(0, start - window + 1);
      const count = start + rows - firstKey;
      const part = tf.tidy(() =>
        attention(
          tokens === rows ? q : along(q, start, rows),
          tokens === count ? k : along(k, firstKey, count),
          tokens === count ? v : along(v, firstKey, count),
          tf.tensor2d(causalMask(rows, count, start, firstKey, window), [rows, count]),
        ),
      );
      parts.push(part);
    }
    return parts.length === 1 ? parts[0] : tf.concat(parts, 2);
  }
}

/**
 * `softmax(q kᵀ + mask) v`.
 *
 * @param q [B, H, T, D]; head h reads key head floor(h / (H / K)).
 * @param k [B, K, S, D], like v.
 * @param mask [T, S].
 * @returns [B, H, T, D].
 */
function attention(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, mask: tf.Tensor): tf.Tensor {
  const [batch, heads, tokens, size] = q.shape as [number, number, number, number];
  const [, keyHeads, keys] = k.shape as [number, number, number, number];
  const perKeyHead = [batch * keyHeads, (heads / keyHeads) * tokens, size];
  const flat = (x: tf.Tensor) => tf.reshape(x, [batch * keyHeads, keys, size]);
  const scores = tf.matMul(tf.reshape(q, perKeyHead), flat(k), false, true); // [B * K, G * T, S]
  const seen = tf.add(tf.reshape(scores, [batch * heads, tokens, keys]), mask);
  const weights = tf.reshape(tf.softmax(seen), scores.shape);
  return tf.reshape(tf.matMul(weights, flat(v)), q.shape); // [B * K, G * T, D]
}

/** [B, T, heads, D] as [B, heads, T, D], or back. */
function headsFirst(x: tf.Tensor): tf.Tensor {
  const [a, b, c, d] = x.shape as [number, number, number, number];
  return b === 1 || c === 1 ? tf.reshape(x, [a, c, b, d]) : tf.transpose(x, [0, 2, 1, 3]);
}

/** `count` tokens of [B, heads, T, D] from `start` on. */
function along(x: tf.Tensor, start: number, count: number): tf.Tensor {
  return tf.slice(x, [0, 0, start, 0], [-1, -1, count, -1]);
}
