/** @file Options of which layer masks how much, where no targets by pattern are given, and what is said of the answer. */
import {InvalidArgumentError, Option, type Command} from 'commander';
import type * as tf from '@tensorflow/tfjs';
import {ALLOCATION_SEQUENCES, allocateLanguageModel, languageModelOf} from '../language/index.js';
import {allocateSparsity, type AllocateOptions, type AllocationProgress} from '../allocate.js';
import type {SparsityBounds} from '../allocation/bounds.js';
import type {
  Allocation,
  AllocationMethod,
  AllocationTarget,
  LossMetric,
  TradeOffPoint,
} from '../metadata/allocation.js';
import {ALLOCATION_METHODS} from '../allocation/allocation-options.js';
import type {CalibrationMethod, CalibrationOptions} from '../calibration/calibrate.js';
import {SparsifyError} from '../errors.js';
import {readLabels} from '../io/data/labels.js';
import {describeTarget} from '../report/wording.js';
import {TargetScope} from '../scope/target-scope.js';
import {readText} from '../io/files/read-text.js';
import {isTextFile, openData, type DataOptions} from './data.js';
import type {WarningOptions} from '../warnings.js';
import {ignoredScopeOf, numberOption, parseShare, shareOption, type TargetOption} from './shared-options.js';
import {withStages} from './progress.js';
import {patternOf} from './roles.js';
import {formatTable, percent} from './text-table.js';

/** `PATTERN=LEAST..MOST` as a scope and its bounds. */
type BoundsOption = readonly [TargetScope, SparsityBounds];

/** What the options of `addAllocationOptions` give. */
export interface AllocationOptions {
  readonly sparsity?: number;
  readonly auto?: boolean;
  readonly maxLoss?: number;
  readonly speedup?: number;
  readonly latency?: number;
  readonly allocate?: AllocationMethod;
  readonly bounds?: readonly BoundsOption[];
}

/** What `--auto` alone asks for. */
const DEFAULT_MAX_LOSS = 0.01;

/** For the help of commands that allocate. */
export const ALLOCATION_HELP = `Instead of --target, a mean sparsity is spread over the layers so that it costs least (--sparsity), or the mean too is found:
the fastest model within a loss (--max-loss), the one that loses least at a speed (--speedup, --latency), or both. A loss is
relative perplexity of a language model, on the end of the text; accuracy with --labels; else how far the outputs are from
the dense ones; on every fourth batch, which calibration then does not see. Speed is that of this machine.`;

/** Adds `--sparsity`, `--auto`, `--max-loss`, `--speedup`, `--latency`, `--allocate` and `--bounds`. */
export function addAllocationOptions(command: Command): Command {
  return command
    .addOption(
      shareOption('--sparsity <SHARE>', 'mean share of inputs to mask, as 0.5 or 50%, weighted by weights'),
    )
    .option(
      '--auto',
      `find the mean sparsity for what follows; alone, for --max-loss ${percent(DEFAULT_MAX_LOSS, 0)}`,
    )
    .addOption(
      shareOption(
        '--max-loss <SHARE>',
        'most to lose, as 2% or 0.02: of perplexity, points of accuracy, or divergence',
      ),
    )
    .addOption(numberOption('--speedup <RATIO>', 'times as fast as dense, as 1.4'))
    .addOption(numberOption('--latency <MS>', 'milliseconds of one prediction, or one token'))
    .addOption(
      new Option(
        '--allocate <METHOD>',
        'local: by what masking each layer alone does to its block; uniform: all layers alike; greedy: as TEAL; local by ' +
          'default',
      ).choices(ALLOCATION_METHODS),
    )
    .addOption(
      new Option(
        '--bounds <PATTERN=LEAST..MOST>',
        'let only layers that match a pattern mask, and between these shares: ".*up_proj=0.2..0.8"; repeatable',
      ).argParser(collectBounds),
    );
}

/**
 * What is asked for; null if it is targets by pattern.
 *
 * @throws {SparsifyError} `bad-option` for options that do not go together, or none.
 */
