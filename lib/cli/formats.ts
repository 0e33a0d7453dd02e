/** @file `--formats`: in which format a model's weights are fastest for what they lose, measured and said. */
import {totalmem} from 'node:os';
import type * as tf from '@tensorflow/tfjs';
import {InvalidArgumentError, Option} from 'commander';
import {
  allocateFormats,
  compareFormats,
  type FormatAllocation,
  type FormatComparison,
  type FormatProgress,
} from '../allocate-formats.js';
import {modelInFormat, unpacked} from '../model-in-format.js';
import {
  MODEL_FORMATS,
  choosePoint,
  placeOf,
  type FormatPoint,
  type ModelFormat,
} from '../allocation/format-points.js';
import {SparsifyError, nearest} from '../errors.js';
import {countWeights} from '../model/inspect.js';
import {
  ALLOCATION_SEQUENCES,
  allocateLanguageModelFormats,
  compareLanguageModelFormats,
  isCheckpoint,
  isLanguageModel,
  languageModelInFormat,
  languageModelOf,
} from '../language/index.js';
import type {AllocationTarget, LossMetric} from '../metadata/allocation.js';
import {readText} from '../io/files/read-text.js';
import {maskingLayers} from '../model/dense-layers.js';
import {describeAmount, describeLoss, describeTarget} from '../report/wording.js';
import {isTextFile, openData, type DataOptions} from './data.js';
import {openModel, type BackendOptions} from './model.js';
import {withStages} from './progress.js';
import {formatTable, percent} from './text-table.js';

/** What `formatsOption` gives. */
export interface FormatsOptions {
  readonly formats?: readonly ModelFormat[];
}

/** Losses for which the fastest is named, where none is asked for. */
const LOSSES = [0.01, 0.02, 0.05, 0.1, 0.2] as const;

/** Bytes a weight that comparing takes: the float32 weights, the copy in bfloat16, and some room. */
const BYTES_A_WEIGHT = 8;
/** Share of the memory that comparing may take where it was not asked for. */
const MEMORY_SHARE = 0.7;

/** For the help of commands that compare formats. */
export const FORMATS_HELP = `Formats of weights are float32; bfloat16, which the decoder of a language model rounds float32 weights to; int8 and int4, as compress
makes them (int8_asym; int4_asym, groups of 64); and kept, what a file has that holds packed weights, as the 4 bits of a GGUF file. Each is
measured dense and at 20 to 50 %, for what it loses and how fast it is on this machine, both against the dense float32 model; one that
the model or the backend cannot have is left out, with the reason.`;

/** `--formats`. */
export function formatsOption(what: string): Option {
  return new Option(
    '--formats <LIST>',
    `${what}: of ${MODEL_FORMATS.join(', ')}, as int8,int4, or all`,
  ).argParser(parseFormats);
}

function parseFormats(text: string): readonly ModelFormat[] {
  if (text.trim() === 'all') return MODEL_FORMATS;
  return text.split(',').map((part) => {
    const format = MODEL_FORMATS.find((known) => known === part.trim());
    if (format !== undefined) return format;
    const near = nearest(part.trim(), MODEL_FORMATS)[0];
    const hint = near === undefined ? '' : ` Did you mean ${near}?`;
    throw new InvalidArgumentError(
      `It has "${part.trim()}"; write formats of ${MODEL_FORMATS.join(', ')} with commas between them, or all.${hint}`,
    );
  });
}

/** A model as formats are made of it. */
interface Opened {
  /** Float32. */
  readonly model: tf.LayersModel;
  /** As its file has it, if that holds packed weights. */
  readonly kept?: tf.LayersModel;
}

/**
 * Opens a model so that its formats can be compared.
 *
 * @returns Null if they are not to be compared, since that was not asked for and it is too large for the memory or sparsified already; `model` is then as
 *   `openModel` gives it.
 */
async function openFormats(
  path: string,
  {formats, ...options}: FormatsOptions & BackendOptions,
  signal: AbortSignal,
): Promise<Opened & {readonly isCompared: boolean}> {
  const asItIs = await openModel(path, {...options, signal});
  if (formats === undefined && (maskingLayers(asItIs).size > 0 || isTooLarge(asItIs))) {
    return {model: asItIs, isCompared: false};
  }
  const {model, kept} = unpacked(asItIs);
  if (kept === undefined || !(await isCheckpoint(path))) return {model, kept, isCompared: true};
  // Some of a file's packed weights are packed anew: what they are in float32 is in the file.
  model.dispose();
  return {model: await openModel(path, {...options, signal, weights: 'float32'}), kept, isCompared: true};
}

