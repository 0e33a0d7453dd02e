/** @file Which batches of a data set measure what calibration on the others costs. */
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
 * Holds out every fourth batch, the last one if there are fewer.
 *
 * @returns What is left for calibration, and the held-out part.
 * @throws {DatasetError} `too-few-batches` if there is one batch only.
 */
export function holdOut(batches: Batches): {calibration: Batches; heldOut: HeldOut} {
  const {length} = batches;
  if (length !== null && length < 2) {
    throw new DatasetError(
      'too-few-batches',
      `a loss is measured on batches that calibration does not see, and the data set has ${length}: give smaller ` +
        'batches, or other data to measure on (heldOut)',
      {length},
    );
  }
  const few = length !== null && length < PERIOD;
  const isHeldOut = (index: number) => (few ? index === length - 1 : index % PERIOD === PERIOD - 1);
  const count = few ? 1 : Math.floor((length ?? 0) / PERIOD);
  return {
    calibration: {
      length: length === null ? null : length - count,
      async *getInferenceData() {
        let index = 0;
        for await (const item of batches.getInferenceData()) if (!isHeldOut(index++)) yield item;
      },
    },
    heldOut: {batches, isHeldOut},
  };
}
