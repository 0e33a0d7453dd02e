/**
 * @file A data set for calibration and evaluation: items from almost any source, with an optional transform from
 * item to model input. Follows NNCF's `Dataset` (nncf/data/dataset.py), whose reference vectors hold it
 * (spec/fixtures/nncf/dataset.json). It does not batch, shuffle or read files: sources do.
 */
import * as tf from '@tensorflow/tfjs';

import {DatasetError} from './errors.js';
import {CHECKED_LATER, FLAG, checkOptions, type OptionRules} from './option-rules.js';

/** Items that can be walked once or more often. */
type Walkable<Item> = Iterable<Item> | AsyncIterable<Item>;

/**
 * Where items come from: an array or typed array, a tensor (its rows), an iterable, an async iterable, a
 * `tf.data.Dataset`, or a function that starts a new walk each time, such as a generator function.
 */
export type DataSource<Item> =
  ArrayLike<Item> | tf.Tensor | Walkable<Item> | tf.data.Dataset<tf.TensorContainer> | (() => Walkable<Item>);

/** From an item to what the model takes; may be async. */
export type DatasetTransform<Item, Input> = (item: Item) => Input | Promise<Input>;

/** What a source cannot say of itself. */
export interface DatasetOptions {
  /** How many items there are, for progress; by default what the source says. */
  readonly length?: number;
  /** Samples an item; by default the source's own `batchSize`. */
  readonly batchSize?: number;
  /**
   * Whether tensors in the source's items are disposed of after use. True by default for tensors and
   * `tf.data.Dataset`, which make new ones each time; false for other sources, whose items are theirs.
   */
  readonly disposeItems?: boolean;
}

const RULES: OptionRules<DatasetOptions> = {
  length: CHECKED_LATER,
  batchSize: CHECKED_LATER,
  disposeItems: FLAG,
};

/** What calibration and evaluation need of a data set: its model inputs, any number of times, and how many. */
export interface Batches {
  /** How many items there are; null if unknown. */
  readonly length: number | null;
  getInferenceData(): AsyncIterable<unknown>;
}

/** A data set, or anything that one can be made of, as batches. */
export function toBatches(source: Batches | DataSource<unknown>): Batches {
  return isBatches(source) ? source : new Dataset(source);
}

function isBatches(source: Batches | DataSource<unknown>): source is Batches {
  return typeof source === 'object' && source !== null && 'getInferenceData' in source;
}

/** A transform as a method: so a `Dataset<Image>` is a `Dataset<unknown>` to those who only read inputs. */
interface Transformer<Item, Input> {
  apply(item: Item): Input | Promise<Input>;
}

/** A source by what can be done with it. */
type Reader<Item> =
  | {readonly kind: 'indexed'; readonly length: number; at(index: number): Item}
  | {readonly kind: 'sequential'; walk(): AsyncIterable<Item>};

/**
 * Items of a source and the inputs that a transform makes of them.
 *
 * Each pass is lazy: an item is fetched and transformed when it is asked for. **Tensors are lent**: those that a
 * pass made (rows of a tensor, items of a `tf.data.Dataset`, everything in the transform's result that is not
 * part of its item) are disposed of when the next item is asked for or the pass ends; clone one to keep it. A
 * transform that returns a tensor it keeps must return a clone, and should run in `tf.tidy`. Tensors in items of
 * arrays and iterables are left alone unless `disposeItems` is true.
 *
 * A source that can be walked only once (a generator object, a stream) gives all its items to the first pass and
 * none to later ones; leaving a pass early closes it. Give the generator function to walk it again.
 *
 * @example
 * new Dataset(images, (image) => tf.tensor(image, [1, 784]));
 * new Dataset(tf.data.csv(url).batch(32), ({xs}) => xs);
 */
export class Dataset<Item = unknown, Input = Item> {
  /** How many items there are; null if unknown or without end. */
  readonly length: number | null;
  /** Samples an item; null if unknown. */
  readonly batchSize: number | null;
  /** Whether more than one pass sees items. */
  readonly reiterable: boolean;
  readonly #reader: Reader<Item>;
  readonly #transformer: Transformer<Item, Input> | null;
  readonly #disposeItems: boolean;

