/** @file Figures of quality and latency, as commands measure them, in the form of a report's tables. */
import type * as tf from '@tensorflow/tfjs';
import type {Comparison, Perplexity, SparsityReport} from '../language/index.js';
import type {Quality} from '../eval/quality.js';
import type {LayerSparsity} from '../eval/measure-sparsity.js';
import {reportWeights} from '../model/compressible.js';
import {reportDense} from '../model/inspect.js';
import type {Metric, QualityTable} from '../report/report-contents.js';
import type {MeasuredOn} from '../report/model-layers.js';
import {formatsOf} from '../report/summary-numbers.js';
import {describeAmount} from './windows.js';

/** What a table calls a model beside itself, dense. */
export const THRESHOLDS_OFF = 'dense (thresholds off)';

/** A model of the table, beside its figures. */
export interface Named {
  readonly name: string;
  /** How its kernels are stored, if it is known. */
  readonly weights: string | null;
}

const PERPLEXITY: readonly Metric[] = [
  {title: 'word perplexity', kind: 'number', better: 'lower'},
  {title: 'token perplexity', kind: 'number', better: 'lower'},
];
const AGAINST_DENSE: readonly Metric[] = [
  {title: 'KL divergence', kind: 'number', better: 'lower'},
  {title: 'same likeliest token', kind: 'share', better: 'higher'},
];

/** How a model's kernels are stored: those of its Dense layers, or where it has none, of others; null without any. */
export function weightFormats(model: tf.LayersModel): string | null {
  const layers = reportDense(model);
  return formatsOf(layers.length > 0 ? layers : reportWeights(model)) || null;
}

/** Of items, with labels or beside the dense model; the sparsity is that of the last model. */
export function labelledTable(
  rows: readonly (Named & Omit<Quality, 'metric'> & {readonly metric: string})[],
  sparsity: readonly LayerSparsity[],
  data: string,
): QualityTable {
  const [{metric, items}] = rows;
  return {
    metrics: [
      metric === 'accuracy'
        ? {title: metric, kind: 'share', better: 'higher'}
        : {title: metric, kind: 'number', better: 'lower'},
    ],
    rows: rows.map(({name, weights, value}, i) => ({
      ...{name, weights, values: [value]},
      sparsity: i === rows.length - 1 && sparsity.length > 0 ? meanActual(sparsity) : null,
    })),
    on: `${data}, ${items.toLocaleString('en')} items`,
  };
}

/** Of a text, several models beside each other. */
export function perplexityTable(rows: readonly (Named & Perplexity)[], data: string): QualityTable {
  const {tokens, words} = rows[rows.length - 1];
  return {
    metrics: PERPLEXITY,
    rows: rows.map(({name, weights, sparsity, wordPerplexity, tokenPerplexity}) => ({
      ...{name, weights, sparsity: sparsity?.mean ?? null},
      values: [wordPerplexity, tokenPerplexity],
    })),
    on: `${data}, ${describeAmount(tokens, words)}`,
  };
}

/** Of a text, one or several models against the dense one. */
export function comparisonTable({modes, tokens, words}: Comparison, data: string): QualityTable {
  return {
    metrics: [...PERPLEXITY, ...AGAINST_DENSE],
    rows: modes.map(({mode, sparsity, wordPerplexity, tokenPerplexity, divergence, agreement}, i) => ({
      ...{name: mode, weights: null, sparsity: sparsity === 0 ? null : sparsity},
      values: [wordPerplexity, tokenPerplexity, ...(i === 0 ? [null, null] : [divergence, agreement])],
    })),
    on: `${data}, ${describeAmount(tokens, words)}`,
  };
}

/** The sparsity of the layers, with the data that it is of. */
export function sparsityOn(
  sparsity: SparsityReport | null,
  table: QualityTable,
): MeasuredOn<LayerSparsity> | null {
  return sparsity === null ? null : {layers: sparsity.layers, on: `on ${table.on}`};
}

/** Mean over layers, in [0, 1]. */
function meanActual(layers: readonly LayerSparsity[]): number {
  return layers.reduce((sum, {actual}) => sum + actual, 0) / layers.length;
}
