/**
 * @file What a report and a model card tell: measured figures and where they come from, as plain data. What is not known
 * is null, and is left out of both.
 */
import type {FormatComparison} from '../allocate-formats.js';
import type {FormatPoint} from '../allocation/format-points.js';
import type {Allocation} from '../metadata/allocation.js';
import type {ModelBench} from '../eval/bench-model.js';
import type {HashedFile} from '../io/files/file-hash.js';
import type {WeightFormat, WeightReport} from '../model/compressible.js';
import type {HistogramBins} from './histogram-bins.js';

/** One Dense layer of the model. */
export interface ReportLayer {
  /** As scopes name it. */
  readonly path: string;
  readonly inputSize: number;
  readonly units: number;
  /** How its kernel is stored. */
  readonly format: WeightFormat;
  /** Of its kernel, scales and zero points of packed ones included. */
  readonly bytes: number;
  readonly sparsified: boolean;
  /** Share of its inputs that calibration was asked to mask, in [0, 1]. */
  readonly target: number | null;
  /** Inputs of at most this magnitude count as 0. */
  readonly threshold: number | null;
  /** Share of its inputs that were masked, in [0, 1], on `Measured.on`. */
  readonly actual: number | null;
  /** ||y' - y||² / ||y||² of its output y by masking its own inputs, on `Measured.on`; 1 is an output that is lost. */
  readonly outputError: number | null;
  /** Of |x| at its input, from calibration. */
  readonly histogram: HistogramBins | null;
}

/** The layers, and on which data `actual` and `outputError` were measured. */
export interface MeasuredLayers {
  readonly layers: readonly ReportLayer[];
  /** `wikitext-2-test.txt, 4,094 tokens`; null if nothing was measured. */
  readonly actualOn: string | null;
  readonly errorsOn: string | null;
  /** A line on each layer that calibration could not give its target, with the reason. */
  readonly missed: readonly string[];
}

/** A figure of quality, and how it is written. */
export interface Metric {
  readonly title: string;
  /** A share is shown as per cent. */
  readonly kind: 'share' | 'number';
  readonly better: 'higher' | 'lower';
}

/** One model of the quality table. */
export interface QualityRow {
  /** `dense`, `sparse`, a path, … */
  readonly name: string;
  /** `float32`, `int8_asym`, `int4_sym`, …; several if its layers differ; null if unknown. */
  readonly weights: string | null;
  /** Mean actual sparsity of its sparsified layers, in [0, 1]; null for a dense model. */
  readonly sparsity: number | null;
  /** In the order of the metrics; null where it was not measured. */
  readonly values: readonly (number | null)[];
}

export interface QualityTable {
  readonly metrics: readonly Metric[];
  readonly rows: readonly QualityRow[];
  /** What it was measured on. */
  readonly on: string;
}

/** How long one prediction, or one token, takes. */
export interface LatencyTable {
  /** `prediction of 1 item`, `token`. */
  readonly of: string;
  /** The dense model first, if it was measured. */
  readonly rows: readonly {readonly name: string; readonly ms: number; readonly isDense: boolean}[];
  /** Backend and machine. */
  readonly on: string;
}

/** Formats of the model's weights side by side. */
export interface ReportFormats extends FormatComparison {
  /** What was chosen; null if nothing was asked for. */
  readonly chosen: FormatPoint | null;
  readonly on: string;
}

/** Times of layers at several sparsities. */
export interface ReportBench extends ModelBench {
  /** Items in one prediction. */
  readonly rows: number;
  readonly on: string;
}

/** One command of those that made a model. */
export interface Step {
  /** As it was given to the shell. */
  readonly command: string;
  /** `model`, `data`, `labels`, `baseline`: files that went in. */
  readonly inputs: readonly {readonly role: string; readonly files: readonly HashedFile[]}[];
  /** By name: tfjs-sparsify, @tensorflow/tfjs, node, backend, … */
  readonly versions: Readonly<Record<string, string>>;
}

/** All that a report can show. */
export interface ReportContents {
  /** The model's name. */
  readonly name: string;
  /** What one row of a layer's input is: `token` or `item`. */
  readonly unit: 'token' | 'item';
  /** All weights of the model, a packed one counted once. */
  readonly parameters: number;
  /** Weights that are packed or can be, of layers of any kind; told of where there is no Dense layer. */
  readonly weights?: readonly Pick<WeightReport, 'type' | 'format' | 'bytes'>[];
  readonly measured: MeasuredLayers;
  readonly allocation: Allocation | null;
  readonly quality: QualityTable | null;
  readonly latency: LatencyTable | null;
  readonly bench: ReportBench | null;
  /** Left out where formats were not compared. */
  readonly formats?: ReportFormats;
  /** How the model was made, first step first; empty if it is not known. */
  readonly steps: readonly Step[];
  /** How the report was made, if not by the last of `steps`. */
  readonly measurement: Step | null;
}
