/** @file The quality table: dense, sparse, packed, beside each other. */
import type {QualityTable} from '../report-contents.js';
import {html, type Html} from '../html.js';
import {percent} from '../number-format.js';
import {table} from '../html-table.js';
import {writeMetric} from '../wording.js';

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
