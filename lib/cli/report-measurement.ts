/** @file What `report` measures of a model on data, beside others: quality, sparsity, errors of the layers, latency. */
import * as tf from '@tensorflow/tfjs';
import {compareWithDense, languageModelOf, measureDecodeLatency} from '../language/index.js';
import {firstItems} from '../calibration/model-batches.js';
import type {Batches} from '../dataset.js';
import {measureLatency} from '../eval/latency.js';
import {measureSparsity} from '../eval/measure-sparsity.js';
import {measureOutputErrors, type LayerOutputError} from '../eval/output-error.js';
import {measureQuality} from '../eval/quality.js';
import {readLabels} from '../io/data/labels.js';
import {maskingLayers} from '../model/dense-layers.js';
import type {LatencyTable, QualityTable} from '../report/report-contents.js';
import type {MeasuredOn} from '../report/model-layers.js';
import {readText} from '../io/files/read-text.js';
import {openData, type DataOptions} from './data.js';
import {describeMachine} from './origin.js';
import {withProgress} from './progress.js';
import type {Found} from './report-option.js';
import {comparisonTable, labelledTable, perplexityTable, sparsityOn, type Named} from './report-tables.js';
import type {WindowCommandOptions} from './windows.js';

/** A model that is measured. */
export interface ReportModel extends Named {
  readonly model: tf.LayersModel;
  /** Whether the others' speed is told against it. */
  readonly isDense: boolean;
}

export interface ReportDataOptions extends DataOptions, WindowCommandOptions {
  readonly labels?: string;
  /** Of the data, to show. */
  readonly name: string;
  readonly signal: AbortSignal;
}

/** Rows on which the outputs of the layers are compared: enough for two digits. */
const ERROR_ROWS = 512;
/** Sequences of text that have as many tokens. */
const ERROR_TEXT = {sequences: 4, sequenceLength: 128};

/** Models of items: the last is the report's own. */
export async function measureItems(
  models: readonly ReportModel[],
  {labels, name, signal, ...options}: ReportDataOptions,
): Promise<Found> {
  const {model} = models[models.length - 1];
  const data = await openData(model, options);
  const isSparse = maskingLayers(model).size > 0;
  const sparsity = isSparse
    ? await withProgress('measuring sparsity', 'batches', (onProgress) =>
        measureSparsity(model, data, {onProgress, signal}),
      )
    : [];
  let quality: QualityTable | null = null;
  if (labels !== undefined) {
    const read = await readLabels(labels);
    const partial = options.batches !== undefined;
    const rows = [];
    for (const named of models) {
      const measured = await withProgress(`evaluating ${named.name}`, 'batches', (onProgress) =>
        measureQuality(named.model, data, read, {onProgress, signal, partial}),
      );
      rows.push({...named, ...measured});
    }
    quality = labelledTable(rows, sparsity, name);
  }
  return {
    quality,
    sparsity: isSparse ? {layers: sparsity, on: `on ${name}`} : null,
    errors: isSparse ? await errorsOn(model, data, name, signal) : null,
    latency: await latencyOfOneItem(models, data),
  };
}

/** Language models on text: the last is the report's own, the first the dense one if there are several. */
export async function measureText(
  models: readonly ReportModel[],
  {data, name, windows, protocol, contextLength, signal}: ReportDataOptions,
): Promise<Found> {
  const text = await readText(data);
  const lms = models.map(({model}) => languageModelOf(model));
  const own = lms[lms.length - 1];
  const options = {windows, protocol, contextLength, signal};
  const isSparse = maskingLayers(own.model).size > 0;
  const onText = await withProgress(`evaluating ${name}`, 'windows', async (onProgress) => {
    if (!isSparse) {
      const rows = [];
      for (const [i, lm] of lms.entries())
        rows.push({...models[i], ...(await lm.perplexity(text, {...options, onProgress}))});
      return {quality: perplexityTable(rows, name), sparsity: null};
    }
    const [baseline, ...others] = lms;
    const comparison = await compareWithDense(others, text, {...options, baseline, onProgress});
    const table = comparisonTable(comparison, name);
    const rows = table.rows.map((row, i) => ({...row, name: models[i].name, weights: models[i].weights}));
    const quality = {...table, rows};
    return {quality, sparsity: sparsityOn(comparison.sparsity, quality)};
  });
  const contestants = models.map(({isDense}, i) => ({lm: lms[i], dense: isDense}));
  const ms = await measureDecodeLatency(contestants, {signal});
  const latency = {
    of: 'token',
    rows: models.map(({name, isDense}, i) => ({name, isDense, ms: ms[i]})),
    on: `while decoding, ${describeMachine()}`,
  };
  const errors = isSparse ? await errorsOn(own.model, own.dataset(text, ERROR_TEXT), name, signal) : null;
  return {...onText, latency, errors};
}

function errorsOn(
  model: tf.LayersModel,
  data: Batches,
  name: string,
  signal: AbortSignal,
): Promise<MeasuredOn<LayerOutputError>> {
  return withProgress('comparing the outputs of the layers', 'batches', async (onProgress) => {
    const layers = await measureOutputErrors(model, data, {maxRows: ERROR_ROWS, onProgress, signal});
    const rows = Math.max(...layers.map(({rows}) => rows));
    return {layers, on: `on ${rows.toLocaleString('en')} rows of ${name}`};
  });
}

async function latencyOfOneItem(models: readonly ReportModel[], data: Batches): Promise<LatencyTable> {
  const built = models.map(({model}) => model);
  const one = await firstItems(built[0], data, 1, 'the data set is empty: there is nothing to measure');
  try {
    const ms = await measureLatency(built, one);
    const rows = models.map(({name, isDense}, i) => ({name, isDense, ms: ms[i]}));
    return {of: 'prediction', rows, on: `one item, ${describeMachine()}`};
  } finally {
    tf.dispose(one);
  }
}
