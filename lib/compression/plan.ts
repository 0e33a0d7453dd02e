/**
 * @file Which of a model's weights become INT4, which get the backup and which stay float32, by the rules of NNCF's `compress_weights`
 * (nncf/quantization/algorithms/weight_compression/algorithm.py; held by spec/fixtures/nncf).
 *
 * Candidates for INT4 are the kernels of Dense layers but the last of them, and with `allLayers` all of them and the embeddings. All
 * other weights get the backup.
 */
import {ModelError} from '../errors.js';
import {asCompressed} from '../layers/compressed-weight.js';
import {DENSE_KERNEL} from '../layers/compressed-layers.js';
import {sizeOf, type PlacedWeight} from '../model/compressible.js';
import type {NewCompression} from '../model/replace-weights.js';
import type {Int4Mode} from '../quantization/int4.js';
import type {Int8Mode} from '../quantization/int8.js';
import type {LayerVariable} from '../tfjs.js';
import {
  isInt4Mode,
  type BackupMode,
  type CompressionMode,
  type GroupSizeFallback,
  type Int4Options,
} from './compression-options.js';

/** What is to become of a model's weights, by the paths of their layers; a layer whose weights stay as they are has no entry. */
export type CompressionPlan = ReadonlyMap<string, NewCompression>;

/** A weight that may become INT4. */
export interface Candidate {
  /** The first layer that has the weight and is not ignored. */
  readonly placed: PlacedWeight;
  readonly groupSize: number;
}

/** The weights of a model, as a mode treats them. */
export interface Selection {
  /** Kernels of Dense layers in the order of the graph, then embeddings. */
  readonly candidates: readonly Candidate[];
  /** Weights that get the backup, whatever the ratio. */
  readonly others: readonly PlacedWeight[];
  readonly mode: CompressionMode;
  readonly backup: BackupMode;
}

const GROUP_SIZE = 128;
const MIN_ADJUSTED_GROUP_SIZE = 32;

/**
 * The weights that a mode is about.
 *
 * @param weights All of the model that can be packed, in the order of the graph.
 * @param ignored Paths of layers that are left alone.
 */
export function selectWeights(
  weights: readonly PlacedWeight[],
  ignored: ReadonlySet<string>,
  mode: CompressionMode,
  options: Int4Options,
): Selection {
  const {allLayers = false, backupMode = 'int8_asym', groupSizeFallback = 'error'} = options;
  const own = new Map<LayerVariable, PlacedWeight>();
  let isLastLeft = false; // ignored, packed before, or of a layer before it
  for (const placed of weights) {
    const {path, variable} = placed;
    isLastLeft = ignored.has(path) || own.has(variable) || asCompressed(variable) !== undefined;
    if (!isLastLeft) own.set(variable, placed);
  }
  const all = [...own.values()];
  if (!isInt4Mode(mode)) return {candidates: [], others: all, mode, backup: mode};
  const matrices = all.filter(({weight}) => weight === DENSE_KERNEL);
  if (!allLayers && !isLastLeft) matrices.pop();
  const embeddings = allLayers ? all.filter(({weight}) => weight.layout === 'rows') : [];
  const asked = [...matrices, ...embeddings];
  const candidates: Candidate[] = [];
  const left = new Set<PlacedWeight>(); // float32
  for (const placed of asked) {
    const groupSize = groupSizeOf(inputsOf(placed), options);
    if (groupSize !== null) candidates.push({placed, groupSize});
    else if (groupSizeFallback === 'ignore') left.add(placed);
  }
  const chosen = new Set(candidates.map(({placed}) => placed));
  const others = all.filter((placed) => !chosen.has(placed) && !left.has(placed));
  return {candidates, others, mode, backup: backupMode};
}

/**
 * What becomes of the selected weights, for every layer that has one.
 *
 * @param weights All of the model that can be packed.
 * @param scores One a candidate: how much the model would lose; null takes them all.
 * @throws {ModelError} `bad-group-size` where the groups of a chosen weight do not divide its inputs.
 */