  /**
   * @param source where items come from; not copied. A tensor has rank 1 or more.
   * @param transform from item to model input; by default the item itself.
   * @throws DatasetError `unsupported-source`, `invalid-transform`, or `invalid-option` for a length or batch size
   *   that is not a count.
   */
  constructor(
    source: DataSource<Item>,
    transform?: DatasetTransform<Item, Input> | null,
    options: DatasetOptions = {},
  ) {
    checkOptions('Dataset', options, RULES);
    const {length, batchSize, disposeItems} = options;
    if (transform !== undefined && transform !== null && typeof transform !== 'function') {
      throw new DatasetError(
        'invalid-transform',
        `the transform is ${describe(transform)}; it must be a function from an item to the model's input: ` +
          'leave it out if items are inputs',
      );
    }
    this.#reader = readerOf(source);
    this.#transformer = transform ? {apply: transform} : null;
    this.#disposeItems = disposeItems ?? (source instanceof tf.Tensor || source instanceof tf.data.Dataset);
    this.length = checkCount('length', length) ?? lengthOf(source, this.#reader);
    this.batchSize = checkCount('batchSize', batchSize) ?? countProperty(source, 'batchSize');
    this.reiterable = !isOneShot(source);
  }

  /**
   * The items as the source has them.
   * @param indices which items to take; all by default. Arrays and tensors give them in the order of the indices,
   *   and negative ones count from the end. Other sources give them in ascending order, skip those beyond the
   *   end, and are read no further than the last. Either way an index given twice gives its item twice.
   * @returns an async generator; tensors in items are lent, see the class.
   * @throws DatasetError `invalid-index` for an index that is not an integer, or negative where the end is
   *   unknown; `index-out-of-range` on arrays and tensors.
   */
  async *getData(indices?: Iterable<number>): AsyncGenerator<Item, void, undefined> {
    for await (const {item, release} of this.#select(indices)) {
      try {
        yield item;
      } finally {
        release();
      }
    }
  }

  /**
   * The model inputs: items after the transform, which runs once for each.
   * @param indices as for `getData`.
   * @returns an async generator; tensors are lent, see the class.
   * @throws DatasetError as `getData`; what the transform throws is passed on.
   */
  async *getInferenceData(indices?: Iterable<number>): AsyncGenerator<Input, void, undefined> {
    for await (const {item, release} of this.#select(indices)) {
      let input: Input | undefined;
      try {
        // Without a transform Input is Item: the types cannot say so.
        input = this.#transformer === null ? (item as unknown as Input) : await this.#transformer.apply(item);
        yield input;
      } finally {
        disposeExcept(input, item);
        release();
      }
    }
  }

  /** The selected items, each with what to call after its use. */
  async *#select(indices?: Iterable<number>): AsyncGenerator<{item: Item; release: () => void}> {
    const reader = this.#reader;
    if (reader.kind === 'indexed') {
      for (const index of indexesInto(reader.length, indices)) {
        const item = reader.at(index);
        yield {item, release: () => this.#release(item)};
      }
      return;
    }
    const wanted = indices === undefined ? null : countIndices(indices);
    let left = wanted?.size ?? Infinity;
    if (left === 0) {
      return;
    }
    let index = 0;
    for await (const item of reader.walk()) {
      const times = wanted === null ? 1 : (wanted.get(index) ?? 0);
      try {
        for (let i = 0; i < times; i++) {
          yield {item, release: () => undefined};
        }
      } finally {
        this.#release(item);
      }
      left -= Math.min(times, 1);
      if (left === 0) {
        return;
      }
      index++;
    }
  }

  #release(item: Item): void {
    if (this.#disposeItems) {
      disposeExcept(item, null);
    }
  }
}

/** Disposes of the tensors in `container` that are not in `kept`. */
function disposeExcept(container: unknown, kept: unknown): void {
  if (container === kept) {
    return;
  }
  const spared = new Set(tensorsIn(kept));
  for (const tensor of tensorsIn(container)) {
    if (!spared.has(tensor)) {
      tensor.dispose();
    }
  }
}

/** All tensors in nested arrays and plain objects. */
function tensorsIn(container: unknown): tf.Tensor[] {
  return tf.tensor_util.getTensorsInContainer(container as tf.TensorContainer);
}

function readerOf<Item>(source: DataSource<Item>): Reader<Item> {
  if (source instanceof tf.Tensor) {
    return readRows(source) as Reader<Item>;
  }
  if (Array.isArray(source) || (ArrayBuffer.isView(source) && !(source instanceof DataView))) {
    const items = source as ArrayLike<Item>;
    return {kind: 'indexed', length: items.length, at: (index) => items[index]};
  }
  if (source instanceof tf.data.Dataset) {
    return {kind: 'sequential', walk: () => walkTfData(source) as AsyncIterable<Item>};
  }
  if (isWalkable<Item>(source)) {
    return {kind: 'sequential', walk: () => walk(source)};
  }
  if (typeof source === 'function') {
    return {kind: 'sequential', walk: () => walkNew(source)};
  }
  throw new DatasetError(
    'unsupported-source',
    `the source of a data set is ${describe(source)}; it must be an array, a tensor, an iterable or async ` +
      'iterable, a tf.data.Dataset, or a generator function: put a single item into an array',
  );
}

