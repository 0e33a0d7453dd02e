/** @file How model and report were made: commands, hashes of what went in, versions. */
import type {ReportContents, Step} from '../report-contents.js';
import {describeBytes} from '../number-format.js';
import {html, type Html} from '../html.js';
import {table} from '../html-table.js';

/** Null if neither is known. */
export function originSection({steps, measurement}: ReportContents): Html | null {
  if (steps.length === 0 && measurement === null) return null;
  return html`<section>
    <h2>How it was made</h2>
    ${
      steps.length > 0 &&
      html`<h3>The model</h3>
        ${steps.map(describeStep)}`
    }
    ${
      measurement !== null &&
      html`<h3>This report</h3>
        ${describeStep(measurement)}`
    }
  </section>`;
}

function describeStep({command, inputs, versions}: Step): Html {
  const files = inputs.flatMap(({role, files}) => files.map((file) => ({role, ...file})));
  const used = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return html`<pre>${command}</pre>
    ${
      files.length > 0 &&
      table(files, [
        {title: 'input', kind: 'text', cell: ({role}) => role},
        {title: 'file', kind: 'path', cell: ({name}) => name},
        {title: 'size', cell: ({bytes}) => describeBytes(bytes)},
        {title: 'SHA-256', kind: 'text', cell: ({sha256}) => html`<span class="hash">${sha256}</span>`},
      ])
    }
    <p class="note">${used.join(' · ')}</p>`;
}
