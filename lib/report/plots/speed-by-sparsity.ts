/**
 * @file How much faster the sparse path is than the dense one, by sparsity, with the line of break-even: whole model, and
 * layer by layer.
 */
import type {ModelBench} from '../../eval/bench-model.js';
import {median} from '../../eval/latency.js';
import type {Arrangement} from '../layers-by-kind.js';
import {percent, times} from '../number-format.js';
import type {Html} from '../html.js';
import type {PlotDrawer} from '../plot-drawer.js';

const SPARSITY_AXIS = {
  domain: [0, 1],
  ticks: [0, 0.25, 0.5, 0.75, 1],
  tickFormat: (share: number) => `${100 * share} %`,
  label: 'sparsity →',
};
const SPEED_AXIS = {label: '↑ times as fast as dense', grid: true, nice: true, zero: true};
const ACCENT = 'var(--accent)';

/** The whole model: predicted from the times of its layers, and measured. */
export function drawModelSpeed(drawer: PlotDrawer, {predicted, measured}: ModelBench): Html {
  const {plot} = drawer;
  const describe =
    (what: string) =>
    ({sparsity, speedup}: Speed) =>
      `${what} at ${percent(sparsity, 0)}: ${times(speedup)}`;
  return drawer.draw('Speed of the model against the dense one, by sparsity', {
    ...{height: 240, marginLeft: 38, marginRight: 20, marginBottom: 36, marginTop: 24},
    x: SPARSITY_AXIS,
    y: SPEED_AXIS,
    marks: [
      ...breakEvenLine(drawer),
      plot.lineY(predicted, {x: 'sparsity', y: 'speedup', stroke: 'var(--accent)', strokeWidth: 2}),
      plot.dot(predicted, {
        x: 'sparsity',
        y: 'speedup',
        fill: 'var(--accent)',
        r: 3,
        title: describe('predicted'),
      }),
      plot.dot(measured, {
        ...{x: 'sparsity', y: 'speedup', r: 5, title: describe('measured')},
        ...{fill: 'var(--paper)', stroke: 'var(--ink)', strokeWidth: 2},
      }),
    ],
  });
}

/** The layers: for each kind a plot with a thin curve a layer and their median. */
export function drawLayerSpeed(
  drawer: PlotDrawer,
  {layers}: ModelBench,
  arrangement: Arrangement | null,
): {readonly kind: string; readonly drawn: Html}[] {
  const {plot} = drawer;
  const kindOf = new Map(
    arrangement?.cells.flatMap(({kind, paths}) => paths.map((path) => [path, kind] as const)),
  );
  const curves = layers
    .filter(({path}) => arrangement === null || kindOf.has(path))
    .map(({path, denseMs, times}) => ({
      path,
      kind: kindOf.get(path) ?? path,
      points: times.map(({sparsity, ms}) => ({sparsity, speedup: denseMs / ms})),
    }));
  const highest = Math.max(1, ...curves.flatMap(({points}) => points.map(({speedup}) => speedup)));
  return [...new Set(curves.map(({kind}) => kind))].map((kind) => {
    const own = curves.filter((curve) => curve.kind === kind);
    const points = own.flatMap(({path, points}) => points.map((point) => ({path, ...point})));
    const medians = mediansOf(own);
    const channels = {x: 'sparsity', y: 'speedup'};
    const drawn = drawer.draw(`Speed of ${kind} against dense, by sparsity`, {
      ...{width: 220, height: 110, marginLeft: 28, marginRight: 14, marginBottom: 20, marginTop: 8},
      x: {...SPARSITY_AXIS, ticks: [0, 0.5, 1], label: null},
      y: {...SPEED_AXIS, domain: [0, highest], ticks: 3, label: null},
      marks: [
        ...breakEvenLine(drawer),
        plot.line(points, {...channels, z: 'path', stroke: ACCENT, strokeOpacity: 0.25, strokeWidth: 1}),
        plot.line(medians, {...channels, stroke: ACCENT, strokeWidth: 2}),
        plot.dot(medians, {
          ...{...channels, fill: ACCENT, r: 2.5},
          title: ({sparsity, speedup}: Speed) => `${kind} at ${percent(sparsity, 0)}: ${times(speedup)}`,
        }),
      ],
    });
    return {kind, drawn};
  });
}

interface Speed {
  readonly sparsity: number;
  readonly speedup: number;
}

function mediansOf(curves: readonly {readonly points: readonly Speed[]}[]): Speed[] {
  return curves[0].points.map(({sparsity}, i) => ({
    sparsity,
    speedup: median(curves.map(({points}) => points[i].speedup)),
  }));
}

/** Above it sparsity gains time. */
function breakEvenLine({plot}: PlotDrawer) {
  return [plot.ruleY([1], {stroke: 'var(--warn)', strokeDasharray: '4 3', strokeWidth: 1.5})];
}
