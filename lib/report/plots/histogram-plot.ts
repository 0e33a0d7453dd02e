/** @file The histogram of one layer's |x|, small: what its threshold masks in one colour, what it keeps in another. */
import {significant} from '../number-format.js';
import type {Html} from '../html.js';
import type {HistogramBins} from '../histogram-bins.js';
import type {PlotDrawer} from '../plot-drawer.js';

/** Natural sizes, in CSS pixels: of one among many, and of one among few. */
const SMALL = {width: 160, height: 78, ticks: 2, fontSize: 9.5};
const LARGE = {width: 300, height: 120, ticks: 4, fontSize: 10.5};

/** Draws the density of the values that are not zero; null if all are. */
export function drawHistogram(
  drawer: PlotDrawer,
  label: string,
  {bins}: HistogramBins,
  threshold: number | null,
  isLarge: boolean,
): Html | null {
  if (bins.length === 0) return null;
  const {plot} = drawer;
  const {width, height, ticks, fontSize} = isLarge ? LARGE : SMALL;
  const end = bins[bins.length - 1].to;
  const outline = (isMasked: boolean) => {
    const own = bins.filter((bin) => bin.isMasked === isMasked);
    return own.flatMap(({from, to, share}) => {
      const density = share / (to - from);
      return [
        {x: from, density},
        {x: to, density},
      ];
    });
  };
  const outlined = {x: 'x', y1: 0, y2: 'density'}; // with y alone, points at one x would be stacked
  const isShown = threshold !== null && threshold >= 0 && threshold <= end;
  return drawer.draw(label, {
    ...{width, height, marginTop: 3, marginLeft: 4, marginRight: 14, marginBottom: 17},
    x: {domain: [0, end], axis: null},
    y: {axis: null, zero: true},
    marks: [
      plot.areaY(outline(true), {...outlined, fill: 'var(--masked)'}),
      plot.areaY(outline(false), {...outlined, fill: 'var(--accent)', fillOpacity: 0.75}),
      plot.ruleY([0], {stroke: 'var(--line)'}),
      plot.axisX({
        ...{ticks, fontSize, tickSize: 3, tickPadding: 2, label: null, stroke: 'var(--muted)'},
        tickFormat: (x: number) => significant(x, 2),
      }),
      ...(isShown ? [plot.ruleX([threshold], {stroke: 'var(--ink)', strokeWidth: 1.5})] : []),
    ],
  });
}