export function requestedTarget(
  options: AllocationOptions & {readonly target?: readonly TargetOption[]},
): AllocationTarget | null {
  const {target, sparsity, auto, maxLoss, speedup, latency, allocate, bounds} = options;
  const searched = {maxLoss, speedup, latencyMs: latency};
  const isSearch = auto === true || Object.values(searched).some((value) => value !== undefined);
  const given = [target !== undefined, sparsity !== undefined, isSearch].filter(Boolean).length;
  if (given !== 1) {
    throw new SparsifyError(
      'bad-option',
      `${given === 0 ? 'it is not said how much to mask' : '--target, --sparsity and --auto each say how much to mask'}: give ` +
        "one of --target '.*=0.5', --sparsity 0.5, or --auto with --max-loss, --speedup or --latency",
    );
  }
  if (target !== undefined) {
    if (allocate === undefined && bounds === undefined) return null;
    throw new SparsifyError(
      'bad-option',
      '--allocate and --bounds concern --sparsity and --auto, not --target',
    );
  }
  if (sparsity !== undefined) return {sparsity};
  const isEmpty = Object.values(searched).every((value) => value === undefined);
  return isEmpty ? {maxLoss: DEFAULT_MAX_LOSS} : searched;
}

/** What `allocateOptionsOf` reads. */
export type AllocatedData = AllocationOptions &
  DataOptions &
  WarningOptions & {readonly ignore?: readonly string[]; readonly labels?: string};

/**
 * How the command line has a model allocated, the target apart.
 *
 * @throws {SparsifyError} `bad-option`; {FileError} of the labels.
 */
export async function allocateOptionsOf(
  calibration: CalibrationMethod | CalibrationOptions,
  {allocate, bounds, ignore, labels, data, onWarning}: AllocatedData,
): Promise<Omit<AllocateOptions, 'target' | 'onProgress'>> {
  if (isTextFile(data) && labels !== undefined) {
    throw new SparsifyError('bad-option', '--labels do not concern text: its loss is perplexity');
  }
  return {
    method: allocate,
    ignoredScope: ignoredScopeOf(ignore),
    calibration,
    onWarning,
    ...(bounds === undefined ? {} : {scopes: bounds}),
    ...(labels === undefined ? {} : {labels: await readLabels(labels)}),
  };
}

/**
 * Allocates on the data of the command line, with its progress.
 *
 * @throws {SparsifyError} `target-not-met`, unless what comes nearest keeps the loss that was asked for; as `allocateSparsity`.
 */
export async function allocateForCommand(
  model: tf.LayersModel,
  target: AllocationTarget,
  calibration: CalibrationMethod | CalibrationOptions,
  options: AllocatedData,
  signal: AbortSignal,
): Promise<Allocation> {
  const {data, sequences, sequenceLength} = options;
  const isText = isTextFile(data);
  const {labels, ...rest} = await allocateOptionsOf(calibration, options);
  const shared: AllocateOptions = {...rest, target, signal};
  const dataset = isText ? null : await openData(model, options);
  const text = isText ? await readText(data) : '';
  const allocation = await withStages((onProgress) => {
    const staged: AllocateOptions = {
      ...shared,
      onProgress: (progress) => onProgress(describeStage(progress), unitOf(progress, isText), progress),
    };
    return dataset === null
      ? allocateLanguageModel(languageModelOf(model), text, {
          ...staged,
          ...ALLOCATION_SEQUENCES,
          ...defined({sequences, sequenceLength}),
        })
      : allocateSparsity(model, dataset, {...staged, labels});
  });
  checkUsable(allocation);
  return allocation;
}

