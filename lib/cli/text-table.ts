/** @file Plain text tables: columns as wide as their widest cell, numbers to the right. */

export {percent} from '../report/number-format.js';

/** One column: its title and the cell of a row. */
export interface Column<T> {
  readonly title: string;
  readonly cell: (row: T) => string;
  readonly align?: 'left' | 'right';
}

/** The rows as lines of text, titles first. */
export function formatTable<T>(rows: readonly T[], columns: readonly Column<T>[]): string {
  const lines = [columns.map(({title}) => title), ...rows.map((row) => columns.map(({cell}) => cell(row)))];
  const widths = columns.map((_, i) => Math.max(...lines.map((cells) => cells[i].length)));
  return lines
    .map((cells) =>
      cells
        .map((cell, i) => (columns[i].align === 'right' ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