export function planCompression(
  weights: readonly PlacedWeight[],
  {candidates, others, mode, backup}: Selection,
  ratio: number,
  scores: readonly number[] | null,
): CompressionPlan {
  const chosen = scores === null ? candidates : leastSensitive(candidates, scores, ratio);
  checkGroups(chosen);
  const rest = candidates.filter((candidate) => !chosen.includes(candidate)).map(({placed}) => placed);
  const planned = new Map<LayerVariable, NewCompression>();
  for (const {placed, groupSize} of chosen) {
    planned.set(placed.variable, {int4: {kind: kindOf(mode), groupSize}});
  }
  if (backup !== 'none') {
    for (const {variable} of [...others, ...rest]) planned.set(variable, {int8: kindOf(backup)});
  }
  const plan = new Map<string, NewCompression>();
  for (const {path, variable} of weights) {
    const compression = planned.get(variable);
    if (compression !== undefined) plan.set(path, compression);
  }
  return plan;
}

/** Whether a ratio asks for the candidates' order: NNCF takes 0 for 1. */
export function isPartial(ratio: number): boolean {
  return ratio > 0 && ratio < 1;
}

/** A mode's name without its bits. */
function kindOf(mode: Int8Mode | Int4Mode): 'asym' | 'sym' {
  return mode.endsWith('_asym') ? 'asym' : 'sym';
}

/** The candidates from the least sensitive on, up to the first with which they would reach the ratio of the weights. */
function leastSensitive(
  candidates: readonly Candidate[],
  scores: readonly number[],
  ratio: number,
): Candidate[] {
  const size = ({placed}: Candidate) => sizeOf(placed.variable);
  const total = candidates.reduce((sum, candidate) => sum + size(candidate), 0);
  const order = [...candidates.keys()].sort((a, b) => scores[a] - scores[b]);
  const chosen: Candidate[] = [];
  let taken = 0;
  for (const index of order) {
    taken += size(candidates[index]);
    if (taken / total >= ratio) break;
    chosen.push(candidates[index]);
  }
  return chosen;
}

/** The inputs of a kernel, the width of an embedding. */
function inputsOf({weight, variable}: PlacedWeight): number {
  const shape = variable.shape as number[];
  return weight.layout === 'rows' ? shape[1] : shape[0];
}

/** The group size of a weight; null where it cannot be INT4. One that does not divide the inputs is refused once it is chosen. */
function groupSizeOf(inputs: number, options: Int4Options): number | null {
  const {groupSize = GROUP_SIZE, minAdjustedGroupSize = MIN_ADJUSTED_GROUP_SIZE} = options;
  const fallback: GroupSizeFallback = options.groupSizeFallback ?? 'error';
  if (groupSize === -1) return inputs;
  if (fallback === 'error' || inputs % groupSize === 0) return groupSize;
  if (fallback === 'ignore') return null;
  let adjusted = 1;
  while (inputs % (2 * adjusted) === 0) adjusted *= 2;
  return adjusted >= minAdjustedGroupSize ? adjusted : null;
}

function checkGroups(chosen: readonly Candidate[]): void {
  const unfit = chosen.filter(({placed, groupSize}) => inputsOf(placed) % groupSize !== 0);
  if (unfit.length === 0) return;
  const layers = unfit.map(({placed}) => `"${placed.path}" (${inputsOf(placed)} inputs)`).join(', ');
  throw new ModelError(
    'bad-group-size',
    `the group size ${unfit[0].groupSize} does not divide the inputs of ${layers}: give one that does, leave these layers ` +
      "out with ignoredScope, or set groupSizeFallback to 'adjust' (a power of two that divides them) or 'ignore' " +
      '(they stay float32)',
    {groupSize: unfit[0].groupSize, paths: unfit.map(({placed}) => placed.path)},
  );
}
