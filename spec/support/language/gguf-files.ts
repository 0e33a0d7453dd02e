/** @file Small GGUF files for specs: their metadata, their tensors, written and opened. */
import type {Checkpoint} from '../../../lib/language/weights/checkpoint.js';
import {openGguf} from '../../../lib/language/import/local-checkpoints.js';
import {float32Tensor, writeGguf, type GgufTensorSpec, type GgufValue} from './gguf-writer.js';
import {temporaryFolder} from '../temporary-folder.js';

/** Metadata of a model with 2 heads of size 4, 1 key head, hidden size 6, one layer. */
export function metadataOf(
  architecture: string,
  more: Record<string, GgufValue> = {},
): Record<string, GgufValue> {
  const sizes = {
    ...{context_length: 64, embedding_length: 6, block_count: 1, feed_forward_length: 10},
    ...{'attention.head_count': 2, 'attention.head_count_kv': 1, 'attention.key_length': 4},
    ...{'attention.layer_norm_rms_epsilon': 0.5, 'rope.freq_base': 1234},
  };
  const own = Object.entries(sizes).map(([key, value]) => [`${architecture}.${key}`, value] as const);
  return {'general.architecture': architecture, ...Object.fromEntries(own), ...more};
}

/** Values 0, 1, 2 … so that every row can be told. */
export function counting(name: string, shape: readonly number[]): GgufTensorSpec {
  const count = shape.reduce((product, size) => product * size, 1);
  return float32Tensor(
    name,
    shape,
    Float32Array.from({length: count}, (_, i) => i),
  );
}

/** What every file must hold. */
export const EMBEDDING = counting('token_embd.weight', [16, 6]);

/** Call it in a `describe`: gives what writes such a file, each under a new name, and returns its path. */
export function ggufFiles(): (
  metadata: Record<string, GgufValue>,
  tensors: readonly GgufTensorSpec[],
) => string {
  const folder = temporaryFolder();
  let count = 0;
  return (metadata, tensors) => folder.write(`${count++}.gguf`, writeGguf(metadata, tensors));
}

/** Opens a file for `use`, and closes it. */
export async function using(path: string, use: (checkpoint: Checkpoint) => unknown): Promise<void> {
  const checkpoint = await openGguf(path);
  try {
    await use(checkpoint);
  } finally {
    await checkpoint.close();
  }
}
