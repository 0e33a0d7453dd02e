/**
 * @file In which format a model's weights are to be, and how much its layers are to mask, so that it is fastest at a loss, or loses least at a
 * speed: formats and sparsities are measured side by side on this machine, and the mean sparsity of the likeliest format is then searched
 * for. What is measured is always compared with the dense float32 model.
 */
import type * as tf from '@tensorflow/tfjs';
import {
  ALLOCATE_RULES,
  allocateSparsity,
  measuredData,
  type AllocateOptions,
  type AllocationProgress,
} from './allocate.js';
import {parseTarget} from './allocation/allocation-options.js';
import {
  MODEL_FORMATS,
  choosePoint,
  estimatePoint,
  frontierOf,
  type FormatPoint,
  type ModelFormat,
} from './allocation/format-points.js';
import type {LossMeasure, MeasuredLoss, SpeedMeasure} from './allocation/measures.js';
import {lossBound} from './allocation/search-mean-sparsity.js';
import {toBatches, type Batches, type DataSource} from './dataset.js';
import {ModelError, SparsifyError} from './errors.js';
import {median} from './eval/latency.js';
import {predictionSpeed} from './eval/prediction-speed.js';
import type {Allocation, AllocationTarget, LossMetric, ProbeErrors} from './metadata/allocation.js';
import {
  OTHER_FORMATS_RULES,
  isPacked,
  makeFormat,
  missingKernel,
  noFormat,
  type OtherFormats,
} from './model-in-format.js';
import {checkModel, maskingLayers} from './model/dense-layers.js';
import {copyWithThresholds, maskingThresholds, type Thresholds} from './model/thresholds.js';
import {CALLBACK, checkOptions, listOf, oneOf, optional, type OptionRules} from './option-rules.js';
import {sparsifyActivations} from './sparsify.js';

/** What is being done, and how far it is. */
export interface FormatProgress extends Omit<AllocationProgress, 'stage'> {
  readonly stage: AllocationProgress['stage'] | 'changing the format';
  /** The format that is measured; null before there is one. */
  readonly format: ModelFormat | null;
}

export interface CompareFormatsOptions extends Omit<AllocateOptions, 'target' | 'onProgress'>, OtherFormats {
  /** By default all that the model can have here. */
  readonly formats?: readonly ModelFormat[];
  /** Mean sparsities that each format is measured at, beside dense; 0.2, 0.3, 0.4 and 0.5 by default. */
  readonly sparsities?: readonly number[];
  /** Formats whose loss is beyond this at one sparsity are not measured at a higher one. */
  readonly maxLoss?: number;
  readonly onProgress?: (progress: FormatProgress) => void;
}

export interface AllocateFormatsOptions extends Omit<CompareFormatsOptions, 'maxLoss'> {
  /** `{maxLoss}`, `{speedup}` or `{latencyMs}`, or a loss and a speed: against the dense float32 model. */
  readonly target: AllocationTarget;
}

/** A format that was not measured. */
export interface LeftOutFormat {
  readonly format: ModelFormat;
  readonly reason: string;
}

/** Formats side by side. Plain data. */
export interface FormatComparison {
  /** By format, by rising sparsity. */
  readonly points: readonly FormatPoint[];
  /** Those of `points` that no other beats, by rising loss. */
  readonly frontier: readonly FormatPoint[];
  /** What losses are counted in. */
  readonly metric: LossMetric;
  /** Milliseconds of one prediction, or one token, of the dense float32 model. */
  readonly denseMs: number;
  readonly leftOut: readonly LeftOutFormat[];
}

/** The format and the allocation that answer a target. */
export interface FormatAllocation extends FormatComparison {
  /** What was found; one of `points`. */
  readonly chosen: FormatPoint;
  /** For a model in that format: goes into `sparsifyActivations`. */
  readonly allocation: Allocation;
}

