/** @file Part of the held-out digits as `.npy` files beside the model, for use without the npm package. */

import {writeFile} from 'node:fs/promises';
import {join} from 'node:path';

import {encodeNpy} from '../../lib/io/data/npy.js';
import {IMAGE_PIXELS, toBytes, type DigitsSplit, type LabelledImages} from './data.js';

/** Calibration images in the sample. */
const CALIBRATION_SAMPLE_COUNT = 500;
/** Test images in the sample; with the calibration images 1.2 MB. */
const TEST_SAMPLE_COUNT = 1000;

/**
 * Writes `calibration-images.npy`, `calibration-labels.npy`, `test-images.npy` and `test-labels.npy`: uint8
 * [n, 784], 0 for paper and 255 for ink, and uint8 [n].
 *
 * @param split Where the images come from: the first of each set.
 * @param folder An existing folder.
 */
export async function writeSamples({calibration, test}: DigitsSplit, folder: string): Promise<void> {
  await writeSample(calibration, CALIBRATION_SAMPLE_COUNT, join(folder, 'calibration'));
  await writeSample(test, TEST_SAMPLE_COUNT, join(folder, 'test'));
}

async function writeSample({images, labels}: LabelledImages, count: number, prefix: string): Promise<void> {
  const pixels = toBytes(images.subarray(0, count * IMAGE_PIXELS));
  await writeFile(`${prefix}-images.npy`, encodeNpy(pixels, [count, IMAGE_PIXELS]));
  await writeFile(`${prefix}-labels.npy`, encodeNpy(Uint8Array.from(labels.subarray(0, count)), [count]));
}
