/** @file What an allocation was chosen from, and what each layer got for what masking it costs. */
import type {Allocation, LossMetric, TradeOffPoint} from '../../allocation/contract.js';
import {placeOf, type Arrangement} from '../arrangement.js';
import {percent, significant, times} from '../figures.js';
import type {Html} from '../html.js';
import {logTicks} from '../log-ticks.js';
import type {Pen} from '../pen.js';
import {percentTicks} from '../percent-ticks.js';
import {seriesColor} from '../series.js';

/** Of each axis, about. */
const TICKS = 5;

/** The trade-off curve: loss by sparsity, or the law's error where no loss was measured; null if neither is known. */
export function drawTradeOff(pen: Pen, {curve, chosen, metric}: Allocation): Html | null {
  const measured = curve.some(({loss}) => loss !== null);
  const valueOf = (point: TradeOffPoint) => (measured ? point.loss : point.predictedError);
  const points = curve.flatMap((point, i) => {
    const value = valueOf(point);
    return value === null ? [] : [{...point, value, isChosen: i === chosen}];
  });
  if (points.length < 2) return null;
  const {plot} = pen;
  const titleOf = ({sparsity, value, speedup}: (typeof points)[number]) =>
    `${percent(sparsity)}: ${measured ? describeLoss(value, metric) : significant(value)}` +
    (speedup === null ? '' : `, ${times(speedup)}`);
  const bars = points.flatMap(({sparsity, value, lossError}) =>
    measured && lossError !== null ? [{sparsity, low: value - lossError, high: value + lossError}] : [],
  );
  const inPerCent = measured && metric !== 'KL divergence';
  return pen.draw('Loss by mean sparsity: the allocations that were considered', {
    ...{height: 240, marginLeft: 48, marginRight: 20, marginBottom: 36, marginTop: 24},
    x: {
      ...{label: 'mean sparsity →', ticks: TICKS, nice: true},
      tickFormat: percentTicks(
        points.map(({sparsity}) => sparsity),
        TICKS,
      ),
    },
    y: {
      ...{
        label: `↑ ${measured ? (metric ?? 'loss') : 'predicted error'}`,
        grid: true,
        nice: true,
        ticks: TICKS,
      },
      tickFormat: inPerCent
        ? percentTicks([0, ...points.map(({value}) => value)], TICKS)
        : (value: number) => significant(value, 2),
    },
    marks: [
      plot.ruleY([0], {stroke: 'var(--line)'}),
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

/** A loss in the words of its metric. */
export function describeLoss(loss: number, metric: LossMetric | null): string {
  switch (metric) {
    case 'relative perplexity':
      return `${percent(loss)} more perplexity`;
    case 'accuracy points':
      return `${(100 * loss).toFixed(2)} points of accuracy`;
    case 'KL divergence':
      return `${significant(loss)} nats`;
    default:
      return percent(loss, 2);
  }
}

/** Each layer's target against the error of its probe, coloured by kind; null without probes. */
export function drawProbesAndTargets(
  pen: Pen,
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
  const {plot} = pen;
  const errorsShown = points.map(({error}) => error);
  const domain: [number, number] = [Math.min(...errorsShown) / 1.2, Math.max(...errorsShown) * 1.2];
  const ticks = logTicks(domain);
  return pen.draw('Target of each layer by the error of its probe', {
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
    ],
    color: {type: 'identity'},
  });
}
