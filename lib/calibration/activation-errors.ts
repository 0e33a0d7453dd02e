/** @file What the calibration methods share in reading activations. */
import * as tf from '@tensorflow/tfjs';
import {DatasetError} from '../errors.js';

/** The error for a batch that gives NaN at a layer's input. */
export function nanError(path: string, index: number): DatasetError {
  return new DatasetError(
    'nan',
    `batch ${index} gives NaN at the input of layer "${path}"; nothing was changed: remove or mend that batch, or ` +
      'see whether the model overflows on it',
    {index, path},
  );
}

/** Which layers read rows of which none counts: a token mask or skipped tokens can leave nothing. */
export class RowsLeft {
  private readonly counted = new Map<string, boolean>();

  /** @param values What a layer read, and those of it that count. */
  note(path: string, values: Float32Array, counted: Float32Array): void {
    if (values.length > 0) this.counted.set(path, this.counted.get(path) === true || counted.length > 0);
  }

  /** @throws {DatasetError} `no-rows` if no row of a layer counted in all that was noted. */
  check(): void {
    const paths = [...this.counted].flatMap(([path, any]) => (any ? [] : [path]));
    if (paths.length > 0) throw noRowsError(paths);
  }
}

/** The error for data of which a token mask and skipped tokens leave nothing. */
export function noRowsError(paths: readonly string[]): DatasetError {
  const more = paths.length > 1 ? ` and ${paths.length - 1} others` : '';
  return new DatasetError(
    'no-rows',
    `the token mask and the leading tokens that are skipped leave no row of the data at the input of layer ` +
      `"${paths[0]}"${more}; let some positions count: 1 in the mask counts, and sequences must be longer than ` +
      'skipLeadingTokens',
    {paths},
  );
}

/** Whether the backend can read a tensor within a forward pass. */
export function readsSynchronously(): boolean {
  return tf.getBackend() !== 'webgpu';
}