/** On SmolLM2 the losses are about 1, 3, 8 and 30 % of perplexity. */
const SPARSITIES = [0.2, 0.3, 0.4, 0.5];
/** A loss that is beyond the most that is allowed by so many standard errors needs no more data. */
const CLEAR_ERRORS = 4;
/** Nor does one whose standard error is this share of the most that is allowed, or this much where nothing is said of it. */
const SMALL_ERROR = {share: 0.05, amount: 0.001} as const;

const {target: _target, onProgress: _onProgress, ...SHARED_RULES} = ALLOCATE_RULES;

/** Of `compareFormats`; what builds on it takes these options too. */
export const COMPARE_FORMATS_RULES: OptionRules<CompareFormatsOptions> = {
  ...SHARED_RULES,
  ...OTHER_FORMATS_RULES,
  formats: listOf(oneOf(MODEL_FORMATS)),
  sparsities: listOf(
    optional('a number in (0, 1]', (value) => typeof value === 'number' && value > 0 && value <= 1),
  ),
  maxLoss: optional('a number above 0', (value) => typeof value === 'number' && value > 0),
  onProgress: CALLBACK,
};

const {maxLoss: _maxLoss, ...FORMATS_RULES} = COMPARE_FORMATS_RULES;
export const ALLOCATE_FORMATS_RULES: OptionRules<AllocateFormatsOptions> = {
  ...FORMATS_RULES,
  target: ALLOCATE_RULES.target,
};

/**
 * Measures formats of a model's weights, each dense and at some sparsities: what it loses, on data that calibration never saw, and how fast it is.
 * Thresholds are those of the float32 model. One format at a time is in memory beside it.
 *
 * @param model The float32 model, not sparsified; left as it is.
 * @param dataset As for `allocateSparsity`.
 * @throws {ModelError} `packed-weights`, `already-sparsified`; {SparsifyError} `no-format` if none of those asked for can be had; as
 *   `allocateSparsity`.
 * @example
 * const {points, frontier} = await compareFormats(model, data, {formats: ['float32', 'int8', 'int4']});
 */
export async function compareFormats(
  model: tf.LayersModel,
  dataset: Batches | DataSource<unknown>,
  options: CompareFormatsOptions = {},
): Promise<FormatComparison> {
  checkOptions('compareFormats', options, COMPARE_FORMATS_RULES);
  return (await measure(model, dataset, options)).comparison();
}

/**
 * Finds the format of a model's weights and the mean sparsity for a target: those of `compareFormats` are measured, and in the likeliest format the
 * mean is searched for as `allocateSparsity` does. What it gives keeps the loss that was asked for and is not slower than the dense
 * float32 model.
 *
 * @param model The float32 model, not sparsified; left as it is.
 * @throws {SparsifyError} `target-not-met` if no format keeps the loss; as `compareFormats` and `allocateSparsity`.
 * @example
 * const {chosen, allocation} = await allocateFormats(model, data, {target: {maxLoss: 0.02}});
 * const packed = await modelInFormat(model, chosen.format);
 * const sparse = await sparsifyActivations(packed, data, {targetSparsityByScope: allocation});
 */
export async function allocateFormats(
  model: tf.LayersModel,
  dataset: Batches | DataSource<unknown>,
  options: AllocateFormatsOptions,
): Promise<FormatAllocation> {
  checkOptions('allocateFormats', options, ALLOCATE_FORMATS_RULES);
  const {target: given, ...rest} = options;
  const target = parseTarget(given);
  if (target.sparsity !== undefined) {
    throw new SparsifyError(
      'bad-target',
      'the target is a mean sparsity, which leaves no format to choose by: give maxLoss, speedup or latencyMs',
      {target},
    );
  }
  const measuring = await measure(model, dataset, {...rest, maxLoss: target.maxLoss});
  return measuring.choose(target);
}

