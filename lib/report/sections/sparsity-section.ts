/** @file Target and actual sparsity, by kind and layer by layer, and the error that masking makes in each output. */
import type {Arrangement} from '../layers-by-kind.js';
import type {ReportContents, ReportLayer} from '../report-contents.js';
import {describeBytes, meanOf, percent, significant} from '../number-format.js';
import {html, type Html} from '../html.js';
import type {PlotDrawer} from '../plot-drawer.js';
import {drawLayerValues} from '../plots/layer-values.js';
import {table} from '../html-table.js';

/** Null if no layer is sparsified. */
export function sparsitySection(
  drawer: PlotDrawer,
  {measured}: ReportContents,
  arrangement: Arrangement | null,
): Html | null {
  const {layers, actualOn, errorsOn, missed} = measured;
  if (!layers.some(({sparsified}) => sparsified)) return null;
  const hasActual = layers.some(({actual}) => actual !== null);
  const shares = drawLayerValues(drawer, {
    label: 'Sparsity of each layer',
    scale: 'share',
    values: layers.map(({path, actual, target}) => ({
      path,
      value: hasActual ? actual : target,
      goal: target,
    })),
    arrangement,
  });
  const errors = drawLayerValues(drawer, {
    label: "Error of each layer's output",
    scale: 'log',
    values: layers.map(({path, outputError}) => ({path, value: outputError})),
    arrangement,
  });
  return html`<section>
    <h2>Sparsity by layer</h2>
    <ul class="legend">
      <li><i style="--c:var(--accent)"></i>${hasActual ? `actual, ${actualOn}` : 'target'}</li>
      ${hasActual && html`<li><i class="line" style="--c:var(--ink)"></i>target</li>`}
    </ul>
    <div class="plots">
      ${
        shares !== null &&
        html`<figure>
          ${shares}
          <figcaption>Share of the inputs that are masked.</figcaption>
        </figure>`
      }
      ${
        errors !== null &&
        html`<figure>
          ${errors}
          <figcaption>
            Error of each layer’s output by masking its own inputs, ‖y′ − y‖² / ‖y‖², ${errorsOn}.
          </figcaption>
        </figure>`
      }
    </div>
    ${arrangement !== null && kindTable(layers, arrangement)}
    ${
      missed.length > 0 &&
      html`<p>On the calibration data these do not mask the share that was asked:</p>
        <ul>
          ${missed.map((line) => html`<li>${line}</li>`)}
        </ul>`
    }
  </section>`;
}

interface Kind {
  readonly kind: string;
  readonly layers: readonly ReportLayer[];
}

function kindTable(layers: readonly ReportLayer[], {kinds, cells}: Arrangement): Html {
  const byPath = new Map(layers.map((layer) => [layer.path, layer]));
  const rows: Kind[] = kinds.map((kind) => {
    const paths = cells.filter((cell) => cell.kind === kind).flatMap(({paths}) => paths);
    return {kind, layers: paths.flatMap((path) => byPath.get(path) ?? [])};
  });
  const mean =
    (pick: (layer: ReportLayer) => number | null, write: (value: number) => string) =>
    ({layers}: Kind) => {
      const value = meanOf(layers.flatMap((layer) => pick(layer) ?? []));
      return value === null ? '–' : write(value);
    };
  return table(rows, [
    {title: 'kind', kind: 'path', cell: ({kind}) => kind},
    {title: 'layers', cell: ({layers}) => layers.length},
    {title: 'size', cell: ({layers}) => describeBytes(layers.reduce((sum, {bytes}) => sum + bytes, 0))},
    {
      title: 'target',
      cell: mean(
        ({target}) => target,
        (share) => percent(share),
      ),
    },
    {
      title: 'actual',
      cell: mean(
        ({actual}) => actual,
        (share) => percent(share),
      ),
    },
    ...(layers.some(({outputError}) => outputError !== null)
      ? [
          {
            title: 'output error',
            cell: mean(
              ({outputError}) => outputError,
              (error) => significant(error),
            ),
          },
        ]
      : []),
  ]);
}
