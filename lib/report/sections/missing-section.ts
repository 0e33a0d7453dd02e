/** @file What a report could hold and does not, and the command that measures it. */
import type {ReportContents} from '../report-contents.js';
import {html, type Html} from '../html.js';

/** A figure that needs data, or the times of the layers. */
interface Gap {
  readonly what: string;
  readonly options: readonly string[];
}

/** Null if nothing is missing. */
export function missing(contents: ReportContents): Html | null {
  const gaps = gapsOf(contents);
  if (gaps.length === 0) return null;
  const options = [...new Set(gaps.flatMap(({options}) => options))];
  return html`<p class="note">
    Not in this report: ${gaps.map(({what}) => what).join('; ')}. Measured by
    <code>tfjs-sparsify report MODEL ${options.join(' ')}</code>.
  </p>`;
}

function gapsOf({measured: {layers}, quality, latency, bench, unit}: ReportContents): Gap[] {
  const data = unit === 'token' ? ['--data TEXT'] : ['--data FILE'];
  const sparsified = layers.filter((layer) => layer.sparsified);
  const hasErrors = sparsified.length === 0 || sparsified.some(({outputError}) => outputError !== null);
  return [
    ...(quality === null
      ? [{what: 'quality', options: unit === 'token' ? data : [...data, '--labels FILE']}]
      : []),
    ...(hasErrors ? [] : [{what: 'the error of each layer’s output', options: data}]),
    ...(latency === null ? [{what: 'latency', options: data}] : []),
    ...(bench === null ? [{what: 'from which sparsity on each layer gains', options: ['--bench']}] : []),
  ];
}
