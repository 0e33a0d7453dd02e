/**
 * @file The contract of decoding: one sequence, token by token, with its keys and values cached. Two decoders fulfil
 * it: graph-decoder.ts runs the layers on any backend and is the definition; native-decoder.ts is the fused path on
 * tfjs-node with the native kernels.
 */

/** Which tokens are computed with masked activations. */
export interface AppendOptions {
  /** Compute these tokens dense: thresholds count as -Infinity. Default false. */
  readonly dense?: boolean;
}

/** Inputs of one Dense layer that were masked. */
export interface MaskedCount {
  readonly masked: number;
  readonly total: number;
}

/** One token for one sequence. */
export interface Step extends AppendOptions {
  readonly decoder: Decoder;
  readonly token: number;
}

/**
 * Appends one token to each of several sequences with one pass over the weights.
 *
 * @param steps Of different decoders, all with this as their `together`; all dense or none.
 * @returns Logits by step, [vocabulary] each; valid until the next call to that step's decoder. If it rejects, every
 *   sequence is as it was.
 */
export type JointStep = (steps: readonly Step[]) => Promise<Float32Array[]>;

/** Every call of a disposed one fails with {SparsifyError} `decoder-disposed`, but for `length` and `dispose`. */
export interface Decoder {
  /** Tokens in the cache. */
  readonly length: number;
  /**
   * Set if this decoder can take a step together with others: with those that have the same function here. For callers
   * there is `stepTogether`, which takes any decoders.
   */
  readonly together?: JointStep;
  /**
   * Appends tokens to the sequence.
   *
   * @param tokens At least one id, each in [0, vocabulary).
   * @returns Logits after the last of them, [vocabulary]; valid until the next call.
   */
  append(tokens: ArrayLike<number>, options?: AppendOptions): Promise<Float32Array>;
  /**
   * Appends tokens and gives the logits after each of them.
   *
   * @returns [tokens, vocabulary], row-major; valid until the next call. Give few tokens a call: 512 of a vocabulary of
   *   49,152 take 100 MB.
   */
  appendAll(tokens: ArrayLike<number>, options?: AppendOptions): Promise<Float32Array>;
  /**
   * Appends tokens and scores what follows each.
   *
   * @param targets As many ids as `tokens`: `targets[i]` is what comes after `tokens[i]`.
   * @returns Natural log likelihood of each target.
   */
  score(
    tokens: ArrayLike<number>,
    targets: ArrayLike<number>,
    options?: AppendOptions,
  ): Promise<Float32Array>;
  /** Forgets all tokens from `length` on. */
  truncate(length: number): void;
  /** Masked inputs by path of the layer, since the decoder was made or `resetCounts` was called. */
  counts(): ReadonlyMap<string, MaskedCount>;
  resetCounts(): void;
  /** Frees cache and all else it holds; the model's weights stay. */
  dispose(): void;
}
