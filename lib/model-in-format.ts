/** @file A model in another format of its weights, and which formats it can have here. */
import * as tf from '@tensorflow/tfjs';
import type {ModelFormat} from './allocation/format-points.js';
import {compressWeights, decompressWeights, inspectWeights} from './compress.js';
import {SparsifyError} from './errors.js';
import {SPARSIFIED_MATMUL_INT4} from './kernels/int4-kernels.js';
import {SPARSIFIED_MATMUL_INT8} from './kernels/int8-kernels.js';
import {cloneModel} from './model/clone.js';
import {OBJECT, SIGNAL, checkOptions, optional, type OptionRules} from './option-rules.js';

/** How formats other than float32, INT8 and INT4 are made, which depends on what a model is. */
export interface OtherFormats {
  /** The model as its file has it, where that holds packed weights; left to the caller. It has the layers of the float32 model. */
  readonly kept?: tf.LayersModel;
  /** Makes a float32 model compute in bfloat16, in place; without it there is no bfloat16, for the reason given in its place. */
  readonly toBfloat16?: ((model: tf.LayersModel) => void) | string;
}

/** Inputs that share a scale in INT4. */
const INT4_GROUP_SIZE = 64;

/** Of `OtherFormats`. */
export const OTHER_FORMATS_RULES: OptionRules<OtherFormats> = {
  kept: OBJECT,
  toBfloat16: optional('a function, or a reason', (value) => ['function', 'string'].includes(typeof value)),
};

/** How `modelInFormat` makes formats. */
export interface ModelInFormatOptions extends OtherFormats {
  readonly signal?: AbortSignal;
}

const IN_FORMAT_RULES: OptionRules<ModelInFormatOptions> = {...OTHER_FORMATS_RULES, signal: SIGNAL};

/**
 * A model in a format, as it was measured.
 *
 * @param model The float32 model; left as it is.
 * @returns The caller disposes it; it shares the memory of what stays float32.
 * @throws {SparsifyError} `no-format`; as `compressWeights`.
 */
export async function modelInFormat(
  model: tf.LayersModel,
  format: ModelFormat,
  options: ModelInFormatOptions = {},
): Promise<tf.LayersModel> {
  checkOptions('modelInFormat', options, IN_FORMAT_RULES);
  return makeFormat(model, format, options);
}

/** As `modelInFormat`, whose options were checked. */
export async function makeFormat(
  model: tf.LayersModel,
  format: ModelFormat,
  {kept, toBfloat16, signal}: ModelInFormatOptions,
): Promise<tf.LayersModel> {
  switch (format) {
    case 'float32':
      return cloneModel(model);
    case 'int8':
      return compressWeights(model, {mode: 'int8_asym', signal});
    case 'int4':
      return compressWeights(model, {mode: 'int4_asym', groupSize: INT4_GROUP_SIZE, signal});
    case 'kept':
      if (kept === undefined) throw noFormat('the model holds no packed weights that could be kept');
      return cloneModel(kept);
    case 'bfloat16': {
      if (typeof toBfloat16 !== 'function')
        throw noFormat(toBfloat16 ?? 'only language models are decoded in bfloat16');
      const copy = cloneModel(model);
      toBfloat16(copy);
      return copy;
    }
  }
}

/** The float32 model, and what is kept of it, of a model that holds packed weights; itself if it holds none. */
export function unpacked(model: tf.LayersModel): {
  readonly model: tf.LayersModel;
  readonly kept?: tf.LayersModel;
} {
  return isPacked(model) ? {model: decompressWeights(model), kept: model} : {model};
}

/** Whether a model holds packed weights. */
export function isPacked(model: tf.LayersModel): boolean {
  return inspectWeights(model).some(({format}) => format !== 'float32');
}

/** `no-format`. */
export function noFormat(reason: string): SparsifyError {
  return new SparsifyError('no-format', reason);
}

/** Why a format has no kernel here; null if it has one or needs none. */
export function missingKernel(format: ModelFormat): string | null {
  const kernel = {int8: SPARSIFIED_MATMUL_INT8, int4: SPARSIFIED_MATMUL_INT4}[format as string];
  const backend = tf.getBackend();
  if (kernel === undefined || tf.getKernel(kernel, backend) !== undefined) return null;
  return `backend ${backend} has no kernel for it`;
}
