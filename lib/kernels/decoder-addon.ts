/** @file The decoder's functions of the addon, native/node/decoder-addon.h. Callers check what they give them. */
import type * as tf from '@tensorflow/tfjs';

/** Weights that the addon keeps; opaque. */
export interface DecoderModelHandle {
  readonly [modelTag]: true;
}

/** A sequence that the addon keeps; opaque. */
export interface DecoderSessionHandle {
  readonly [sessionTag]: true;
}

declare const modelTag: unique symbol;
declare const sessionTag: unique symbol;

/**
 * What a model is prepared from, in the order that native/shared/decoder-description.h says.
 *
 * - `numbers`: float32, a vector: the model's sizes and flags, then the rotary frequencies.
 * - `weights`: float32.
 * - `words`: int32, of the INT8 and INT4 matrices; or what the op of the device takes for them.
 */
export type DecoderTensors = readonly [
  numbers: tf.Tensor,
  weights: readonly tf.Tensor[],
  words: readonly tf.Tensor[],
];

/** What an append gives. */
export const DECODER_OUTPUT = {
  /** Logits after the last token, [vocabulary]. */
  last: 0,
  /** Logits after each token, [tokens, vocabulary]. */
  all: 1,
  /** Log likelihoods of the targets, [tokens]. */
  scores: 2,
} as const;

export interface NativeDecoding {
  /** The model that op `SparsifyDecoderPrepare` made; once for each id. */
  decoderModel(id: number): DecoderModelHandle;
  /** An empty sequence; its cache is in bfloat16 if `narrowCache`, else in float32. */
  decoderSession(model: DecoderModelHandle, narrowCache: boolean): DecoderSessionHandle;
  /** Goes on with other weights of the same shapes; what is cached stays. */
  decoderSetModel(session: DecoderSessionHandle, model: DecoderModelHandle): void;
  /**
   * Appends tokens, on another thread.
   *
   * @param output One of {@link DECODER_OUTPUT}.
   * @param result Is written just before the promise settles. The other arrays are read at once.
   * @param targets For scores, one a token.
   * @param thresholds One a Dense, in the order of the weights; undefined: dense.
   * @returns `result`; a new array if it was transferred meanwhile.
   */
  decoderAppend(
    session: DecoderSessionHandle,
    tokens: Int32Array,
    output: number,
    result: Float32Array,
    targets: Int32Array | undefined,
    thresholds: Float32Array | undefined,
  ): Promise<Float32Array>;
  /**
   * Appends one token to each of several sequences of one model, on another thread; missing where an addon cannot.
   *
   * @param sessions Different ones.
   * @param results For the logits of each, [vocabulary], as `decoderAppend`'s.
   * @param thresholds As `decoderAppend`'s.
   * @returns The logits of each.
   */
  decoderStep?(
    sessions: readonly DecoderSessionHandle[],
    tokens: Int32Array,
    results: readonly Float32Array[],
    thresholds: Float32Array | undefined,
  ): Promise<Float32Array[]>;
  /** Forgets all tokens from `length` on. */
  decoderTruncate(session: DecoderSessionHandle, length: number): void;
  /** Masked and total inputs of each Dense, [dense, 2], in the appends that have ended. */
  decoderCounts(session: DecoderSessionHandle): Float64Array;
  decoderResetCounts(session: DecoderSessionHandle): void;
  /** Gives back memory before the garbage collector would. */
  decoderRelease(handle: DecoderModelHandle | DecoderSessionHandle): void;
}
