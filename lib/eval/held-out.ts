/** @file Which batches of a data set measure what calibration on the others costs. */
import type * as tf from '@tensorflow/tfjs';
import {modelBatches} from '../calibration/model-batches.js';
import type {Batches} from '../dataset.js';
import {DatasetError} from '../errors.js';

/** A data set of which some batches are held out. */
export interface HeldOut {
  readonly batches: Batches;
  isHeldOut(index: number): boolean;
}

/** Every so many batches one is held out. */
const PERIOD = 4;

/** All of a data set that calibration does not read. */
export function allOf(batches: Batches): HeldOut {
  return {batches, isHeldOut: () => true};
}

/**
 * Looks for a first batch, before anything is measured.
 *
 * @throws {DatasetError} `empty`.
 */
export async function checkNotEmpty(batches: Batches): Promise<void> {
  if ((await countUpTo(1, batches)) === 0) throw nothingHeldOut();
}

/**
 * Holds out every fourth batch, the last one if there are fewer. Where the data set does not say how many there are, up to
 * four are read to see.
 *
 * @param model Says how many items a batch holds, for the error.
 * @returns What is left for calibration, and the held-out part.
 * @throws {DatasetError} `too-few-batches` if there is one batch only, with the `items` in it; `empty`.
 */
export async function holdOut(
  model: tf.LayersModel,
  batches: Batches,
): Promise<{calibration: Batches; heldOut: HeldOut}> {
  const {length} = batches;
  const seen = length ?? (await countUpTo(PERIOD, batches));
  if (seen === 0) throw nothingHeldOut();
  if (seen === 1) throw tooFew(await itemsOfFirst(model, batches));
  const few = seen < PERIOD;
  const isHeldOut = (index: number) => (few ? index === seen - 1 : index % PERIOD === PERIOD - 1);
  const count = few ? 1 : Math.floor(seen / PERIOD);
  return {
    calibration: {
      length: length === null && !few ? null : seen - count,
      async *getInferenceData() {
        let index = 0;
        for await (const item of batches.getInferenceData()) if (!isHeldOut(index++)) yield item;
      },
    },
    heldOut: {batches, isHeldOut},
  };
}

/** How many batches a data set has, read no further than `most`. */
async function countUpTo(most: number, batches: Batches): Promise<number> {
  if (batches.length !== null) return Math.min(most, batches.length);
  let count = 0;
  const walk = batches.getInferenceData()[Symbol.asyncIterator]();
  try {
    while (count < most && (await walk.next()).done !== true) count++;
  } finally {
    await walk.return?.();
  }
  return count;
}

/** How many items the first batch holds. */
async function itemsOfFirst(model: tf.LayersModel, batches: Batches): Promise<number> {
  for await (const {tensors} of modelBatches(model, batches)) return tensors[0].shape[0];
  return 0;
}

/** Of data that were to measure a loss. */
export function nothingHeldOut(): DatasetError {
  return new DatasetError('empty', 'there is no batch to measure the loss on: the data set for it is empty');
}

function tooFew(items: number): DatasetError {
  const remedy =
    items < 2
      ? 'give more items'
      : `give batches of ${Math.ceil(items / PERIOD)} items, say, which makes several`;
  return new DatasetError(
    'too-few-batches',
    `a loss is measured on batches that calibration does not see, and the data set has one, of ${items} ` +
      `item${items === 1 ? '' : 's'}: ${remedy}, or other data to measure on (heldOut)`,
    {batches: 1, items, batchSize: Math.ceil(items / PERIOD)},
  );
}
