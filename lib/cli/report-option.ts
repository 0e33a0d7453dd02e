/** @file `--report FILE.html`: the figures of a command as a page to look at. */
import type * as tf from '@tensorflow/tfjs';
import {basename, dirname, extname, resolve} from 'node:path';
import {Option} from 'commander';
import {isLanguageModel} from '../language/index.js';
import {statisticsOf} from '../metadata/attached-statistics.js';
import type {CalibrationStatistics} from '../metadata/calibration-statistics.js';
import {ModelError} from '../errors.js';
import {writeTextFile} from '../io/files/atomic-file.js';
import {bareUrl} from '../io/files/url-credentials.js';
import {checkFilePath} from '../io/files/check-file-path.js';
import {reportWeights, type WeightReport} from '../model/compressible.js';
import {countWeights, reportDense} from '../model/inspect.js';
import type {ReportContents} from '../report/report-contents.js';
import {measuredLayers, type KnownOfLayers} from '../report/model-layers.js';
import {renderReport} from '../report/render-report.js';

/** What `reportOption` gives. */
export interface ReportOptions {
  readonly report?: string;
}

/** `--report`. */
export function reportOption(): Option {
  return new Option('--report <FILE.html>', 'write the figures as one HTML page too, to look at');
}

/** Checks that the report can be written, before long work. */
export async function checkReportPath({report}: ReportOptions): Promise<void> {
  if (report !== undefined) await checkFilePath(report);
}

/** Writes the report if it is asked for; `contents` is called only then. */
export async function writeReport(
  {report}: ReportOptions,
  contents: () => ReportContents | Promise<ReportContents>,
): Promise<void> {
  if (report === undefined) return;
  await writeTextFile(report, await renderReport(await contents()));
  console.error(`report: ${report}`);
}

/** What a command found out beside what the model itself tells. */
export type Found = Partial<Omit<ReportContents, 'measured'>> & Pick<KnownOfLayers, 'sparsity' | 'errors'>;

/** What is known of a model before anything is measured. */
export interface KnownModel extends Pick<KnownOfLayers, 'layers' | 'statistics'> {
  readonly isLanguageModel: boolean;
  /** Of layers of any kind that are packed or can be. */
  readonly weights: readonly WeightReport[];
  /** All weights of the model, a packed one counted once. */
  readonly parameters: number;
}

/** What a model in memory tells. */
export function knownOf(model: tf.LayersModel): KnownModel {
  return {
    layers: reportDense(model),
    statistics: knownStatistics(model),
    weights: reportWeights(model),
    parameters: countWeights(model),
    isLanguageModel: isLanguageModel(model),
  };
}

/**
 * The contents of a report on a model.
 *
 * @param path As the command line has it; names the model.
 */
export function contentsOf(
  {layers, statistics, isLanguageModel, weights, parameters}: KnownModel,
  path: string,
  {sparsity, errors, ...found}: Found,
): ReportContents {
  return {
    name: modelName(path),
    unit: isLanguageModel ? 'token' : 'item',
    parameters,
    weights,
    measured: measuredLayers({layers, statistics, sparsity, errors}),
    allocation: statistics?.allocation ?? null,
    quality: null,
    latency: null,
    bench: null,
    steps: [],
    measurement: null,
    ...found,
  };
}

/** The last part of a path that says something: the folder of a `model.json`, a file without its ending. */
export function modelName(path: string): string {
  const full = /^[a-z]+:\/\//i.test(path) ? bareUrl(path) : resolve(path);
  return basename(full) === 'model.json'
    ? basename(dirname(full))
    : basename(full, /\.(json|gguf)$/i.test(full) ? extname(full) : '');
}

/** The statistics that a model holds, or null. */
function knownStatistics(model: tf.LayersModel): CalibrationStatistics | null {
  try {
    return statisticsOf(model);
  } catch (error) {
    if (error instanceof ModelError && error.code === 'no-statistics') return null;
    throw error;
  }
}
