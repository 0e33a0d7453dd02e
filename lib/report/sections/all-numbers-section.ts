/** @file Every figure of every layer, for those who want to read them. */
import type {ReportContents, ReportLayer} from '../report-contents.js';
import {describeBytes, percent, significant} from '../number-format.js';
import {html, type Html} from '../html.js';
import {table, type ReportColumn} from '../html-table.js';

/** The table of all layers; columns of which nothing is known are left out. */
export function figuresSection({measured: {layers}, allocation, bench}: ReportContents): Html {
  const probes = new Map(allocation?.probes?.layers.map(({path, error}) => [path, error]));
  const breakEvens = new Map(bench?.layers.map(({path, breakEven}) => [path, breakEven]));
  const column = (
    title: string,
    pick: (layer: ReportLayer) => number | null,
    write: (value: number) => string,
  ): ReportColumn<ReportLayer>[] =>
    layers.some((layer) => pick(layer) !== null)
      ? [{title, cell: (layer) => (pick(layer) === null ? '–' : write(pick(layer)!))}]
      : [];
  const columns: ReportColumn<ReportLayer>[] = [
    {title: 'layer', kind: 'path', cell: ({path}) => path},
    {title: 'inputs × units', cell: ({inputSize, units}) => `${inputSize} × ${units}`},
    {title: 'weights', kind: 'text', cell: ({format}) => format},
    {title: 'size', cell: ({bytes}) => describeBytes(bytes)},
    ...column(
      'target',
      ({target}) => target,
      (share) => percent(share),
    ),
    ...column(
      'actual',
      ({actual}) => actual,
      (share) => percent(share),
    ),
    ...column(
      'threshold',
      ({threshold}) => threshold,
      (value) => significant(value, 4),
    ),
    ...column(
      'output error',
      ({outputError}) => outputError,
      (value) => significant(value),
    ),
    ...column(
      'probe error',
      ({path}) => probes.get(path) ?? null,
      (value) => significant(value),
    ),
    ...column(
      'break-even',
      ({path}) => breakEvens.get(path) ?? null,
      (share) => percent(share, 0),
    ),
  ];
  const content = table(layers, columns);
  const isShort = layers.length <= 12;
  return html`<section>
    <h2>All layers</h2>
    ${
      isShort
        ? content
        : html`<details>
            <summary>Figures of ${layers.length} layers</summary>
            ${content}
          </details>`
    }
  </section>`;
}
