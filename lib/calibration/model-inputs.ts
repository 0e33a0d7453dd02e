/**
 * @file One item of a data set as the input tensors of a model: positional, by name, or a single input; and the
 * errors that say which item does not fit.
 */
import * as tf from '@tensorflow/tfjs';
import {DatasetError, nearest} from '../errors.js';
import {isRagged} from './ragged.js';

/** The input tensors of one batch, in the order of the model's inputs. */
export interface ModelInputs {
  readonly tensors: tf.Tensor[];
  /** Frees what was made here; tensors of the data set are left to it. */
  dispose(): void;
}

/**
 * Reads an item: a tensor or nested array (one input), an array of tensors (in the order of the model's inputs), an
 * object of tensors by input name, or `{xs, ys}` as tf.data makes it, of which `xs` is taken.
 *
 * @param index Of the item in the data set, for errors.
 * @throws {DatasetError} `bad-item`, `wrong-inputs`, or `wrong-shape`.
 */
export function toModelInputs(model: tf.LayersModel, item: unknown, index: number): ModelInputs {
  const made: tf.Tensor[] = [];
  try {
    const tensors = inOrder(model, item, index, made);
    checkShapes(model, tensors, index);
    return {tensors, dispose: () => made.forEach((tensor) => tensor.dispose())};
  } catch (error) {
    made.forEach((tensor) => tensor.dispose());
    throw error;
  }
}

function inOrder(model: tf.LayersModel, item: unknown, index: number, made: tf.Tensor[]): tf.Tensor[] {
  const names = model.inputNames;
  const toTensor = (value: unknown): tf.Tensor => {
    if (value instanceof tf.Tensor) return value as tf.Tensor;
    try {
      if (isRagged(value)) throw new TypeError('its rows differ in length'); // tf.tensor takes it all the same
      const tensor = tf.tensor(value as tf.TensorLike);
      made.push(tensor);
      if (tensor.dtype === 'string') throw new TypeError('text is no input');
      return tensor;
    } catch (cause) {
      throw new DatasetError(
        'bad-item',
        `item ${index} of the data set is ${describe(value)}; it must be a tensor or a nested array of numbers ` +
          `(or use the data set's transform to make it one)`,
        {index},
        {cause},
      );
    }
  };
  if (isTensorList(item)) {
    if (item.length !== names.length) throw wrongCount(names, item.length, index);
    return item;
  }
  if (isPlainObject(item)) {
    if ('xs' in item && !names.includes('xs')) return inOrder(model, item.xs, index, made);
    for (const key of Object.keys(item)) if (!names.includes(key)) throw unknownInput(names, key, index);
    return names.map((name) => {
      if (!(name in item)) throw missingInput(names, name, index);
      return toTensor(item[name]);
    });
  }
  if (names.length !== 1) throw wrongCount(names, 1, index);
  return [toTensor(item)];
}

function checkShapes(model: tf.LayersModel, tensors: tf.Tensor[], index: number): void {
  model.inputs.forEach(({shape}, i) => {
    const got = tensors[i].shape;
    const fits =
      got.length === shape.length && shape.every((size, axis) => size === null || size === got[axis]);
    if (fits) return;
    const hint =
      got.length === shape.length - 1
        ? '; the first dimension is the batch: add one with tensor.expandDims(0)'
        : '';
    throw new DatasetError(
      'wrong-shape',
      `item ${index} of the data set has shape [${got.join(', ')}] for input "${model.inputNames[i]}"; the model ` +
        `takes [${shape.map((size) => size ?? 'any').join(', ')}]${hint}`,
      {index, got, allowed: shape, input: model.inputNames[i]},
    );
  });
}

function wrongCount(names: readonly string[], got: number, index: number): DatasetError {
  return new DatasetError(
    'wrong-inputs',
    `item ${index} of the data set has ${got} tensor${got === 1 ? '' : 's'}; the model has ${names.length} ` +
      `input${names.length === 1 ? '' : 's'} (${names.join(', ')}): give one tensor each, as an array in that order ` +
      `or an object by name; if the item is an [input, label] pair, take its input with the data set's transform`,
    {index, got, inputs: names},
  );
}

function unknownInput(names: readonly string[], key: string, index: number): DatasetError {
  const near = nearest(key, names);
  return new DatasetError(
    'wrong-inputs',
    `item ${index} of the data set has the key "${key}"; the model's inputs are ${names.join(', ')}` +
      (near.length > 0 ? `: did you mean "${near[0]}"?` : ''),
    {index, key, inputs: names},
  );
}

function missingInput(names: readonly string[], name: string, index: number): DatasetError {
  return new DatasetError(
    'wrong-inputs',
    `item ${index} of the data set lacks the input "${name}"; the model's inputs are ${names.join(', ')}`,
    {index, name, inputs: names},
  );
}

function isTensorList(item: unknown): item is tf.Tensor[] {
  return Array.isArray(item) && item.length > 0 && item.every((entry) => entry instanceof tf.Tensor);
}

function isPlainObject(item: unknown): item is Record<string, unknown> {
  return (
    typeof item === 'object' &&
    item !== null &&
    !(item instanceof tf.Tensor) &&
    !Array.isArray(item) &&
    !ArrayBuffer.isView(item)
  );
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return 'an array that is ragged or holds more than numbers';
  return typeof value === 'object' ? `a ${value.constructor.name}` : `a ${typeof value}`;
}