function isTooLarge(model: tf.LayersModel): boolean {
  return countWeights(model) * BYTES_A_WEIGHT > MEMORY_SHARE * totalmem();
}

/** What `chooseFormat` needs of the command line. */
type ChoiceOptions = FormatsOptions & BackendOptions & DataOptions;

/** A model in the format that was chosen, and why; `formats` is null if they were not compared. */
export interface ChosenFormat {
  readonly model: tf.LayersModel;
  readonly formats: FormatAllocation | null;
}

/**
 * Opens a model in the format that answers a target best.
 *
 * @param allocation Options of the allocation.
 * @throws {SparsifyError} `target-not-met`; as `allocateFormats`.
 */
export async function chooseFormat(
  path: string,
  target: AllocationTarget,
  allocation: Omit<Parameters<typeof allocateFormats>[2], 'target'>,
  options: ChoiceOptions,
  signal: AbortSignal,
): Promise<ChosenFormat> {
  const {model, kept, isCompared} = await openFormats(path, options, signal);
  if (!isCompared) return {model, formats: null};
  const shared = {...allocation, target, kept, formats: options.formats, signal};
  const {data} = options;
  const lm = isTextFile(data) ? languageModelOf(model) : null;
  const text = lm === null ? '' : await readText(data);
  const dataset = lm === null ? await openData(model, options) : null;
  const formats = await withStages((onProgress) => {
    const staged = {...shared, onProgress: stagedOn(onProgress, lm !== null)};
    if (dataset !== null) return allocateFormats(model, dataset, staged);
    const {heldOut: _heldOut, labels: _labels, toBfloat16: _toBfloat16, ...ofText} = staged;
    return allocateLanguageModelFormats(lm!, text, {...ofText, ...textShares(options)});
  });
  checkUsable(formats, target);
  const {format} = formats.chosen;
  const chosen = await (lm === null
    ? modelInFormat(model, format, {kept, signal})
    : languageModelInFormat(lm, format, {kept, signal}));
  kept?.dispose();
  model.dispose();
  return {model: chosen, formats};
}

/**
 * Measures formats of a model for `bench`.
 *
 * @param data Of the command line; formats cannot be compared without.
 * @throws {SparsifyError} `bad-option` without data; as `compareFormats`.
 */
export async function compareForCommand(
  path: string,
  options: FormatsOptions & BackendOptions & Partial<DataOptions> & {readonly maxLoss?: number},
  signal: AbortSignal,
): Promise<FormatComparison> {
  const {data, formats} = options;
  if (data === undefined) {
    throw new SparsifyError(
      'bad-option',
      '--formats measures what formats lose, and there is no data: give --data, text for a language model',
    );
  }
  const {model, kept} = await openFormats(path, options, signal);
  try {
    const lm = isTextFile(data) ? languageModelOf(model) : null;
    const text = lm === null ? '' : await readText(data);
    const dataset = lm === null ? await openData(model, {...options, data}) : null;
    return await withStages((onProgress) => {
      const staged = {formats, kept, signal, onProgress: stagedOn(onProgress, lm !== null)};
      return dataset === null
        ? compareLanguageModelFormats(lm!, text, {...staged, ...textShares(options)})
        : compareFormats(model, dataset, staged);
    });
  } finally {
    kept?.dispose();
    model.dispose();
  }
}

/** Whether formats are compared where that was not said: for a language model on text, which is searched for the best. */
export function comparesFormats(
  target: AllocationTarget | null,
  {formats, data, compress}: FormatsOptions & {readonly data: string; readonly compress?: string},
): boolean {
  if (target !== null && target.sparsity === undefined && compress === undefined) {
    return formats !== undefined || isTextFile(data);
  }
  if (formats === undefined) return false;
  throw new SparsifyError(
    'bad-option',
    compress === undefined
      ? '--formats concerns --auto, --max-loss, --speedup and --latency, which choose one: leave it out, or give one of these'
      : '--formats chooses how weights are packed, and --compress says it: leave one of them out',
  );
}

