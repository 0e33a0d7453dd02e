/** @file How a model's weights are to be packed: NNCF's options of `compress_weights`, their rules and defaults. */
import {SparsifyError} from '../errors.js';
import {FLAG, count, nested, oneOf, optional, type OptionRules} from '../option-rules.js';
import {INT4_MODES, type Int4Mode} from '../quantization/int4.js';
import {INT8_MODES, type Int8Mode} from '../quantization/int8.js';
import {IGNORED_SCOPE, type IgnoredScope, type TargetScope} from '../scope/target-scope.js';

/** How weights are packed: with a scale an output channel in 8 bits, or a scale a group of inputs in 4. */
export type CompressionMode = Int8Mode | Int4Mode;

export const COMPRESSION_MODES: readonly CompressionMode[] = [...INT8_MODES, ...INT4_MODES];

/** What becomes of weights that are not to be INT4; `none` leaves them float32. */
export type BackupMode = Int8Mode | 'none';

export const BACKUP_MODES: readonly BackupMode[] = [...INT8_MODES, 'none'];

/**
 * What becomes of a weight that is to be INT4 where the group size does not divide its inputs: an error; it is left float32; it gets
 * the largest power of two that does as its group size.
 */
export type GroupSizeFallback = 'error' | 'ignore' | 'adjust';

export const GROUP_SIZE_FALLBACKS: readonly GroupSizeFallback[] = ['error', 'ignore', 'adjust'];

/** By what the layers are ordered that a ratio below 1 chooses from: the error of their weights, alone or times a measure of their inputs. */
export type SensitivityMetric =
  | 'weight_quantization_error'
  | 'hessian_input_activation'
  | 'mean_activation_variance'
  | 'max_activation_variance'
  | 'mean_activation_magnitude';

export const SENSITIVITY_METRICS: readonly SensitivityMetric[] = [
  'weight_quantization_error',
  'hessian_input_activation',
  'mean_activation_variance',
  'max_activation_variance',
  'mean_activation_magnitude',
];

/** Options that only the INT4 modes have. */
export interface Int4Options {
  /** Inputs that share a scale; -1 for all of an output. 128 by default. */
  readonly groupSize?: number;
  /** Share of the candidates' weights that become INT4, in [0, 1]: those whose layers suffer least; 0 is 1. 1 by default. */
  readonly ratio?: number;
  /** Whether embeddings and the last Dense layer are candidates too. False by default. */
  readonly allLayers?: boolean;
  /** For the weights that are not to be INT4; `int8_asym` by default. */
  readonly backupMode?: BackupMode;
  /** `error` by default. */
  readonly groupSizeFallback?: GroupSizeFallback;
  /** The least group size that `adjust` may choose; what would need less gets the backup. 32 by default. */
  readonly minAdjustedGroupSize?: number;
  /** For a ratio below 1: `max_activation_variance` by default if there is a data set, else `weight_quantization_error`. */
  readonly sensitivityMetric?: SensitivityMetric;
}

export const INT4_OPTION_RULES: OptionRules<Int4Options> = {
  groupSize: optional(
    'a whole number above 0, or -1 for one group an output',
    (value) => Number.isInteger(value) && ((value as number) > 0 || value === -1),
  ),
  ratio: optional('a number in [0, 1]', (value) => typeof value === 'number' && value >= 0 && value <= 1),
  allLayers: FLAG,
  backupMode: oneOf(BACKUP_MODES),
  groupSizeFallback: oneOf(GROUP_SIZE_FALLBACKS),
  minAdjustedGroupSize: count(),
  sensitivityMetric: oneOf(SENSITIVITY_METRICS),
};

/** For options that hold a mode. */
export function compressionMode(value: unknown): void {
  if (value === undefined || (COMPRESSION_MODES as readonly unknown[]).includes(value)) return;
  throw new SparsifyError(
    'unsupported-mode',
    `the mode is ${JSON.stringify(value)}; supported are ` +
      COMPRESSION_MODES.map((supported) => `"${supported}"`).join(', '),
    {got: value, allowed: COMPRESSION_MODES},
  );
}

/** Whether a mode makes weights INT4. */
export function isInt4Mode(mode: CompressionMode): mode is Int4Mode {
  return (INT4_MODES as readonly string[]).includes(mode);
}

/**
 * Refuses options that have no meaning for a mode, and a metric or a rounding without the data that it needs.
 *
 * @throws {SparsifyError} `unsupported-option`, `missing-dataset`.
 */
export function checkCombination(
  mode: CompressionMode,
  options: Int4Options & {readonly dataset?: unknown; readonly dataAware?: boolean},
): void {
  const {dataset, dataAware, sensitivityMetric} = options;
  if (!isInt4Mode(mode)) {
    const names = [...Object.keys(INT4_OPTION_RULES), 'dataset', 'dataAware'] as (keyof typeof options)[];
    const given = names.filter((name) => options[name] !== undefined);
    if (given.length === 0) return;
    throw new SparsifyError(
      'unsupported-option',
      `the mode "${mode}" does not have the option${given.length === 1 ? '' : 's'} ${given.join(', ')}, which ` +
        `INT4 has: leave ${given.length === 1 ? 'it' : 'them'} out, or take the mode "int4_asym" or "int4_sym"`,
      {mode, options: given},
    );
  }
  if (dataset === undefined && dataAware === true) {
    throw new SparsifyError(
      'missing-dataset',
      'dataAware rounds by what the layers read, and there is no data set: give dataset, or leave dataAware out',
      {dataAware},
    );
  }
  if (
    dataset !== undefined ||
    (sensitivityMetric ?? 'weight_quantization_error') === 'weight_quantization_error'
  )
    return;
  throw new SparsifyError(
    'missing-dataset',
    `the sensitivity metric "${sensitivityMetric!}" measures what the layers read, and there is no data set: give ` +
      'dataset, or take "weight_quantization_error"',
    {sensitivityMetric},
  );
}

/** What a checkpoint's weights become as they are read. */
export interface CompressAsRead {
  /** Make the weights INT8 or INT4, as `compressWeights` does; by default they stay float32. */
  readonly compress?: CompressionMode;
  /** With `compress`: layers whose weights stay float32. */
  readonly compressIgnoredScope?: IgnoredScope | TargetScope | null;
  /** With an INT4 mode: its options. Layers cannot be chosen by their weights then: a ratio is 1. */
  readonly compressOptions?: Int4Options;
}

export const COMPRESS_AS_READ_RULES: OptionRules<CompressAsRead> = {
  compress: compressionMode,
  compressIgnoredScope: IGNORED_SCOPE,
  compressOptions: nested(INT4_OPTION_RULES),
};
