/** @file Quality against speed: a line a format of the weights, through its sparsities, and the points that no other beats. */
import {frontierOf, type FormatPoint} from '../../allocation/format-points.js';
import type {LossMetric} from '../../metadata/allocation.js';
import type {Html} from '../html.js';
import {percent, significant} from '../number-format.js';
import {percentTicks} from '../percent-ticks.js';
import type {PlotDrawer} from '../plot-drawer.js';
import type {ReportFormats} from '../report-contents.js';
import {seriesColor} from '../series.js';
import {describeLoss} from '../wording.js';

const TICKS = 5;

/** The formats that were measured, in the order of their colours. */
export function formatsIn(points: readonly FormatPoint[]): FormatPoint['format'][] {
  return [...new Set(points.map(({format}) => format))];
}

/** What the axis of losses is called. */
function lossTitle(metric: LossMetric): string {
  if (metric === 'relative perplexity') return 'more perplexity than dense float32';
  return metric === 'accuracy points' ? 'accuracy lost' : metric;
}

/** @param what What is counted a second: `tokens`. */
export function drawFormats(drawer: PlotDrawer, {points, chosen, metric}: ReportFormats, what: string): Html {
  const {plot} = drawer;
  const formats = formatsIn(points);
  const placed = (point: FormatPoint) => ({...point, speed: 1000 / point.ms});
  const all = points.map((point) => ({
    ...placed(point),
    color: seriesColor(formats.indexOf(point.format)),
  }));
  const titleOf = ({format, sparsity, loss, speed}: ReturnType<typeof placed>) =>
    `${format} at ${percent(sparsity, 0)}: ${describeLoss(loss, metric)}, ${significant(speed)} ${what} a second`;
  const place = {x: 'loss', y: 'speed'};
  return drawer.draw(`Loss and ${what} a second of each format, by sparsity`, {
    ...{height: 260, marginLeft: 44, marginRight: 20, marginBottom: 36, marginTop: 24},
    x: {
      ...{label: `${lossTitle(metric)} →`, nice: true, ticks: TICKS},
      tickFormat:
        metric === 'KL divergence'
          ? (value: number) => significant(value, 2)
          : percentTicks(
              all.map(({loss}) => loss),
              TICKS,
            ),
    },
    y: {label: `↑ ${what} a second`, grid: true, nice: true, zero: true},
    color: {type: 'identity'},
    marks: [
      plot.line(frontierOf(points).map(placed), {
        ...{...place, curve: 'step-before', stroke: 'var(--muted)', strokeDasharray: '4 3'},
      }),
      plot.line(all, {...place, z: 'format', stroke: 'color', strokeWidth: 2}),
      plot.dot(all, {...place, r: 3, fill: 'color', title: titleOf}),
      plot.dot(chosen === null ? [] : [placed(chosen)], {
        ...{...place, r: 6, title: titleOf},
        ...{fill: 'var(--paper)', stroke: 'var(--ink)', strokeWidth: 2},
      }),
    ],
  });
}
