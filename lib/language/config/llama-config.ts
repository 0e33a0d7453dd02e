/**
 * @file What a Llama-family model is made of: the one description that graph, import and decoding share. Parsed once
 * from a checkpoint's own metadata (parse-config.ts, import/gguf-config.ts); everything behind trusts it.
 */

/** Families whose checkpoints can be imported. */
export const ARCHITECTURES = ['llama', 'mistral', 'mixtral', 'qwen2', 'qwen3', 'phi3', 'gemma'] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** How rotary frequencies are stretched beyond the length of training. */
export type RopeScaling =
  | {readonly kind: 'none'}
  /** Every frequency divided by `factor`. */
  | {readonly kind: 'linear'; readonly factor: number}
  /** Llama 3: low frequencies divided by `factor`, high ones kept, smooth between (Hugging Face `llama3`). */
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalContextLength: number;
    }
  /** Frequency i divided by `factors[i]`, [headSize / 2]; cos and sin times `attentionFactor` (GGUF `rope_freqs`, longrope). */
  | {readonly kind: 'factors'; readonly factors: readonly number[]; readonly attentionFactor: number};

/** Of the feed-forward part; `gelu_tanh` is the tanh approximation. */
export type GateActivation = 'silu' | 'gelu' | 'gelu_tanh';

export interface LlamaConfig {
  readonly architecture: Architecture;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  /** Width of the feed-forward part (of one expert, for mixtral). */
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  /** Key and value heads; divides `heads`. */
  readonly keyHeads: number;
  /** Size of one head; `heads * headSize` need not be `hiddenSize`. Even. */
  readonly headSize: number;
  readonly normEpsilon: number;
  readonly activation: GateActivation;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling;
  /** Positions that the model was trained for. */
  readonly contextLength: number;
  /** A token sees itself and the `slidingWindow - 1` before it; null: all before it. */
  readonly slidingWindow: number | null;
  /** Whether the head uses the embedding's weights. */
  readonly tiedEmbedding: boolean;
  readonly bias: {readonly qkv: boolean; readonly output: boolean; readonly mlp: boolean};
  /** RMS norm of every query and key head before the rotation (qwen3). */
  readonly queryKeyNorm: boolean;
  /** One Dense for q, k, v (`qkv_proj`) and one for gate, up (`gate_up_proj`), as phi3 has it. */
  readonly fusedProjections: boolean;
  /** Embeddings are multiplied by it: sqrt(hiddenSize) for gemma, else 1. */
  readonly embeddingScale: number;
  /** Mixture of experts, or null. */
  readonly experts: {readonly count: number; readonly perToken: number} | null;
  /** Ids that the generation starts with or ends at; null or empty where unknown. */
  readonly bosTokenId: number | null;
  readonly eosTokenIds: readonly number[];
}