/** Measures all that is asked for. */
async function measure(
  model: tf.LayersModel,
  dataset: Batches | DataSource<unknown>,
  options: CompareFormatsOptions,
): Promise<Measuring> {
  checkFloat32(model);
  const {maxLoss, loss: givenLoss, heldOut, labels, speed} = options;
  const asked = {maxLoss: maxLoss ?? 1};
  const data = await measuredData(model, toBatches(dataset), asked, {loss: givenLoss, heldOut, labels});
  const measuring = new Measuring(
    model,
    data.calibration,
    data.loss!,
    speed ?? predictionSpeed(model, data.calibration),
    options,
  );
  await measuring.measureAll();
  return measuring;
}

/** @throws {ModelError} `packed-weights`, `already-sparsified`. */
function checkFloat32(model: tf.LayersModel): void {
  const walked = checkModel(model);
  if (isPacked(model)) {
    throw new ModelError(
      'packed-weights',
      'the model holds packed weights, and formats are compared with float32 ones: give decompressWeights(model), and the model itself as ' +
        'the option kept',
    );
  }
  const masking = [...maskingLayers(walked).keys()];
  if (masking.length === 0) return;
  throw new ModelError(
    'already-sparsified',
    `the model is sparsified already (${masking[0]} masks its inputs), and formats are compared with a dense one: give the model that it was ` +
      'made of',
    {masking},
  );
}

/** An allocation, and the thresholds that it means in the float32 model. */
interface SparseCandidate {
  readonly allocation: Allocation;
  readonly thresholds: Thresholds;
}

class Measuring {
  /** Their `ms` is the time over that of the dense float32 model beside it. */
  private readonly points: FormatPoint[] = [];
  private readonly denseTimes: number[] = [];
  private readonly leftOut: LeftOutFormat[] = [];
  /** By mean sparsity. */
  private readonly candidates = new Map<number, SparseCandidate>();
  private probes: ProbeErrors | undefined;

  constructor(
    private readonly model: tf.LayersModel,
    private readonly batches: Batches,
    private readonly loss: LossMeasure,
    private readonly speed: SpeedMeasure,
    private readonly options: CompareFormatsOptions,
  ) {
    this.probes = options.probes;
  }

  /** @throws {SparsifyError} `no-format`. */
  async measureAll(): Promise<void> {
    const {formats = MODEL_FORMATS} = this.options;
    for (const format of new Set(formats)) {
      // What was not asked for by name need not be said of a model that cannot have it at all.
      const isAsked = this.options.formats !== undefined;
      await this.tryFormat(format, isAsked);
    }
    if (this.points.length > 0) return;
    throw noFormat(
      `the model can have none of the formats here: ${this.leftOut.map(({format, reason}) => `${format}: ${reason}`).join('; ')}`,
    );
  }

  comparison(): FormatComparison {
    const denseMs = median(this.denseTimes);
    // Each was timed in turns with the dense model, which takes longer at one time than at another: the ratio is what was measured.
    const points = this.points.map((point) => ({...point, ms: point.ms * denseMs}));
    return {
      points,
      frontier: frontierOf(points),
      metric: this.loss.metric,
      denseMs,
      leftOut: this.leftOut,
    };
  }

