/** @file What an allocation was chosen from, and what each layer got for what masking it costs. */
import type {Allocation, LossMetric, TradeOffPoint} from '../../metadata/allocation.js';
import {placeOf, shortName, type Arrangement} from '../layers-by-kind.js';
import {percent, significant, times} from '../number-format.js';
import type {Html} from '../html.js';
import {logTicks} from '../log-ticks.js';
import type {PlotDrawer} from '../plot-drawer.js';
import {percentTicks} from '../percent-ticks.js';
import {seriesColor} from '../series.js';
import {describeLoss} from '../wording.js';

/** Of each axis, about. */
const TICKS = 5;

/** So few layers have room for their names. */
const NAMED = 8;

/** How far above its dot a name stands, in pixels: neighbours take turns. */
const NAME_LEVELS = [9, 20];

/** Whether the curve is one of measured losses; one loss alone makes none. */
export function showsLoss(curve: readonly TradeOffPoint[]): boolean {
  return curve.filter(({loss}) => loss !== null).length > 1;
}

/** The trade-off curve: loss by sparsity, or the law's error where no losses were measured; null if neither is known. */
export function drawTradeOff(drawer: PlotDrawer, {curve, chosen, metric}: Allocation): Html | null {
  const measured = showsLoss(curve);
  const valueOf = (point: TradeOffPoint) => (measured ? point.loss : point.predictedError);
  const points = curve.flatMap((point, i) => {
    const value = valueOf(point);
    // What was computed spans powers of ten, and is 0 only where nothing is masked.
    return value === null || (!measured && value <= 0) ? [] : [{...point, value, isChosen: i === chosen}];
  });
  if (points.length < 2) return null;
  const values = points.map(({value}) => value);
  const domain: [number, number] = [Math.min(...values) / 1.3, Math.max(...values) * 1.3];
  const {plot} = drawer;
  const titleOf = ({sparsity, value, speedup}: (typeof points)[number]) =>
    `${percent(sparsity)}: ${measured ? describeLoss(value, metric) : significant(value)}` +
    (speedup === null ? '' : `, ${times(speedup)}`);
  const bars = points.flatMap(({sparsity, value, lossError}) =>
    measured && lossError !== null ? [{sparsity, low: value - lossError, high: value + lossError}] : [],
  );
  const inPerCent = measured && metric !== 'KL divergence';
  return drawer.draw('Loss by mean sparsity: the allocations that were considered', {
    ...{height: 240, marginLeft: 48, marginRight: 20, marginBottom: 36, marginTop: 24},
    x: {
      ...{label: 'mean sparsity →', ticks: TICKS, nice: true},
      tickFormat: percentTicks(
        points.map(({sparsity}) => sparsity),
        TICKS,
      ),
    },
    y: {
      ...{label: `↑ ${measured ? lossTitle(metric) : 'predicted error'}`, grid: true},
      ...(measured ? {nice: true, ticks: TICKS} : {type: 'log', domain, ticks: logTicks(domain)}),
      tickFormat: inPerCent ? percentTicks([0, ...values], TICKS) : (value: number) => significant(value, 2),
    },
    marks: [
      ...(measured ? [plot.ruleY([0], {stroke: 'var(--line)'})] : []),
      plot.lineY(points, {x: 'sparsity', y: 'value', stroke: 'var(--accent)', strokeWidth: 2}),
      plot.ruleX(bars, {x: 'sparsity', y1: 'low', y2: 'high', stroke: 'var(--accent)'}),
      plot.dot(points, {x: 'sparsity', y: 'value', r: 3, fill: 'var(--accent)', title: titleOf}),
      plot.dot(
        points.filter(({isChosen}) => isChosen),
        {
          ...{x: 'sparsity', y: 'value', r: 6, title: titleOf},
          ...{fill: 'var(--paper)', stroke: 'var(--ink)', strokeWidth: 2},
        },
      ),
    ],
  });
}

function lossTitle(metric: LossMetric | null): string {
  switch (metric) {
    case 'relative perplexity':
      return 'more perplexity than dense';
    case 'accuracy points':
      return 'accuracy lost';
    default:
      return metric ?? 'loss';
  }
}

/** Each layer's target against the error of its probe, coloured by kind; null without probes. */
export function drawProbesAndTargets(
  drawer: PlotDrawer,
  {layers, probes}: Allocation,
  arrangement: Arrangement | null,
): Html | null {
  if (probes === null) return null;
  const errors = new Map(probes.layers.map(({path, error}) => [path, error]));
  const kinds = arrangement?.kinds ?? [];
  const points = layers.flatMap(({path, target}) => {
    const error = errors.get(path) ?? 0;
    const index = kinds.indexOf(placeOf(path).kind);
    return error > 0 ? [{path, target, error, color: seriesColor(Math.max(index, 0))}] : [];
  });
  if (points.length === 0) return null;
  const {plot} = drawer;
  const errorsShown = points.map(({error}) => error);
  const domain: [number, number] = [Math.min(...errorsShown) / 1.2, Math.max(...errorsShown) * 1.2];
  const ticks = logTicks(domain);
  const named = points.length <= NAMED ? [...points].sort((a, b) => a.error - b.error) : [];
  return drawer.draw('Target of each layer by the error of its probe', {
    ...{height: 240, marginLeft: 42, marginRight: 20, marginBottom: 36, marginTop: 24},
    x: {
      type: 'log',
      label: 'error of the probe →',
      tickFormat: (v: number) => significant(v, 1),
      ticks,
      domain,
    },
    y: {domain: [0, 1], ticks: 5, tickFormat: (s: number) => percent(s, 0), label: '↑ target', grid: true},
    marks: [
      plot.dot(points, {
        ...{x: 'error', y: 'target', r: 3, fill: 'color', fillOpacity: 0.85},
        title: ({path, target, error}: (typeof points)[number]) =>
          `${path}: error ${significant(error)}, target ${percent(target)}`,
      }),
      ...NAME_LEVELS.map((height, level) =>
        plot.text(
          named.filter((_, i) => i % NAME_LEVELS.length === level),
          {
            ...{x: 'error', y: 'target', dy: -height},
            text: ({path}: (typeof points)[number]) => shortName(path),
          },
        ),
      ),
    ],
    color: {type: 'identity'},
  });
}
