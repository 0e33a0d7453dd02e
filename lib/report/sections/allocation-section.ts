/** @file How the sparsity was spread over the layers: what was asked for, what it was chosen from, what each layer got. */
import type {Allocation, TradeOffPoint} from '../../metadata/allocation.js';
import type {Arrangement} from '../layers-by-kind.js';
import {describeMs, percent, significant, times} from '../number-format.js';
import {html, type Html} from '../html.js';
import type {PlotDrawer} from '../plot-drawer.js';
import {drawProbesAndTargets, drawTradeOff, showsLoss} from '../plots/allocation-plot.js';
import {drawLayerValues} from '../plots/layer-values.js';
import {seriesColor} from '../series.js';
import {describeAmount, describeLoss, describeTarget} from '../wording.js';
import {table, type ReportColumn} from '../html-table.js';

const METHODS: Readonly<Record<Allocation['method'], string>> = {
  local:
    'Method local: each layer was masked alone, at two shares of its inputs, and the error taken where its branch joins ' +
    'the others again, as at the end of its block; sparsity goes where that error grows least',
  uniform: 'Method uniform: every layer the same',
  greedy: 'Method greedy: step by step, block by block, as TEAL does',
};

/** Null without an allocation. */
export function allocationSection(
  drawer: PlotDrawer,
  allocation: Allocation | null,
  arrangement: Arrangement | null,
): Html | null {
  if (allocation === null) return null;
  const {method, target, met, sparsity, probes, weighting, metric} = allocation;
  const curve = drawTradeOff(drawer, allocation);
  const probesAndTargets = drawProbesAndTargets(drawer, allocation, arrangement);
  const errors =
    probes === null
      ? null
      : drawLayerValues(drawer, {
          label: 'Error of the probe of each layer',
          scale: 'log',
          values: probes.layers.map(({path, error}) => ({path, value: error})),
          arrangement,
        });
  return html`<section>
    <h2>Allocation</h2>
    <p>
      ${METHODS[method]}. Asked for:
      ${describeTarget(target, metric)}${met ? ', which is met' : ', which no allocation within the bounds meets: this one comes nearest'}.
      Mean sparsity ${percent(sparsity)}, weighted by
      ${weighting === 'weights' ? 'weight count' : 'the layers’ time'}.
    </p>
    <div class="plots">
      ${
        curve !== null &&
        html`<figure>
          ${curve}
          <figcaption>
            What was chosen from,
            ${showsLoss(allocation.curve) ? 'measured on data that calibration did not see' : 'computed from the probes'}.
            ${sparsity > 0 && 'The ring is what was chosen.'}
          </figcaption>
        </figure>`
      }
      ${
        probesAndTargets !== null &&
        html`<figure>
          ${probesAndTargets}${arrangement !== null && kindLegend(arrangement)}
          <figcaption>What each layer got, by what masking it alone costs.</figcaption>
        </figure>`
      }
      ${
        errors !== null &&
        html`<figure>
          ${errors}
          <figcaption>
            Probe of each layer: relative squared error where its branch joins again, with
            ${percent(probes!.level, 0)} of its inputs masked, ${probes!.rows.toLocaleString('en')} rows. A
            second one masks ${percent(probes!.upperLevel, 0)}.
          </figcaption>
        </figure>`
      }
    </div>
    ${curveTable(allocation)}
  </section>`;
}

/** The points of the curve as figures: paper and phones have no tooltips. */
function curveTable({curve, chosen, metric}: Allocation): Html | null {
  if (curve.length < 2) return null;
  const column = (
    title: string,
    pick: (point: TradeOffPoint) => number | null,
    write: (value: number, point: TradeOffPoint) => string,
  ): ReportColumn<TradeOffPoint>[] =>
    curve.some((point) => pick(point) !== null)
      ? [{title, cell: (point) => (pick(point) === null ? '–' : write(pick(point)!, point))}]
      : [];
  return html`<details>
    <summary>Figures of the curve <span class="note">${curve.length} points</span></summary>
    ${table(
      curve,
      [
        {title: 'mean sparsity', cell: ({sparsity}) => percent(sparsity)},
        ...column(
          'predicted error',
          ({predictedError}) => predictedError,
          (error) => significant(error),
        ),
        ...column(
          'loss',
          ({loss}) => loss,
          (loss, {lossError}) =>
            describeLoss(loss, metric) +
            (lossError === null ? '' : `, standard error ${describeAmount(lossError, metric)}`),
        ),
        ...column(
          'latency',
          ({latencyMs}) => latencyMs,
          (ms, {latencyMeasured}) => `${describeMs(ms)}${latencyMeasured ? '' : ', computed'}`,
        ),
        ...column('against dense', ({speedup}) => speedup, times),
        {title: '', kind: 'text', cell: (point) => (point === curve[chosen] ? 'chosen' : '')},
      ],
      (point) => point === curve[chosen],
    )}
  </details>`;
}

function kindLegend({kinds}: Arrangement): Html {
  return html`<ul class="legend">
    ${kinds.map((kind, i) => html`<li><i style="--c:${seriesColor(i)}"></i>${kind}</li>`)}
  </ul>`;
}
