/** @file The quality table: dense, sparse, INT8, beside each other. */
import type {Metric, QualityTable} from '../contents.js';
import {percent} from '../number-format.js';
import {html, type Html} from '../html.js';
import {table} from '../html-table.js';

/** Models in rows, metrics in columns. */
export function qualitySection(quality: QualityTable | null): Html | null {
  if (quality === null) return null;
  const {metrics, rows, on} = quality;
  const hasWeights = rows.some(({weights}) => weights !== null);
  return html`<section>
    <h2>Quality</h2>
    ${table(rows, [
      {title: 'model', kind: 'name', cell: ({name}) => name},
      ...(hasWeights
        ? [
            {
              title: 'weights',
              kind: 'text' as const,
              cell: ({weights}: {weights: string | null}) => weights ?? '–',
            },
          ]
        : []),
      {
        title: 'actual sparsity, mean of layers',
        cell: ({sparsity}) => (sparsity === null ? '–' : percent(sparsity)),
      },
      ...metrics.map((metric, i) => ({
        title: `${metric.title}\u00a0${metric.better === 'lower' ? '↓' : '↑'}`,
        cell: ({values}: {readonly values: readonly (number | null)[]}) =>
          values[i] === null ? '–' : writeMetric(metric, values[i]),
      })),
    ])}
    <p class="note">On ${on}. ↓ lower is better, ↑ higher.</p>
  </section>`;
}

/** A figure as its metric is written. */
export function writeMetric({kind}: Metric, value: number): string {
  if (kind === 'share') return percent(value, 2);
  return Math.abs(value) >= 10 ? value.toFixed(2) : value.toPrecision(4);
}