function textShares({sequences, sequenceLength}: Pick<DataOptions, 'sequences' | 'sequenceLength'>) {
  return {
    sequences: sequences ?? ALLOCATION_SEQUENCES.sequences,
    sequenceLength: sequenceLength ?? ALLOCATION_SEQUENCES.sequenceLength,
  };
}

/** A speed alone that no format has is of no use. */
function checkUsable({chosen, allocation, denseMs}: FormatAllocation, target: AllocationTarget): void {
  if (allocation.met || target.maxLoss !== undefined) return;
  throw new SparsifyError(
    'target-not-met',
    `${describeTarget(target, null)}: cannot be met; the fastest of the formats is ${chosen.format} at ${percent(chosen.sparsity)}, ` +
      `${(denseMs / chosen.ms).toFixed(2)}x, ${chosen.ms.toFixed(3)} ms; ask for less; nothing was saved`,
  );
}

function stagedOn(
  onProgress: (what: string, unit: string, progress: FormatProgress) => void,
  isText: boolean,
): (progress: FormatProgress) => void {
  return (progress) => {
    const {stage, format, sparsity} = progress;
    const of = format === null ? '' : ` of ${format}`;
    const at = sparsity === null ? '' : ` at ${percent(sparsity)}`;
    onProgress(`${stage}${of}${at}`, unitOf(stage, isText), progress);
  };
}

function unitOf(stage: FormatProgress['stage'], isText: boolean): string {
  if (stage === 'probing layers') return 'probes';
  if (stage === 'changing the format') return 'models';
  if (stage === 'measuring the loss') return isText ? 'windows' : 'batches';
  return stage === 'calibrating' ? 'steps' : 'rounds';
}

/** What was measured, as a table with the frontier marked, and what was left out. */
export function describeFormats(
  {points, frontier, metric, denseMs, leftOut}: FormatComparison,
  chosen: FormatPoint | null,
  unit: 'token' | 'item',
): string {
  const table = formatTable(points, [
    {title: 'format', cell: ({format}) => format},
    {title: 'sparsity', cell: ({sparsity}) => percent(sparsity), align: 'right'},
    {title: metric, cell: (point) => lossOf(point, metric), align: 'right'},
    {title: 'latency', cell: ({ms}) => `${ms.toFixed(3)} ms`, align: 'right'},
    {
      title: `${unit === 'token' ? 'tokens' : 'predictions'}/s`,
      cell: ({ms}) => (1000 / ms).toFixed(1),
      align: 'right',
    },
    {title: 'speed', cell: ({ms}) => `${(denseMs / ms).toFixed(2)}x`, align: 'right'},
    {title: '', cell: (point) => placeOf(point, chosen, frontier)},
  ]);
  const without = leftOut.map(({format, reason}) => `without ${format}: ${reason}`);
  return [table, ...(without.length === 0 ? [] : ['', ...without])].join('\n');
}

function lossOf({loss, lossError}: FormatPoint, metric: LossMetric): string {
  const error = lossError === null || lossError === 0 ? '' : ` ± ${describeAmount(lossError, metric)}`;
  return `${describeAmount(loss, metric)}${error}`;
}

/** One line for each loss: which of what was measured is fastest within it. */
export function describeFastest(
  {points, metric, denseMs}: FormatComparison,
  maxLoss: number | undefined,
): string {
  const losses = maxLoss === undefined ? LOSSES : [maxLoss];
  const lines = losses.map((loss) => {
    const point = choosePoint(points, {maxLoss: loss}, denseMs)?.point;
    const said =
      point === undefined
        ? 'none of these'
        : `${point.format}, ${point.sparsity === 0 ? 'dense' : `${percent(point.sparsity)} masked`}, ${(denseMs / point.ms).toFixed(2)}x`;
    return `at most ${describeLoss(loss, metric)}: ${said}`;
  });
  return ['fastest, of what was measured, for', ...lines].join('\n');
}

/** What a report is told. */
export function reportFormats(formats: FormatComparison & {readonly chosen?: FormatPoint}, on: string) {
  return {...formats, chosen: formats.chosen ?? null, on};
}

/** `token` for a language model. */
export function unitOfModel(model: tf.LayersModel): 'token' | 'item' {
  return isLanguageModel(model) ? 'token' : 'item';
}
