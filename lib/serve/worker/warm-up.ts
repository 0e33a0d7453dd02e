/**
 * @file The first computations of a loaded model: they compile what is compiled on first use, and try whether two rows
 * computed together give what they give alone, without which requests must not be joined to a batch.
 */
import * as tf from '@tensorflow/tfjs';
import {emptyValues, type TensorInfo, type WireTensor} from '../tensors.js';

/** Of the largest value: rounding, and activations that rounding carries over a threshold. */
const TOLERANCE = 1e-3;

/** Deterministic inputs that differ from row to row; sizes that the model leaves open are 1, ids are 0 and 1. */
export function warmUpInputs(inputs: readonly TensorInfo[], rows: number): WireTensor[] {
  return inputs.map(({dtype, shape}) => {
    const concrete = shape.map((size, i) => size ?? (i === 0 ? rows : 1));
    const values = emptyValues(
      dtype,
      concrete.reduce((product, size) => product * size, 1),
    );
    for (let i = 0; i < values.length; i++) {
      values[i] =
        dtype === 'float32' ? Math.sin(i * 12.9898 + 1) : Math.floor(i / (values.length / rows)) % 2;
    }
    return {dtype, shape: concrete, values};
  });
}

/**
 * Computes two rows together and alone.
 *
 * @param compute Gives the outputs of a batch, owned by the caller.
 * @returns Whether they agree; false too for a model whose batch is fixed, or that does not give one row for each.
 * @throws What `compute` throws.
 */
export async function batchesAgree(
  inputs: readonly TensorInfo[],
  compute: (batch: readonly WireTensor[]) => tf.Tensor[],
): Promise<boolean> {
  if (inputs.some(({shape}) => shape[0] !== null)) {
    tf.dispose(compute(warmUpInputs(inputs, 1)));
    return false;
  }
  const batch = warmUpInputs(inputs, 2);
  const together = await valuesOf(compute(batch));
  if (together.some(({shape}) => shape[0] !== 2)) return false;
  for (const row of [0, 1]) {
    const alone = await valuesOf(compute(batch.map((tensor) => rowOf(tensor, row))));
    for (const [i, {shape, values}] of alone.entries()) {
      if (shape[0] !== 1 || values.length * 2 !== together[i].values.length) return false;
      const part = together[i].values.subarray(row * values.length, (row + 1) * values.length);
      if (!near(values, part)) return false;
    }
  }
  return true;
}

function rowOf({dtype, shape, values}: WireTensor, row: number): WireTensor {
  const size = values.length / shape[0];
  return {dtype, shape: [1, ...shape.slice(1)], values: values.slice(row * size, (row + 1) * size)};
}

async function valuesOf(
  outputs: tf.Tensor[],
): Promise<{shape: readonly number[]; values: Float32Array | Int32Array | Uint8Array}[]> {
  try {
    return await Promise.all(
      outputs.map(async (output) => ({shape: output.shape, values: await output.data()})),
    );
  } finally {
    tf.dispose(outputs);
  }
}

function near(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i]));
  for (let i = 0; i < a.length; i++) {
    const same = Object.is(a[i], b[i]) || Math.abs(a[i] - b[i]) <= TOLERANCE * largest;
    if (!same) return false;
  }
  return true;
}
