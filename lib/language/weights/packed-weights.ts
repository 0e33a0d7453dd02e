/**
 * @file Weights that are packed as they are read, so that a model never lies in memory as float32 whole: what `compressWeights`
 * gives of the loaded model, or the checkpoint's own 4 bits.
 */
import type * as tf from '@tensorflow/tfjs';
import {compressionPlan} from '../../compress.js';
import {COMPRESS_AS_READ_RULES, type CompressAsRead} from '../../compression/compression-options.js';
import {compressibleWeights, type PlacedWeight} from '../../model/compressible.js';
import type {Compression} from '../../layers/compressed-weight.js';
import {
  quantizeWeight,
  quantizedWeight,
  replaceWeight,
  type NewCompression,
} from '../../model/replace-weights.js';
import {SparsifyError} from '../../errors.js';
import {oneOf, type OptionRules} from '../../option-rules.js';
import type {Int4Values} from '../../quantization/int4.js';
import {floatsOf} from '../../tensor-values.js';
import type {LayerVariable} from '../../tfjs.js';
import type {Checkpoint} from './checkpoint.js';
import {checkedPlan, write, type WeightStore} from './load-weights.js';

/**
 * What a checkpoint's weights become: `keep`, what they are in the file as far as that is 4 bits; INT8, with zero points; or
 * float32.
 */
export type ReadFormat = 'keep' | 'int8' | 'float32';

export const READ_FORMATS: readonly ReadFormat[] = ['keep', 'int8', 'float32'];

/** How weights are stored as they are read. */
export interface WeightsAsRead extends CompressAsRead {
  /**
   * By default, and without `compress`, `keep`: of a GGUF file, matrices in Q4_0, Q4_1 and Q4_K stay the 4 bits that they are, and
   * beside these, those in Q5_0, Q5_1, Q5_K, Q6_K and Q8_0 become INT8. All others are float32, as all of a file without 4 bits are.
   */
  readonly weights?: ReadFormat;
}

export const WEIGHTS_AS_READ_RULES: OptionRules<WeightsAsRead> = {
  ...COMPRESS_AS_READ_RULES,
  weights: oneOf(READ_FORMATS),
};

/** What becomes of weights as they are read, by the paths of their layers; a layer without entry stays float32. */
export type PlanAsRead = ReadonlyMap<string, NewCompression | KeptInt4>;

/** A matrix whose 4 bits are the file's. */
type KeptInt4 = Extract<Compression, {int4: unknown}> & {readonly isKept: true};

/**
 * What is to become of a model's weights, which have no values yet.
 *
 * @param checkpoint Where they come from; null if that is a saved model, whose weights stay as they are by default.
 * @throws {ScopeError} if the scope does not fit the model; what `compressWeights` throws of its options.
 */
export function planAsRead(
  model: tf.LayersModel,
  options: WeightsAsRead,
  checkpoint: Checkpoint | null,
): PlanAsRead {
  const {weights, compressIgnoredScope = null, compressOptions = {}} = options;
  const compress = options.compress ?? (weights === 'int8' ? 'int8_asym' : undefined);
  if (compress !== undefined) {
    return compressionPlan(model, compressIgnoredScope, {...compressOptions, mode: compress});
  }
  return weights === 'float32' || checkpoint === null ? new Map() : keptPlan(checkpoint);
}

/**
 * To be called before anything is read.
 *
 * @throws {SparsifyError} `unsupported-option` for both `weights` and `compress`.
 */
export function checkOneFormat({weights, compress}: WeightsAsRead): void {
  if (weights === undefined || compress === undefined) return;
  throw new SparsifyError(
    'unsupported-option',
    `the options say weights "${weights}" and compress "${compress}", and only one can be: leave one of them out`,
    {weights, compress},
  );
}

/** How a checkpoint's matrices are kept, by the name of the tensor; those that are not there are read as float32. */
export function keptFormats({tensors}: Checkpoint): ReadonlyMap<string, Compression> {
  const formats = new Map<string, Compression>();
  const all = [...tensors.values()];
  if (!all.some(({int4}) => int4 !== undefined)) return formats;
  for (const {name, shape, int4, isQuantized = false} of all) {
    if (shape.length < 2) continue;
    if (int4 !== undefined) formats.set(name, {int4});
    else if (isQuantized) formats.set(name, {int8: 'asym'});
  }
  return formats;
}

function keptPlan(checkpoint: Checkpoint): PlanAsRead {
  const formats = keptFormats(checkpoint);
  const plan = new Map<string, NewCompression | KeptInt4>();
  for (const {path, tensor, shape} of checkedPlan(checkpoint)) {
    const format = formats.get(tensor);
    if (format !== undefined && shape.length > 1) {
      plan.set(path, 'int4' in format ? {...format, isKept: true} : format);
    }
  }
  return plan;
}

export class PackedWeights implements WeightStore {
  /** By variable, which two layers may share. */
  private readonly placed = new Map<LayerVariable, PlacedWeight[]>();

  /** @param model Its weights that the plan names are packed as they are stored. */
  constructor(
    model: tf.LayersModel,
    private readonly plan: PlanAsRead,
  ) {
    for (const weight of compressibleWeights(model)) {
      if (!plan.has(weight.path)) continue;
      this.placed.set(weight.variable, [...(this.placed.get(weight.variable) ?? []), weight]);
    }
  }

  /** The variables whose layers have others now, once all are stored. */
  get replaced(): ReadonlySet<LayerVariable> {
    return new Set(this.placed.keys());
  }

  /** Puts values where they belong, as `WeightStore`. */
  store(variable: LayerVariable, values: Float32Array, isTransposed: boolean): void {
    const places = this.placed.get(variable);
    if (places === undefined) write(variable, values, isTransposed);
    else this.replace(places, values, isTransposed);
  }

  /** Puts a tensor where it belongs; it is disposed then. */
  async storeTensor(variable: LayerVariable, tensor: tf.Tensor): Promise<void> {
    const places = this.placed.get(variable);
    try {
      if (places === undefined) variable.write(tensor);
      else this.replace(places, floatsOf(await tensor.data()), false);
    } finally {
      tensor.dispose();
    }
  }

  keepsInt4(variable: LayerVariable): boolean {
    const places = this.placed.get(variable);
    return places !== undefined && 'isKept' in this.plan.get(places[0].path)!;
  }

  /** Puts a matrix of the file where it belongs. */
  storeInt4(variable: LayerVariable, matrix: Int4Values): void {
    const places = this.placed.get(variable)!;
    const packed = quantizedWeight(places[0], matrix);
    for (const placed of places) replaceWeight(placed, packed);
  }

  private replace(places: readonly PlacedWeight[], values: Float32Array, isTransposed: boolean): void {
    // A kept matrix is no values, and goes another way.
    const compression = this.plan.get(places[0].path) as NewCompression;
    const packed = quantizeWeight(places[0], values, compression, isTransposed);
    for (const placed of places) replaceWeight(placed, packed);
  }
}