  /** Searches in the format that is likeliest to answer the target, and in others as long as they may be better. */
  async choose(target: AllocationTarget): Promise<FormatAllocation> {
    const {points, denseMs} = this.comparison();
    const formats = [...new Set(points.map(({format}) => format))];
    let estimates = formats.flatMap((format) => {
      const own = points.filter((point) => point.format === format);
      return estimatePoint(own, target, denseMs) ?? [];
    });
    const found: {readonly point: FormatPoint; readonly allocation: Allocation | null}[] = points
      .filter(({format, sparsity}) => format === 'float32' && sparsity === 0)
      .map((point) => ({point, allocation: null}));
    for (;;) {
      const best = choosePoint([...found.map(({point}) => point), ...estimates], target, denseMs)?.point;
      if (best === undefined || !estimates.includes(best)) break;
      estimates = estimates.filter((estimate) => estimate !== best);
      found.push(await this.search(best.format, target, denseMs));
    }
    const choice = choosePoint(
      found.map(({point}) => point),
      target,
      denseMs,
    );
    if (choice === null) throw this.notMet(points, denseMs);
    const {point, allocation} = found.find((one) => one.point === choice.point)!;
    const all = [...points.filter((one) => one !== point), point].sort(
      (a, b) => formats.indexOf(a.format) - formats.indexOf(b.format) || a.sparsity - b.sparsity,
    );
    const dense = () => this.allocate(this.model, 0, 'float32');
    return {
      ...this.comparison(),
      points: all,
      frontier: frontierOf(all),
      chosen: point,
      allocation: {...(allocation ?? (await dense())), target, met: choice.met},
    };
  }

  /** Searches for the mean sparsity in one format, and measures what is not known of what was found. */
  private async search(
    format: ModelFormat,
    target: AllocationTarget,
    denseMs: number,
  ): Promise<{point: FormatPoint; allocation: Allocation}> {
    const {calibration, signal} = this.options;
    const model = await this.make(format);
    try {
      const allocation = await this.allocate(model, target, format);
      const {loss, lossError, latencyMs} = allocation.curve[allocation.chosen];
      if (loss !== null && latencyMs !== null) {
        const ms = target.latencyMs === undefined ? (latencyMs / allocation.denseMs!) * denseMs : latencyMs;
        return {point: {format, sparsity: allocation.sparsity, loss, lossError, ms}, allocation};
      }
      const sparse = await sparsifyActivations(model, this.batches, {
        targetSparsityByScope: allocation,
        calibration,
        onProgress: this.progressOf('calibrating', format, allocation.sparsity),
        onWarning: () => undefined,
        signal,
      });
      try {
        const known = loss === null ? null : {loss, error: lossError};
        const point = await this.measurePoint(format, allocation.sparsity, sparse, known);
        return {point: {...point, ms: point.ms * denseMs}, allocation};
      } finally {
        sparse.dispose();
      }
    } finally {
      model.dispose();
    }
  }

  private async tryFormat(format: ModelFormat, isAsked: boolean): Promise<void> {
    const leaveOut = (reason: string) => this.leftOut.push({format, reason});
    const {kept} = this.options;
    if (format === 'kept' && kept === undefined && !isAsked) return;
    const missing = missingKernel(format);
    if (missing !== null) {
      leaveOut(missing);
      return;
    }
    let model: tf.LayersModel;
    try {
      model = await this.make(format);
    } catch (error) {
      if (!(error instanceof SparsifyError)) throw error;
      leaveOut(error.message);
      return;
    }
    try {
      await this.measureFormat(format, model);
    } finally {
      model.dispose();
    }
  }

  private async measureFormat(format: ModelFormat, model: tf.LayersModel): Promise<void> {
    const {maxLoss = Infinity, sparsities = SPARSITIES} = this.options;
    const dense = format === 'float32' ? {loss: 0, error: 0} : null;
    let last = await this.add(format, 0, model, dense);
    for (const sparsity of [...new Set(sparsities)].sort((a, b) => a - b)) {
      if (lossBound({loss: last.loss, error: last.lossError}) > maxLoss) return;
      const {allocation, thresholds} = await this.candidate(sparsity);
      const sparse = copyWithThresholds(model, thresholds);
      try {
        last = await this.add(format, allocation.sparsity, sparse, null);
      } finally {
        sparse.dispose();
      }
    }
  }

