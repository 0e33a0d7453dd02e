/** @file Tables of a report. */
import {html, type Html, type HtmlValue} from './html.js';

/** One column: its title and the cell of a row. */
export interface ReportColumn<T> {
  readonly title: string;
  readonly cell: (row: T) => HtmlValue;
  /** `name` heads its row, `path` does in a fixed pitch; numbers by default. */
  readonly kind?: 'name' | 'path' | 'text' | 'number';
}

/** A table that scrolls by itself where the page is too narrow. */
export function table<T>(
  rows: readonly T[],
  columns: readonly ReportColumn<T>[],
  isBest: (row: T) => boolean = () => false,
): Html {
  const heads = columns.map(({title, kind}) => html`<th scope="col" class="${classOf(kind)}">${title}</th>`);
  const lines = rows.map((row) => {
    const cells = columns.map(({cell, kind}) =>
      kind === 'name' || kind === 'path'
        ? html`<th scope="row" class="${classOf(kind)}">${cell(row)}</th>`
        : html`<td class="${classOf(kind)}">${cell(row)}</td>`,
    );
    return html`<tr class="${isBest(row) ? 'best' : ''}">
      ${cells}
    </tr>`;
  });
  return html`<div class="scroll">
    <table>
      <thead>
        <tr>
          ${heads}
        </tr>
      </thead>
      <tbody>
        ${lines}
      </tbody>
    </table>
  </div>`;
}

function classOf(kind: ReportColumn<unknown>['kind'] = 'number'): string {
  return {name: '', path: 'path', text: '', number: 'n'}[kind];
}
