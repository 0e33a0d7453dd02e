/**
 * @file Whether a layer of a copied model computes by itself what the original computes: it is run on a few made-up
 * values, and it is noticed when it reaches for the original, or for state that only the original has.
 */
import * as tf from '@tensorflow/tfjs';
import {seededRandom} from '../stats/seeded-random.js';
import {
  callsOf,
  freshLayerId,
  freshVariableId,
  withAppliesObserved,
  withReadsOf,
  type Layer,
} from '../tfjs.js';

/** What a dimension of any size is in a trial. */
const FREE_SIZE = 2;

/** Inputs are tried in this order: ids may come as float32, of which only some are in the vocabulary. */
export const FILLS = ['random', 'zeros'] as const;

export type Fill = (typeof FILLS)[number];

/** Where ids stood when a copy was begun: whatever has a smaller one belongs to an original. */
export interface Birth {
  readonly layer: number;
  readonly variable: number;
}

export function birth(): Birth {
  return {layer: freshLayerId(), variable: freshVariableId()};
}

/** What running a layer gave. */
export interface TrialRun {
  readonly fill: Fill;
  /** Whether it used a layer or a variable that was there before the copy. */
  readonly usesOriginal: boolean;
  /** Objects that it looked up in a weak collection, and that were not there: compilers keep private fields so. */
  readonly missed: ReadonlySet<object>;
  /** Of all outputs, one after the other; the caller disposes them. */
  readonly outputs: tf.Tensor[];
}

/**
 * Runs a layer as its model calls it, for inference.
 *
 * @param layer Called in the graph of a model at least once.
 * @param born When the copy was begun that the layer belongs to.
 * @returns Null if the layer throws, which also a sound one may on values that mean nothing.
 */
export function tryLayer(layer: Layer, fill: Fill, born: Birth): TrialRun | null {
  const call = callsOf(layer).at(0);
  if (call === undefined) return null;
  let usesOriginal = false;
  const missed = new Set<object>();
  const noteApply = (other: Layer): void => {
    if (other.id < born.layer) usesOriginal = true;
  };
  const noteRead = (variable: tf.LayerVariable): undefined => {
    if (variable.id < born.variable) usesOriginal = true;
  };
  const random = seededRandom(1);
  try {
    const outputs = tf.tidy(() => {
      const inputs = call.inputTensors.map((input) => madeUp(input, fill, random));
      const args = {...call.callArgs, training: false};
      const run = () => layer.apply(inputs.length === 1 ? inputs[0] : inputs, args);
      return [
        withAppliesObserved(noteApply, () => withReadsOf(noteRead, () => withMissesNoted(missed, run))),
      ].flat() as tf.Tensor[];
    });
    return {fill, usesOriginal, missed, outputs};
  } catch {
    return null;
  }
}

/** Whether two runs gave the same but for rounding. */
export function isSameOutput(a: TrialRun, b: TrialRun): boolean {
  if (a.outputs.length !== b.outputs.length) return false;
  return a.outputs.every((output, i) => {
    const other = b.outputs[i];
    if (output.dtype !== other.dtype || !tf.util.arraysEqual(output.shape, other.shape)) return false;
    const values = other.dataSync();
    return output.dataSync().every((value, j) => isClose(value, values[j]));
  });
}

function isClose(a: number, b: number): boolean {
  return Object.is(a, b) || Math.abs(a - b) <= 1e-5 * Math.max(1, Math.abs(a), Math.abs(b));
}

function madeUp({shape, dtype}: tf.SymbolicTensor, fill: Fill, random: () => number): tf.Tensor {
  const sizes = shape.map((size) => size ?? FREE_SIZE);
  if (dtype !== 'float32' || fill === 'zeros') return tf.zeros(sizes, dtype);
  const values = Float32Array.from({length: tf.util.sizeFromShape(sizes)}, () => 4 * random() - 2);
  return tf.tensor(values, sizes);
}

/** Runs `work` and notes what is looked up in weak collections and is not there. */
function withMissesNoted<T>(missed: Set<object>, work: () => T): T {
  const originals = [
    [WeakMap.prototype, 'get'],
    [WeakMap.prototype, 'has'],
    [WeakSet.prototype, 'has'],
  ] as const;
  const before = originals.map(([prototype, name]) => {
    const methods = prototype as unknown as Record<string, (key: object) => unknown>;
    const method = methods[name];
    methods[name] = function (this: unknown, key: object): unknown {
      const found = method.call(this, key);
      if (found === undefined || found === false) missed.add(key);
      return found;
    };
    return () => (methods[name] = method);
  });
  try {
    return work();
  } finally {
    for (const restore of before) restore();
  }
}
