/** @file The figures of the README's picture, out of the tables of scripts/bench/README.md. */

/** What a bar stands for. */
export type Kind = 'stock' | 'llama.cpp' | 'dense' | 'sparse' | 'allocated';

export interface Bar {
  readonly label: string;
  readonly kind: Kind;
  readonly value: number;
  /** The value as the table writes it. */
  readonly text: string;
}

/** Bars that are compared with each other. */
export interface BarGroup {
  readonly name: string;
  readonly bars: readonly Bar[];
}

export interface Figures {
  readonly tokensPerSecond: readonly BarGroup[];
  readonly wordPerplexity: readonly BarGroup[];
}

/** Weights of this package beside llama.cpp's of the same bytes, in the order of its cell `F32 / F16 / Q8_0 / Q4_1`. */
const FORMATS = ['float32', 'bfloat16', 'INT8'];

/** Rows of the table of allocation: their first cell, and how the picture calls them. */
const SPARSITIES = [
  {row: 'gate and up 30 %, down 50 %: 36.7 %', name: '36.7 % (FFN)'},
  {row: 'all projections 50 %', name: '50 % (all)'},
];

/**
 * Reads the figures.
 *
 * @param guide The text of scripts/bench/README.md.
 * @throws {Error} If a row is not there.
 */
export function readFigures(guide: string): Figures {
  const decoding = rowsOf(guide, 'Decoding of a language model');
  const allocation = rowsOf(guide, 'Allocation');
  const llamaCpp = cells(decoding, 'llama.cpp, F32 / F16 / Q8_0 / Q4_1')[1].split(' / ');
  const speed = (row: string) => cells(decoding, row)[1];
  return {
    tokensPerSecond: FORMATS.map((format, i) => ({
      name: format,
      bars: [
        ...(i === 0 ? [bar("tfjs-node's layers", 'stock', speed("tfjs-node's layers, float32"))] : []),
        bar('llama.cpp', 'llama.cpp', llamaCpp[i]),
        bar('here, dense', 'dense', speed(format)),
        bar('here, 50 % sparse', 'sparse', speed(`${format}, all projections at 50 %`)),
      ],
    })),
    wordPerplexity: [
      {name: 'dense', bars: [bar('dense', 'dense', cells(allocation, 'dense')[1])]},
      ...SPARSITIES.map(({row, name}) => {
        const [, uniform, allocated] = cells(allocation, row);
        return {
          name,
          bars: [bar('uniform', 'sparse', uniform), bar('allocated', 'allocated', allocated)],
        };
      }),
    ],
  };
}

function bar(label: string, kind: Kind, cell: string): Bar {
  const text = /^[\d.]+/.exec(cell)?.[0];
  if (text === undefined) throw new Error(`"${cell}" begins with no number`);
  return {label, kind, value: Number(text), text};
}

/** The cells of all rows of all tables below a heading. */
function rowsOf(guide: string, heading: string): readonly (readonly string[])[] {
  const section = guide.split(/^## /m).find((part) => part.startsWith(`${heading}\n`));
  if (section === undefined) throw new Error(`scripts/bench/README.md has no section "${heading}"`);
  return section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
}

function cells(rows: readonly (readonly string[])[], first: string): readonly string[] {
  const found = rows.find(([cell]) => cell === first);
  if (found === undefined) throw new Error(`scripts/bench/README.md has no row "${first}"`);
  return found;
}