function readRows(tensor: tf.Tensor): Reader<tf.Tensor> {
  if (tensor.rank === 0) {
    throw new DatasetError(
      'unsupported-source',
      'the source of a data set is a tensor of rank 0; its items are its rows, so it must have rank 1 or more: ' +
        'put it into an array',
    );
  }
  return {
    kind: 'indexed',
    length: tensor.shape[0],
    at: (index) => tf.tidy(() => tensor.slice([index], [1]).reshape(tensor.shape.slice(1))),
  };
}

async function* walk<Item>(source: Walkable<Item>): AsyncGenerator<Item, void, undefined> {
  // Not `yield*` over a sync iterable: that would close it in another way when a promise in it rejects.
  for await (const item of source) {
    yield item;
  }
}

async function* walkNew<Item>(start: () => unknown): AsyncGenerator<Item, void, undefined> {
  const source: unknown = start();
  if (!isWalkable<Item>(source)) {
    throw new DatasetError(
      'unsupported-source',
      `the source function of a data set returned ${describe(source)}; it must return an iterable or async ` +
        'iterable: write function* () { yield item; }',
    );
  }
  yield* walk(source);
}

async function* walkTfData(
  dataset: tf.data.Dataset<tf.TensorContainer>,
): AsyncGenerator<tf.TensorContainer, void, undefined> {
  const iterator = await dataset.iterator();
  for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
    yield next.value;
  }
}

/** Strings are iterable too, but a string of characters is never a data set. */
function isWalkable<Item>(source: unknown): source is Walkable<Item> {
  return (
    typeof source === 'object' &&
    source !== null &&
    (Symbol.asyncIterator in source || Symbol.iterator in source)
  );
}

/** Whether a source is consumed by its first walk: an iterator that returns itself, or a stream. */
function isOneShot(source: unknown): boolean {
  if (typeof source !== 'object' || source === null) {
    return false;
  }
  if ('getReader' in source || ('pipe' in source && Symbol.asyncIterator in source)) {
    return true; // A web stream or a stream of Node; its iterators are new, their data are not.
  }
  // Asked of iterators alone: other sources may start work when asked for an iterator.
  return 'next' in source && typeof source.next === 'function';
}

function lengthOf(source: unknown, reader: Reader<unknown>): number | null {
  if (reader.kind === 'indexed') {
    return reader.length;
  }
  // A function's length counts its parameters.
  return typeof source === 'function'
    ? null
    : (countProperty(source, 'length') ?? countProperty(source, 'size'));
}

/** A property that is a count; null if there is none (the size of an endless tf.data.Dataset is Infinity). */
function countProperty(source: unknown, name: string): number | null {
  const value = (source as Readonly<Record<string, unknown>>)[name];
  return isCount(value) ? value : null;
}

function checkCount(option: string, value: unknown): number | null {
  if (value === undefined || isCount(value)) {
    return value ?? null;
  }
  throw new DatasetError(
    'invalid-option',
    `${option} is ${describe(value)}; it must be an integer of at least 0: leave it out if it is unknown`,
  );
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0;
}

/** The positions that indices mean in a sequence of known length; negative ones count from its end. */
function* indexesInto(length: number, indices?: Iterable<number>): Generator<number, void, undefined> {
  if (indices === undefined) {
    for (let i = 0; i < length; i++) {
      yield i;
    }
    return;
  }
  for (const index of indices) {
    checkInteger(index);
    if (index < -length || index >= length) {
      throw new DatasetError(
        'index-out-of-range',
        `index ${index} is out of range; the data set has ${length} items: give indices in [${-length}, ${length})`,
        {index, length},
      );
    }
    yield index < 0 ? length + index : index;
  }
}

/** How often each index is wanted from a sequence of unknown length. */
function countIndices(indices: Iterable<number>): Map<number, number> {
  const counts = new Map<number, number>();
  for (const index of indices) {
    checkInteger(index);
    if (index < 0) {
      throw new DatasetError(
        'invalid-index',
        `index ${index} counts from the end, which this source does not know: give indices of at least 0, or an ` +
          'array as the source',
        {index},
      );
    }
    counts.set(index, (counts.get(index) ?? 0) + 1);
  }
  return counts;
}

function checkInteger(index: unknown): void {
  if (!Number.isInteger(index)) {
    throw new DatasetError(
      'invalid-index',
      `index ${describe(index)} must be an integer: write 0 for the first`,
      {
        index,
      },
    );
  }
}

function describe(value: unknown): string {
  if (typeof value === 'string') {
    return `the string ${JSON.stringify(value.slice(0, 40))}`;
  }
  if (typeof value === 'object' && value !== null) {
    return `an object (${value.constructor?.name ?? 'Object'})`;
  }
  return String(value);
}
