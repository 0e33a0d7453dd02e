/** @file The test images of the digits model, which neither training nor calibration saw. */
import type * as tf from '@tensorflow/tfjs';
import {openDataBlob, type DataFile} from 'tfjs-sparsify';

/** Bytes of images are read as ink from 0 to 1. */
const BYTE = 1 / 255;

/** Images with what they show. */
export interface TestImages {
  /** [784] each, 0 for paper and 1 for ink. */
  readonly images: readonly Float32Array[];
  readonly digits: readonly number[];
}

/** The images of a `.npy` file in batches [100, 784]. */
export async function imagesAt(url: string): Promise<DataFile> {
  return openDataBlob(await fetchBlob(url), url, {batchSize: 100, scale: BYTE});
}

/** @param folder The model's, with a slash at its end. */
export async function loadTestImages(folder: string): Promise<TestImages> {
  const images: Float32Array[] = [];
  for await (const batch of await imagesAt(`${folder}test-images.npy`)) {
    const rows = batch as tf.Tensor2D;
    const values = rows.dataSync();
    const [count, size] = rows.shape;
    for (let row = 0; row < count; row++)
      images.push(values.slice(row * size, (row + 1) * size) as Float32Array);
    rows.dispose();
  }
  const digits: number[] = [];
  const url = `${folder}test-labels.npy`;
  for await (const batch of openDataBlob(await fetchBlob(url), url, {batchSize: images.length})) {
    digits.push(...(batch as tf.Tensor1D).dataSync());
    (batch as tf.Tensor1D).dispose();
  }
  return {images, digits};
}

async function fetchBlob(url: string): Promise<Blob> {
  const response = await fetch(url);
  if (response.ok) return response.blob();
  throw new Error(`${url} cannot be had: the server says ${response.status} ${response.statusText}`);
}
