/** @file What several layers come to together: the figures that the head of a report and a model card have in common. */
import type {ReportContents, ReportLayer} from './report-contents.js';
import {describeBytes} from './number-format.js';

/** The layers that are sparsified, taken together. */
export interface SparsitySummary {
  readonly sparsified: number;
  readonly dense: number;
  /** Mean over the sparsified layers, weighted by the weights of their kernels, in [0, 1]; null where a layer's is unknown. */
  readonly target: number | null;
  readonly actual: number | null;
}

/** How sparse the sparsified layers are on average. */
export function sparsitySummary(layers: readonly ReportLayer[]): SparsitySummary {
  const sparsified = layers.filter((layer) => layer.sparsified);
  return {
    sparsified: sparsified.length,
    dense: layers.length - sparsified.length,
    target: weightedMean(sparsified, ({target}) => target),
    actual: weightedMean(sparsified, ({actual}) => actual),
  };
}

/** Bytes of Dense kernels that one row of input reads. */
export interface BytesRead {
  readonly dense: number;
  /** Where rows of masked inputs are skipped. */
  readonly sparse: number;
}

/**
 * What one row (a token, an item) reads of the layers' kernels: masked inputs need no row of the kernel.
 *
 * @returns Null if the actual sparsity of a sparsified layer is unknown.
 */
export function bytesRead(layers: readonly ReportLayer[]): BytesRead | null {
  if (layers.some(({sparsified, actual}) => sparsified && actual === null)) return null;
  const dense = layers.reduce((sum, {bytes}) => sum + bytes, 0);
  const sparse = layers.reduce((sum, {bytes, actual}) => sum + bytes * (1 - (actual ?? 0)), 0);
  return {dense, sparse};
}

/** The formats of the kernels: `int8_asym`, or several. */
export function formatsOf(layers: readonly {readonly format: string}[]): string {
  return [...new Set(layers.map(({format}) => format))].join(', ');
}

/** A model without Dense layers in words: what else of it can be packed, and is. */
export function describeOtherWeights({weights = []}: Pick<ReportContents, 'weights'>): string {
  if (weights.length === 0) return 'no Dense layers';
  const types = [...new Set(weights.map(({type}) => type))].join(', ');
  const bytes = weights.reduce((sum, {bytes}) => sum + bytes, 0);
  return `no Dense layers; weights of ${types} ${formatsOf(weights)}, ${describeBytes(bytes)}`;
}

/** As an allocation spends it; so it is the share of the weights that need not be read, too. */
function weightedMean(
  layers: readonly ReportLayer[],
  pick: (layer: ReportLayer) => number | null,
): number | null {
  let [sum, weights] = [0, 0];
  for (const layer of layers) {
    const value = pick(layer);
    if (value === null) return null;
    const own = layer.inputSize * layer.units;
    sum += own * value;
    weights += own;
  }
  return weights === 0 ? null : sum / weights;
}