/** A model that is neither as good nor as fast as asked is of no use; one that is only slower than asked may be. */
function checkUsable({met, target, metric, curve, chosen}: Allocation): void {
  if (target.sparsity !== undefined) return; // a mean that layers cannot have is a warning
  const {loss, speedup, latencyMs, sparsity} = curve[chosen];
  const {maxLoss} = target;
  if (met || (maxLoss !== undefined && loss !== null && loss <= maxLoss)) return;
  const got =
    maxLoss === undefined
      ? `the fastest within the bounds is ${speedup!.toFixed(2)}x, ${latencyMs!.toFixed(3)} ms`
      : `the least loss within the bounds is ${describeLoss(curve[chosen], metric!)}`;
  throw new SparsifyError(
    'target-not-met',
    `${describeTarget(target, metric)}: cannot be met; ${got}, at a mean sparsity of ${percent(sparsity)}; ask for less, or for ` +
      `that with --sparsity ${percent(sparsity)}; nothing was saved`,
  );
}

/** What was allocated, the layers' own shares apart: the target, whether it is met, the curve that it was chosen from. */
export function describeAllocation(allocation: Allocation): string {
  const {method, target, met, sparsity, curve, chosen, metric} = allocation;
  const asked =
    met || target.sparsity === undefined ? '' : `, of ${percent(target.sparsity)} that were asked`;
  const head = `allocated by method ${method}: ${percent(sparsity)} on average, weighted by weights${asked}`;
  const measured = curve.filter(({loss, latencyMs}) => loss !== null || latencyMs !== null);
  if (measured.length === 0) return head; // a mean sparsity is given, or refused
  const outcome = `${describeTarget(target, metric)}: ${met ? 'met' : 'NOT MET; this comes nearest'}`;
  const lossTitle = metric === null ? [] : [metric];
  const table = formatTable(measured, [
    {title: 'mean sparsity', cell: ({sparsity}) => percent(sparsity), align: 'right'},
    ...lossTitle.map(
      (title) =>
        ({title, cell: (point: TradeOffPoint) => describeLoss(point, metric!), align: 'right'}) as const,
    ),
    {
      title: 'latency',
      cell: ({latencyMs}) => (latencyMs === null ? '-' : `${latencyMs.toFixed(3)} ms`),
      align: 'right',
    },
    {
      title: 'speed',
      cell: ({speedup}) => (speedup === null ? '-' : `${speedup.toFixed(2)}x`),
      align: 'right',
    },
    {title: '', cell: (point) => (point === curve[chosen] ? 'chosen' : '')},
  ]);
  return `${head}\n${outcome}\n\n${table}`;
}

function describeLoss({loss, lossError}: TradeOffPoint, metric: LossMetric): string {
  if (loss === null) return '-';
  const show = (value: number) =>
    metric === 'relative perplexity' || metric === 'accuracy points'
      ? percent(value, 2)
      : value.toPrecision(3);
  return lossError === null ? show(loss) : `${show(loss)} ± ${show(lossError)}`;
}

function describeStage({stage, sparsity}: AllocationProgress): string {
  return sparsity === null ? stage : `${stage} at ${percent(sparsity)}`;
}

function unitOf({stage}: AllocationProgress, isText: boolean): string {
  if (stage === 'probing layers') return 'probes'; // several of a layer, where the data has several batches
  if (stage === 'measuring the loss') return isText ? 'windows' : 'batches';
  return stage === 'calibrating' ? 'steps' : 'rounds';
}

function collectBounds(text: string, before: BoundsOption[] = []): BoundsOption[] {
  const separator = text.lastIndexOf('=');
  const pattern = text.slice(0, separator).trim();
  const [least, most, ...rest] = text
    .slice(separator + 1)
    .split('..')
    .map(parseShare);
  if (separator < 1 || pattern === '' || rest.length > 0 || !(least >= 0 && least <= most && most <= 1)) {
    throw new InvalidArgumentError("Write PATTERN=LEAST..MOST, as in '.*up_proj=0.2..0.8' or '.*=0%..95%'.");
  }
  return [...before, [new TargetScope({patterns: [patternOf(pattern)]}), {minimum: least, maximum: most}]];
}

/** The fields that have a value, so that defaults stand for the others. */
function defined<T extends object>(fields: T): Partial<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<T>;
}