  /** The allocation of the float32 model with a mean, with its thresholds. */
  private async candidate(sparsity: number): Promise<SparseCandidate> {
    const known = this.candidates.get(sparsity);
    if (known !== undefined) return known;
    const {calibration, signal} = this.options;
    const allocation = await this.allocate(this.model, sparsity, null);
    const sparse = await sparsifyActivations(this.model, this.batches, {
      targetSparsityByScope: allocation,
      calibration,
      onProgress: this.progressOf('calibrating', null, sparsity),
      onWarning: () => undefined, // of a model that is only measured
      signal,
    });
    const candidate = {allocation, thresholds: maskingThresholds(sparse)};
    sparse.dispose();
    this.candidates.set(sparsity, candidate);
    return candidate;
  }

  private async add(
    format: ModelFormat,
    sparsity: number,
    model: tf.LayersModel,
    known: MeasuredLoss | null,
  ): Promise<FormatPoint> {
    const measured = await this.measurePoint(format, sparsity, model, known);
    // The dense float32 model against itself is no measurement of a difference.
    const point = format === 'float32' && sparsity === 0 ? {...measured, ms: 1} : measured;
    this.points.push(point);
    return point;
  }

  /** @returns `ms` is the time over that of the dense float32 model. */
  private async measurePoint(
    format: ModelFormat,
    sparsity: number,
    model: tf.LayersModel,
    known: MeasuredLoss | null,
  ): Promise<FormatPoint> {
    const {maxLoss, signal} = this.options;
    const most = maxLoss ?? Infinity;
    const small = maxLoss === undefined ? SMALL_ERROR.amount : SMALL_ERROR.share * maxLoss;
    const isClear = ({loss, error}: MeasuredLoss) =>
      error !== null && (error <= small || loss - CLEAR_ERRORS * error > 1.2 * most);
    const onProgress = this.progressOf('measuring the loss', format, sparsity);
    const {loss, error} = known ?? (await this.loss.measure(model, {onProgress, signal, isClear}));
    const {denseMs, ms} = await this.speed.measure(model, {
      onProgress: this.progressOf('measuring the speed', format, sparsity),
      signal,
    });
    this.denseTimes.push(denseMs);
    return {format, sparsity, loss, lossError: error, ms: ms / denseMs};
  }

  /** Allocates with the probes of the float32 model, which are made once. */
  private async allocate(
    model: tf.LayersModel,
    target: AllocateOptions['target'],
    format: ModelFormat | null,
  ): Promise<Allocation> {
    const {
      formats: _formats,
      sparsities: _sparsities,
      maxLoss: _most,
      kept: _kept,
      toBfloat16: _toBfloat16,
      heldOut: _heldOut,
      labels: _labels,
      onProgress,
      ...rest
    } = this.options;
    const allocation = await allocateSparsity(model, this.batches, {
      ...rest,
      target,
      probes: this.probes,
      loss: this.loss,
      speed: this.speed,
      onProgress: (progress) => onProgress?.({...progress, format}),
    });
    this.probes ??= allocation.probes ?? undefined;
    return allocation;
  }

  private async make(format: ModelFormat): Promise<tf.LayersModel> {
    const model = await makeFormat(this.model, format, this.options);
    this.progressOf('changing the format', format, null)({done: 1, total: 1});
    return model;
  }

  private progressOf(stage: FormatProgress['stage'], format: ModelFormat | null, sparsity: number | null) {
    return (progress: {readonly done: number; readonly total: number | null}) =>
      this.options.onProgress?.({...progress, stage, format, sparsity});
  }

  private notMet(points: readonly FormatPoint[], denseMs: number): SparsifyError {
    const fast = points.filter(({ms}) => ms <= denseMs);
    const [least] = [...fast].sort((a, b) => a.loss - b.loss);
    return new SparsifyError(
      'target-not-met',
      least === undefined
        ? 'no format that was measured is as fast as the dense float32 model: keep that'
        : `no format that was measured keeps the loss: ${least.format} loses least, ${least.loss.toPrecision(3)} (${this.loss.metric}); ` +
            'allow more, or let more formats take part',
      {points},
    );
  }
}
