/** @file The head of a report: the model's name and its figures at a glance. */
import type {ReportContents} from '../report-contents.js';
import {describeBytes, describeMs, percent, describeCount, times} from '../number-format.js';
import {html, type Html, type HtmlValue} from '../html.js';
import {bytesRead, describeOtherWeights, formatsOf, sparsitySummary} from '../summary-numbers.js';
import {writeMetric} from '../wording.js';
import {missing} from './missing-section.js';

/** Name and tiles. */
export function head(contents: ReportContents): Html {
  const {name, parameters, measured} = contents;
  const {layers} = measured;
  const {sparsified, dense} = sparsitySummary(layers);
  const what = [
    `${describeCount(parameters)} weights`,
    ...(layers.length === 0
      ? [describeOtherWeights(contents)]
      : [
          `${layers.length} Dense layers, ${sparsified} sparsified${dense > 0 ? `, ${dense} dense` : ''}`,
          `kernels ${formatsOf(layers)}`,
        ]),
  ];
  return html`<header>
      <p class="note">tfjs-sparsify report</p>
      <h1>${name}</h1>
      <p>${what.join(' · ')}</p>
    </header>
    <ul class="tiles">
      ${tilesOf(contents)}
    </ul>
    ${missing(contents)}`;
}

function tilesOf({measured: {layers, actualOn}, quality, latency, bench, unit}: ReportContents): HtmlValue {
  const {target, actual} = sparsitySummary(layers);
  const bytes = bytesRead(layers);
  const tiles: (Html | null)[] = [
    actual === null
      ? null
      : tile(
          percent(actual),
          `of the inputs masked, mean of the sparsified layers by their weights (${actualOn})`,
        ),
    target === null ? null : tile(percent(target), 'mean target, by weights'),
  ];
  for (const [i, metric] of (quality?.metrics ?? []).slice(0, 1).entries()) {
    const last = quality!.rows[quality!.rows.length - 1];
    const value = last.values[i];
    const first = quality!.rows[0].values[i];
    if (value === null) continue;
    const beside =
      quality!.rows.length > 1 && first !== null
        ? ` (${quality!.rows[0].name} ${writeMetric(metric, first)})`
        : '';
    tiles.push(tile(writeMetric(metric, value), `${metric.title}${beside}`));
  }
  const fastest = latency?.rows.find(({isDense}) => isDense);
  const own = latency?.rows[latency.rows.length - 1];
  if (fastest !== undefined && own !== undefined && own !== fastest) {
    tiles.push(tile(times(fastest.ms / own.ms), `as fast as dense: ${describeMs(own.ms)} a ${latency!.of}`));
  } else if (bench !== null && bench.measured.length > 0) {
    const [{sparsity, speedup}] = bench.measured;
    tiles.push(tile(times(speedup), `as fast as dense at ${percent(sparsity, 0)}, measured`));
  }
  if (bytes !== null && bytes.sparse < bytes.dense) {
    tiles.push(
      tile(
        describeBytes(bytes.sparse),
        `of Dense kernels read for one ${unit}; dense ${describeBytes(bytes.dense)}`,
      ),
    );
  }
  return tiles;
}

function tile(figure: string, text: string): Html {
  return html`<li><b>${figure}</b><span>${text}</span></li>`;
}
