/** @file What a data file gives, read whole; and where NumPy's files are. */
import {fileURLToPath} from 'node:url';
import * as tf from '@tensorflow/tfjs';
import {openDataFile, type DataFileOptions} from '../../../lib/io/data/data-files.js';

/** What a tensor held. */
export interface Read {
  readonly shape: number[];
  readonly dtype: string;
  readonly values: number[];
}

/** The path of a file that NumPy wrote. */
export function numpyFile(name: string): string {
  return fileURLToPath(new URL(`../../fixtures/numpy/${name}`, import.meta.url));
}

/** The content of a tensor, which is disposed. */
function take(tensor: tf.Tensor): Read {
  const {shape, dtype} = tensor;
  const values = [...tensor.dataSync()];
  tensor.dispose();
  return {shape, dtype, values};
}

/** All batches of a file that gives tensors. */
export async function read(path: string, options?: DataFileOptions): Promise<Read[]> {
  const batches: Read[] = [];
  for await (const batch of openDataFile(path, options)) {
    if (!(batch instanceof tf.Tensor)) throw new Error('it gave a record');
    batches.push(take(batch));
  }
  return batches;
}

/** All batches of a file that gives records of tensors. */
export async function readNamed(path: string, options?: DataFileOptions): Promise<Record<string, Read>[]> {
  const batches: Record<string, Read>[] = [];
  for await (const batch of openDataFile(path, options)) {
    if (batch instanceof tf.Tensor) throw new Error('it gave a tensor');
    batches.push(Object.fromEntries(Object.entries(batch).map(([name, tensor]) => [name, take(tensor)])));
  }
  return batches;
}
