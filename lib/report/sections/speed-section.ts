/** @file Latency, bytes, and from which sparsity on the sparse path is faster. */
import type {Arrangement} from '../layers-by-kind.js';
import type {LatencyTable, ReportBench, ReportContents} from '../report-contents.js';
import {describeBytes, describeMs, percent, times} from '../number-format.js';
import {html, type Html} from '../html.js';
import type {PlotDrawer} from '../plot-drawer.js';
import {drawLayerSpeed, drawModelSpeed} from '../plots/speed-by-sparsity.js';
import {bytesRead} from '../summary-numbers.js';
import {table} from '../html-table.js';

/** What is known of speed; null if nothing is. */
export function speedSection(
  drawer: PlotDrawer,
  contents: ReportContents,
  arrangement: Arrangement | null,
): Html | null {
  const {latency, bench} = contents;
  const bytes = bytesTable(contents);
  if (latency === null && bench === null && bytes === null) return null;
  return html`<section>
    <h2>Latency and bytes</h2>
    ${latency === null ? null : latencyTable(latency)}${bytes}${bench === null ? null : benchPart(drawer, bench, arrangement)}
  </section>`;
}

function latencyTable({of, rows, on}: LatencyTable): Html {
  const dense = rows.find(({isDense}) => isDense);
  return html`${table(rows, [
      {title: 'model', kind: 'name', cell: ({name}) => name},
      {title: `one ${of}`, cell: ({ms}) => describeMs(ms)},
      {
        title: `${of.startsWith('token') ? 'tokens' : 'predictions'} a second`,
        cell: ({ms}) => (1000 / ms).toFixed(1),
      },
      ...(dense === undefined
        ? []
        : [{title: 'against dense', cell: ({ms}: {ms: number}) => times(dense.ms / ms)}]),
    ])}
    <p class="note">Medians, ${on}.</p>`;
}

function bytesTable({measured: {layers, actualOn}, unit}: ReportContents): Html | null {
  const bytes = bytesRead(layers);
  if (bytes === null || bytes.sparse >= bytes.dense) return null;
  const rows = [
    {name: 'dense', bytes: bytes.dense},
    {name: 'sparse', bytes: bytes.sparse},
  ];
  return html`${table(rows, [
      {title: `read for one ${unit}`, kind: 'name', cell: ({name}) => name},
      {title: 'bytes of Dense kernels', cell: ({bytes}) => describeBytes(bytes)},
      {title: 'share', cell: (row) => percent(row.bytes / bytes.dense)},
    ])}
    <p class="note">
      From the actual sparsity (${actualOn}), where the kernels skip the rows of masked inputs.
    </p>`;
}

function benchPart(drawer: PlotDrawer, bench: ReportBench, arrangement: Arrangement | null): Html {
  const {rows, on, skipsRows, layers} = bench;
  const gaining = layers.filter(({breakEven}) => breakEven !== null);
  const always = layers.filter(({breakEven}) => breakEven === 0);
  return html`<h3>Break-even</h3>
    <p>
      ${gaining.length} of ${layers.length} layers gain at some sparsity, ${always.length} of them even with
      nothing masked. Above the dashed line the sparse path is
      faster.${skipsRows ? null : ' This backend has no kernel that skips rows, so sparsity gains no time here.'}
    </p>
    <ul class="legend">
      <li><i class="line" style="--c:var(--accent)"></i>predicted, or median of the layers</li>
      <li><i class="ring" style="--c:var(--ink)"></i>whole model, measured</li>
      <li><i class="line dashed" style="--c:var(--warn)"></i>break-even</li>
    </ul>
    <div class="plots">
      <figure>
        ${drawModelSpeed(drawer, bench)}
        <figcaption>The whole model.</figcaption>
      </figure>
    </div>
    <div class="small-plots">
      ${drawLayerSpeed(drawer, bench, arrangement).map(
        ({kind, drawn}) =>
          html`<figure>
            <figcaption><b>${kind}</b></figcaption>
            ${drawn}
          </figure>`,
      )}
    </div>
    <p class="note">${rows} item${rows === 1 ? '' : 's'} in a prediction, ${on}.</p>`;
}
