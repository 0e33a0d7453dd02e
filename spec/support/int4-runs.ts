/** @file Runs of NNCF's INT4 vectors as options of `compressWeights`, and what a model's weights became as the vectors write it. */
import {createHash} from 'node:crypto';
import * as tf from '@tensorflow/tfjs';
import type {CompressOptions} from '../../lib/compress.js';
import {asCompressed} from '../../lib/layers/compressed-weight.js';
import {compressibleWeights, type PlacedWeight} from '../../lib/model/compressible.js';
import {IgnoredScope, type ScopeOptions} from '../../lib/scope/target-scope.js';

/** Arguments of NNCF's `compress_weights`. */
export interface Int4Arguments {
  mode: string;
  group_size?: number;
  ratio?: number;
  all_layers?: boolean;
  backup_mode?: string;
  group_size_fallback_mode?: string;
  min_adjusted_group_size?: number;
  sensitivity_metric?: string;
  ignored_scope?: ScopeOptions;
}

export interface Int4Run {
  name?: string;
  arguments: Int4Arguments;
  dataset: boolean;
  /** `INT4_ASYM/32`, `INT8_ASYM/-1`, `float` or `shared` by weight. */
  result?: Record<string, string>;
  error?: {type: string; message: string};
  sensitivity_scores?: Record<string, number>;
  dequantized_sha256?: Record<string, string>;
}

/** Our code of each error of NNCF. */
export const CODES: Readonly<Record<string, string>> = {
  InvalidGroupSizeError: 'bad-group-size',
  ValidationError: 'bad-option',
};

/** The path of a node, or of the layer of a weight: `fc1/linear/0` and `fc1.weight` are our `fc1`. */
const pathOf = (name: string) => name.replace(/\/(linear|embedding)\/\d+$|\.weight$/, '');

const TYPES: Readonly<Record<string, string>> = {linear: 'Dense', embedding: 'Embedding'};

/** Without the data set. */
export function optionsOf(given: Int4Arguments): CompressOptions {
  const {names, patterns, types} = given.ignored_scope ?? {};
  const options = {
    mode: given.mode.toLowerCase(),
    groupSize: given.group_size,
    ratio: given.ratio,
    allLayers: given.all_layers,
    backupMode: given.backup_mode?.toLowerCase(),
    groupSizeFallback: given.group_size_fallback_mode?.toLowerCase(),
    minAdjustedGroupSize: given.min_adjusted_group_size,
    sensitivityMetric: given.sensitivity_metric?.toLowerCase(),
    ignoredScope:
      given.ignored_scope &&
      new IgnoredScope({
        ...(names && {names: names.map(pathOf)}),
        ...(patterns && {patterns: patterns.map((pattern) => pattern.replace('/.*', ''))}),
        ...(types && {types: types.map((type) => TYPES[type])}),
      }),
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** What became of a weight: the keys of a run's `result`. */
function formatOf({variable}: PlacedWeight, groupSize = 0): string {
  const packed = asCompressed(variable);
  if (packed === undefined) return 'float';
  const {compression} = packed;
  if ('int8' in compression) return `INT8_${compression.int8.toUpperCase()}/-1`;
  return `INT4_${compression.int4.kind.toUpperCase()}/${groupSize === -1 ? -1 : compression.int4.groupSize}`;
}

/** What became of a model's weights, by NNCF's names of them. */
export function resultOf(model: tf.LayersModel, groupSize?: number): Record<string, string> {
  return Object.fromEntries(
    compressibleWeights(model).map((placed) => [`${placed.path}.weight`, formatOf(placed, groupSize)]),
  );
}

/** The beginning of the SHA-256 of a weight's values as [out, in], -0 as 0. */
export function hashOf({variable, weight}: PlacedWeight): string {
  const values = tf.tidy(() => {
    const read = asCompressed(variable)?.read() ?? variable.read();
    return (weight.layout === 'rows' ? read : tf.transpose(read)).dataSync();
  });
  const positive = Float32Array.from(values, (value) => value + 0);
  return createHash('sha256').update(new Uint8Array(positive.buffer)).digest('hex').slice(0, 16);
}
