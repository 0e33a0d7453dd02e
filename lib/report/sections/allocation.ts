/** @file How the sparsity was spread over the layers: what was asked for, what it was chosen from, what each layer got. */
import type {Allocation, AllocationTarget} from '../../allocation/contract.js';
import type {Arrangement} from '../arrangement.js';
import {describeMs, percent, times} from '../figures.js';
import {html, type Html} from '../html.js';
import type {Pen} from '../pen.js';
import {describeLoss, drawProbesAndTargets, drawTradeOff} from '../plots/allocation.js';
import {drawLayerValues} from '../plots/layer-values.js';
import {seriesColor} from '../series.js';

const METHODS: Readonly<Record<Allocation['method'], string>> = {
  local:
    'local: two probes a layer, where its branch joins again, and the law of the odds between and beyond them',
  uniform: 'uniform: every layer the same',
  greedy: 'greedy, block by block, as TEAL does',
};

/** Null without an allocation. */
export function allocationSection(
  pen: Pen,
  allocation: Allocation | null,
  arrangement: Arrangement | null,
): Html | null {
  if (allocation === null) return null;
  const {method, target, met, sparsity, probes, weighting, metric} = allocation;
  const curve = drawTradeOff(pen, allocation);
  const probesAndTargets = drawProbesAndTargets(pen, allocation, arrangement);
  const errors =
    probes === null
      ? null
      : drawLayerValues(pen, {
          label: 'Error of the probe of each layer',
          scale: 'log',
          values: probes.layers.map(({path, error}) => ({path, value: error})),
          arrangement,
        });
  return html`<section>
    <h2>Allocation</h2>
    <p>
      ${METHODS[method]}. Asked for:
      ${askedFor(target, metric)}${met ? '' : ', which no allocation within the bounds meets: this one comes nearest'}.
      Mean sparsity ${percent(sparsity)}, weighted by
      ${weighting === 'weights' ? 'weight count' : 'the layers’ time'}.
    </p>
    <div class="plots">
      ${
        curve !== null &&
        html`<figure>
          ${curve}
          <figcaption>What was chosen from; the ring is what was chosen.</figcaption>
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
  </section>`;
}

function kindLegend({kinds}: Arrangement): Html {
  return html`<ul class="legend">
    ${kinds.map((kind, i) => html`<li><i style="--c:${seriesColor(i)}"></i>${kind}</li>`)}
  </ul>`;
}

/** The target in words. */
export function askedFor(
  {sparsity, maxLoss, speedup, latencyMs}: AllocationTarget,
  metric: Allocation['metric'],
): string {
  const wishes = [
    sparsity === undefined ? [] : `a mean sparsity of ${percent(sparsity)}`,
    maxLoss === undefined ? [] : `at most ${describeLoss(maxLoss, metric)}`,
    speedup === undefined ? [] : `${times(speedup)} the dense speed`,
    latencyMs === undefined ? [] : `${describeMs(latencyMs)} a prediction`,
  ].flat();
  return wishes.join(' and ');
}
