/**
 * @file What an importer offers of a checkpoint, whatever its format: configuration, tensors by their Hugging Face
 * names and layout, and where the tokenizer comes from. Tensors are read one at a time.
 */
import type {Int4Config} from '../../layers/compressed-weight.js';
import type {Int4Values} from '../../quantization/int4.js';
import type {LlamaConfig} from '../config/llama-config.js';
import type {TokenizerSource} from '../tokenizer/source.js';

/** A tensor of a checkpoint. */
export interface CheckpointTensor {
  /** Hugging Face name, such as `model.layers.0.self_attn.q_proj.weight`. */
  readonly name: string;
  /** In Hugging Face layout: a linear layer's weight is [out, in]. */
  readonly shape: readonly number[];
  /** As stored, such as `F32`, `BF16`, `Q4_1`. */
  readonly dtype: string;
  /** How its matrix is quantized, if it can be read as INT4. */
  readonly int4?: Int4Config;
  /** Whether it is stored in fewer than 16 bits a weight. */
  readonly isQuantized?: boolean;
}

export interface Checkpoint {
  readonly config: LlamaConfig;
  /** By name. Rows of q and k are in Hugging Face order (half-split rotation) whatever the file's. */
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /**
   * What the scale of an RMS norm is above its stored weight: 1 for gemma from Hugging Face (it multiplies by 1 + w),
   * 0 for all others and for every GGUF, where it is folded in.
   */
  readonly normOffset: 0 | 1;
  /** Null if the checkpoint has none. */
  readonly tokenizer: TokenizerSource | null;
  /**
   * Reads one tensor, widened to float32.
   *
   * @param name One of `tensors`.
   * @returns Its values, row-major in the shape of its entry. The caller may change them.
   * @throws {ModelError} Naming the tensor, if the file ends early or its data is damaged.
   */
  read(name: string): Promise<Float32Array>;
  /**
   * Reads one tensor in 4 bits, as it is stored: a checkpoint has it if one of its tensors has `int4`.
   *
   * @param name One of `tensors` with `int4`.
   * @returns Its matrix transposed, [in, out].
   * @throws As `read`.
   */
  readInt4?(name: string): Promise<Int4Values>;
  /** Closes its files; nothing can be read any more. */
  close(): Promise<void>;
}
