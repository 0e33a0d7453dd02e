/** @file One figure for each layer: bars of shares, or dots on a logarithmic axis; by kind and block, or layer by layer. */
import type {Markish, PlotOptions} from '@observablehq/plot';
import {shortName, type Arrangement} from '../layers-by-kind.js';
import {meanOf, percent, significant} from '../number-format.js';
import type {Html} from '../html.js';
import {logTicks} from '../log-ticks.js';
import {PLOT_WIDTH, type PlotDrawer} from '../plot-drawer.js';

/** The figure of a layer. */
interface LayerValue {
  readonly path: string;
  /** Null leaves a gap. */
  readonly value: number | null;
  /** What was aimed at, drawn as a line across the bar. */
  readonly goal?: number | null;
}

export interface LayerValuesPlot {
  /** What is shown, for those who cannot see it. */
  readonly label: string;
  /** `share`: bars from 0 to 100 %. `log`: dots; values of 0 are left out. */
  readonly scale: 'share' | 'log';
  readonly values: readonly LayerValue[];
  readonly arrangement: Arrangement | null;
}

/** A bar or dot: one layer, or the mean of a block's experts. */
interface Point {
  readonly kind: string;
  readonly block: number;
  readonly value: number;
  readonly goal: number | null;
  readonly title: string;
}

const FACET_HEIGHT = 54;
const ROW_HEIGHT = 24;
const CHARACTER_WIDTH = 6.1;
const BAR = 'var(--accent)';
const GOAL = 'var(--ink)';

/** Draws it; null where there is nothing to show. */
export function drawLayerValues(drawer: PlotDrawer, options: LayerValuesPlot): Html | null {
  const {values, scale, arrangement} = options;
  const shown = values.filter(({value}) => value !== null && (scale === 'share' || value > 0));
  if (shown.length === 0) return null;
  return arrangement === null ? drawList(drawer, options) : drawFacets(drawer, options, arrangement);
}

function drawFacets(
  drawer: PlotDrawer,
  {label, scale, values}: LayerValuesPlot,
  {kinds, blocks, cells}: Arrangement,
): Html {
  const byPath = new Map(values.map((value) => [value.path, value]));
  const points = cells.flatMap(({kind, block, paths}): Point[] => {
    const members = paths.flatMap((path) => byPath.get(path) ?? []);
    const value = meanOf(members.flatMap(({value}) => value ?? []));
    if (value === null || (scale === 'log' && value <= 0)) return [];
    const goal = meanOf(members.flatMap(({goal}) => goal ?? []));
    const name = paths.length === 1 ? paths[0] : `${kind} in block ${block}, mean of ${paths.length}`;
    return [{kind, block, value, goal, title: titleOf(name, value, goal, scale)}];
  });
  const shownKinds = kinds.filter((kind) => points.some((point) => point.kind === kind));
  const {plot} = drawer;
  const channels = {x: 'block', fy: 'kind', title: 'title'};
  const marks: Markish[] = [
    ...(scale === 'share'
      ? [
          plot.barY(points, {...channels, y: 'value', fill: BAR, fillOpacity: 0.75, insetLeft: 0.5}),
          plot.tickY(goalsOf(points), {...channels, y: 'goal', stroke: GOAL, strokeWidth: 1.5}),
          plot.ruleY([0]),
        ]
      : [plot.dot(points, {...channels, y: 'value', fill: BAR, r: 2.4})]),
    plot.text(shownKinds, {
      fy: (kind: string) => kind,
      text: (kind: string) => shortName(kind),
      ...{frameAnchor: 'top-left', dx: 3, dy: -11, textAnchor: 'start', fontWeight: '600'},
    }),
  ];
  return drawer.draw(label, {
    height: shownKinds.length * (FACET_HEIGHT + 18) + 44,
    ...{marginLeft: 42, marginRight: 6, marginTop: 18, marginBottom: 32},
    x: {type: 'band', domain: blocks, label: 'block', ticks: someOf(blocks), padding: 0.08},
    y: valueScale(scale, points),
    fy: {domain: shownKinds, axis: null, padding: 0.3},
    marks,
  });
}

function drawList(drawer: PlotDrawer, {label, scale, values}: LayerValuesPlot): Html {
  const {plot} = drawer;
  const points = values.flatMap(({path, value, goal = null}): Point[] =>
    value === null || (scale === 'log' && value <= 0)
      ? []
      : [{kind: path, block: 0, value, goal, title: titleOf(path, value, goal, scale)}],
  );
  const names = points.map(({kind}) => kind);
  const longest = Math.max(...names.map((name) => shortName(name).length));
  const channels = {y: 'kind', title: 'title'};
  const axis = valueScale(scale, points);
  return drawer.draw(label, {
    height: names.length * ROW_HEIGHT + 46,
    marginLeft: Math.min(PLOT_WIDTH / 2, 14 + longest * CHARACTER_WIDTH),
    ...{marginRight: 16, marginTop: 8, marginBottom: 36},
    y: {type: 'band', domain: names, label: null, tickFormat: (name: string) => shortName(name), tickSize: 0},
    x: {...axis, label: null},
    marks:
      scale === 'share'
        ? [
            plot.barX(points, {
              ...channels,
              x: 'value',
              fill: BAR,
              fillOpacity: 0.75,
              insetTop: 2,
              insetBottom: 2,
            }),
            plot.tickX(goalsOf(points), {...channels, x: 'goal', stroke: GOAL, strokeWidth: 2}),
            plot.ruleX([0]),
          ]
        : [plot.dot(points, {...channels, x: 'value', fill: BAR, r: 4})],
  });
}

function goalsOf(points: readonly Point[]): readonly Point[] {
  return points.filter(({goal}) => goal !== null);
}

function titleOf(name: string, value: number, goal: number | null, scale: LayerValuesPlot['scale']): string {
  const text = scale === 'share' ? percent(value) : significant(value);
  return `${name}: ${text}${goal === null ? '' : `, target ${percent(goal)}`}`;
}

function valueScale(scale: LayerValuesPlot['scale'], points: readonly Point[]): PlotOptions['y'] {
  if (scale === 'share') {
    return {
      domain: [0, 1],
      ticks: [0, 0.5, 1],
      tickFormat: (share: number) => `${100 * share} %`,
      label: null,
    };
  }
  const values = points.map(({value}) => value);
  const domain: [number, number] = [Math.min(...values) / 1.3, Math.max(...values) * 1.3];
  const tickFormat = (value: number) => significant(value, 1);
  return {type: 'log', domain, ticks: logTicks(domain), tickFormat, label: null, grid: true};
}

/** Every so many blocks, that their numbers have room. */
function someOf(blocks: readonly number[]): number[] {
  const step = Math.ceil(blocks.length / 10);
  return blocks.filter((_, i) => i % step === 0);
}
