/** @file Formats of the weights side by side: what each loses and how fast it is, dense and at some sparsities. */
import {placeOf} from '../../allocation/format-points.js';
import {html, type Html} from '../html.js';
import {table} from '../html-table.js';
import {describeMs, percent, times} from '../number-format.js';
import type {PlotDrawer} from '../plot-drawer.js';
import {drawFormats, formatsIn} from '../plots/format-frontier.js';
import type {ReportContents} from '../report-contents.js';
import {seriesColor} from '../series.js';
import {describeAmount, describeLoss} from '../wording.js';

/** Null where formats were not compared. */
export function formatsSection(drawer: PlotDrawer, {formats, unit}: ReportContents): Html | null {
  if (formats === undefined) return null;
  const {points, frontier, chosen, metric, denseMs, leftOut, on} = formats;
  const what = unit === 'token' ? 'tokens' : 'predictions';
  return html`<section>
    <h2>Formats</h2>
    <ul class="legend">
      ${formatsIn(points).map((format, i) => html`<li><i class="line" style="--c:${seriesColor(i)}"></i>${format}</li>`)}
      <li>
        <i class="line dashed" style="--c:var(--muted)"></i>frontier: no other is as fast and loses less
      </li>
    </ul>
    <div class="plots">
      <figure>
        ${drawFormats(drawer, formats, what)}
        <figcaption>
          Each format dense and at rising sparsities, measured on data that calibration did not see.
          ${chosen !== null && 'The ring is what was chosen.'}
        </figcaption>
      </figure>
    </div>
    ${table(
      points,
      [
        {title: 'format', kind: 'name', cell: ({format}) => format},
        {title: 'mean sparsity', cell: ({sparsity}) => percent(sparsity)},
        {
          title: 'loss',
          cell: ({loss, lossError}) =>
            describeLoss(loss, metric) +
            (lossError === null || lossError === 0
              ? ''
              : `, standard error ${describeAmount(lossError, metric)}`),
        },
        {title: `one ${unit === 'token' ? 'token' : 'prediction'}`, cell: ({ms}) => describeMs(ms)},
        {title: `${what} a second`, cell: ({ms}) => (1000 / ms).toFixed(1)},
        {title: 'against dense float32', cell: ({ms}) => times(denseMs / ms)},
        {title: '', kind: 'text', cell: (point) => placeOf(point, chosen, frontier)},
      ],
      (point) => placeOf(point, chosen, frontier) === 'chosen',
    )}
    ${leftOut.map(({format, reason}) => html`<p class="note">Without ${format}: ${reason}.</p>`)}
    <p class="note">Medians, ${on}.</p>
  </section>`;
}
