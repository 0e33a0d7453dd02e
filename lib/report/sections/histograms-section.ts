/** @file For each layer the histogram of |x| with its threshold: few layers open, many by kind. */
import {placeOf, type Arrangement} from '../layers-by-kind.js';
import type {ReportLayer} from '../report-contents.js';
import {percent, significant} from '../number-format.js';
import {html, type Html} from '../html.js';
import type {PlotDrawer} from '../plot-drawer.js';
import {drawHistogram} from '../plots/histogram-plot.js';

/** Null without statistics. */
export function histogramSection(
  drawer: PlotDrawer,
  layers: readonly ReportLayer[],
  arrangement: Arrangement | null,
): Html | null {
  const known = layers.filter(({histogram}) => histogram !== null);
  if (known.length === 0) return null;
  const legend = html`<ul class="legend">
    <li><i style="--c:var(--masked)"></i>masked</li>
    <li><i style="--c:var(--accent)"></i>kept</li>
    <li><i class="line" style="--c:var(--ink)"></i>threshold</li>
  </ul>`;
  const parts =
    arrangement === null ? [grid(drawer, known, ({path}) => path)] : byKind(drawer, known, arrangement);
  return html`<section>
    <h2>Inputs and thresholds</h2>
    <p>
      The density of |x| at the input of each layer, on the calibration data, from 0 to the 99 % quantile.
      Zeros are not drawn: their share is in the text.
    </p>
    ${legend}${parts}
  </section>`;
}

function byKind(drawer: PlotDrawer, layers: readonly ReportLayer[], {kinds, cells}: Arrangement): Html[] {
  const placed = new Set(cells.flatMap(({paths}) => paths));
  const parts = kinds.map((kind, i) => {
    const own = new Set(cells.filter((cell) => cell.kind === kind).flatMap(({paths}) => paths));
    const members = layers.filter(({path}) => own.has(path));
    return details(kind, members.length, grid(drawer, members, blockOf), i === 0);
  });
  const others = layers.filter(({path}) => !placed.has(path));
  return others.length === 0
    ? parts
    : [
        ...parts,
        details(
          'others',
          others.length,
          grid(drawer, others, ({path}) => path),
          false,
        ),
      ];
}

function details(title: string, count: number, content: Html, isOpen: boolean): Html {
  const head = html`<summary>${title} <span class="note">${count} layers</span></summary>`;
  return isOpen
    ? html`<details open>${head}${content}</details>`
    : html`<details>${head}${content}</details>`;
}

function blockOf({path}: ReportLayer): string {
  const {block} = placeOf(path);
  const expert = /experts?[./_](\d+)/.exec(path);
  return `block ${block}${expert === null ? '' : `, expert ${expert[1]}`}`;
}

function grid(
  drawer: PlotDrawer,
  layers: readonly ReportLayer[],
  nameOf: (layer: ReportLayer) => string,
): Html {
  const areFew = layers.length <= 6;
  return html`<div class="${areFew ? 'histograms few' : 'histograms'}">
    ${layers.map((layer) => one(drawer, layer, nameOf(layer), areFew))}
  </div>`;
}

function one(
  drawer: PlotDrawer,
  {path, histogram, threshold}: ReportLayer,
  name: string,
  isLarge: boolean,
): Html {
  const {bins, zeros} = histogram!;
  const drawn = drawHistogram(drawer, `|x| at ${path}`, histogram!, threshold, isLarge);
  const masked = bins.filter(({isMasked}) => isMasked).reduce((sum, {share}) => sum + share, 0);
  const isMasking = threshold !== null && threshold >= 0;
  const facts = [
    isMasking ? `|x| ≤ ${significant(threshold)}: ${percent(masked + zeros)}` : 'no threshold',
    ...(zeros >= 0.001 ? [`zeros ${percent(zeros)}`] : []),
  ];
  return html`<figure title="${path}">
    ${drawn ?? html`<p class="note">nothing but zeros</p>`}
    <figcaption><b>${name}</b><br />${facts.join(', ')}</figcaption>
  </figure>`;
}
