/**
 * @file JSON lines (jsonlines.org) as batches: on every line one item, an array of numbers nested to any depth
 * or an object of such arrays by input name. All lines must have the first line's names and shapes.
 */

import {FileError} from '../../errors.js';
import {pickNames, type ArrayBatch, type ArraySource} from './array-batches.js';
import {fileChunks} from '../files/file-chunks.js';
import {TextPieces} from '../files/decode-text.js';
import {flattenNumbers, type FlatNumbers} from './nested-numbers.js';
import type {NumericArray} from './npy-values.js';

/** An item of 4 million numbers; a longer line is no item of a batch. */
const MAX_LINE_CHARACTERS = 64 * 1024 ** 2;
const LINE_END = /\r\n|\n|\r/;
/** Names that would reach an object's prototype. */
const FORBIDDEN_NAMES: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** How lines are read. */
export interface JsonLinesOptions {
  /** Which names of the objects to read; all by default. */
  readonly inputNames?: readonly string[];
  /** Whether a line may be a single number, as in a file of labels. */
  readonly numbers?: boolean;
}

/** A JSON-lines file; read line by line, so it may be larger than memory. */
export function jsonLinesFile(path: string, options: JsonLinesOptions = {}): ArraySource {
  return {
    itemCount: () => Promise.resolve(undefined),
    holdsBytes: () => Promise.resolve(false),
    batches: (batchSize) => readBatches(path, batchSize, options),
  };
}

async function* readBatches(
  path: string,
  batchSize: number,
  options: JsonLinesOptions,
): AsyncGenerator<ArrayBatch> {
  let first: ReadonlyMap<string, FlatNumbers> | undefined;
  let items: ReadonlyMap<string, FlatNumbers>[] = [];
  let lineNumber = 0;
  for await (const line of readLines(path)) {
    lineNumber++;
    if (line.trim() === '') continue;
    const item = parseLine(line, `${path}, line ${lineNumber}`, options);
    first ??= item;
    checkLikeFirst(item, first, `${path}, line ${lineNumber}`);
    items.push(item);
    if (items.length === batchSize) {
      yield stack(items);
      items = [];
    }
  }
  if (items.length > 0) yield stack(items);
}

/** The lines of a file, which may end as Unix, Windows or an old Mac ends them. */
async function* readLines(path: string): AsyncGenerator<string> {
  const pieces = new TextPieces(path);
  let parts: string[] = [];
  let length = 0;
  let afterReturn = false;
  const take = function* (piece: string): Generator<string> {
    if (piece === '') return;
    // The other half of a line's end that lies between two pieces.
    const text = afterReturn && piece.startsWith('\n') ? piece.slice(1) : piece;
    afterReturn = piece.endsWith('\r');
    for (const [i, part] of text.split(LINE_END).entries()) {
      if (i > 0) {
        yield parts.join('');
        parts = [];
        length = 0;
      }
      parts.push(part);
      length += part.length;
      if (length > MAX_LINE_CHARACTERS) throw tooLong(path);
    }
  };
  for await (const chunk of fileChunks(path)) yield* take(pieces.add(chunk));
  yield* take(pieces.end());
  if (length > 0) yield parts.join('');
}

function tooLong(path: string): FileError {
  return new FileError(
    'too-large',
    `${path} has a line of over ${MAX_LINE_CHARACTERS} characters: write one item a line`,
    {path},
  );
}

function parseLine(
  line: string,
  where: string,
  {inputNames, numbers}: JsonLinesOptions,
): Map<string, FlatNumbers> {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (cause) {
    const name = /(?<!["\w])(?:NaN|-?Infinity)(?!["\w])/.exec(line)?.[0];
    const why =
      name === undefined
        ? 'was the file cut off?'
        : `it holds ${name}, a number that JSON does not have; leave out items without a finite value for each number`;
    throw new FileError('malformed-json', `${where} is not JSON: ${why}`, {where}, {cause});
  }
  if (Array.isArray(json) && inputNames !== undefined && inputNames.length > 1) {
    const object = inputNames.map((name) => `${JSON.stringify(name)}: [...]`).join(', ');
    throw new FileError(
      'malformed-item',
      `${where} is an array, which does not tell ${inputNames.join(' from ')}; write an object by name: {${object}}`,
      {where, inputNames},
    );
  }
  if (Array.isArray(json) || (numbers === true && typeof json === 'number'))
    return new Map([['', finite(flattenNumbers(json, where), where)]]);
  if (typeof json !== 'object' || json === null) {
    throw new FileError(
      'malformed-item',
      `${where} is ${JSON.stringify(json)}; it must be an array or an object of arrays`,
      {where},
    );
  }
  const entries = new Map<string, unknown>(Object.entries(json));
  return new Map(
    pickNames([...entries.keys()], inputNames, where).map((name) => {
      if (FORBIDDEN_NAMES.has(name))
        throw new FileError('forbidden-key', `${where} has a key "${name}"`, {where, name});
      const here = `${where}, "${name}"`;
      return [name, finite(flattenNumbers(entries.get(name), here), here)];
    }),
  );
}

/** JSON has no infinity: a number that reads as one is beyond what a double holds. */
function finite(numbers: FlatNumbers, where: string): FlatNumbers {
  const index = numbers.values.findIndex((value) => !Number.isFinite(value));
  if (index < 0) return numbers;
  throw new FileError(
    'out-of-range',
    `${where} has a number that is too large to be read (value ${index}, beyond 1.8e308): leave that item out`,
    {where, index},
  );
}

function checkLikeFirst(
  item: ReadonlyMap<string, FlatNumbers>,
  first: ReadonlyMap<string, FlatNumbers>,
  where: string,
): void {
  const describe = (of: ReadonlyMap<string, FlatNumbers>) =>
    [...of]
      .map(([name, {shape}]) => `${name === '' ? 'an array' : name} [${shape.join(', ')}]`)
      .sort()
      .join(', ');
  const [found, expected] = [describe(item), describe(first)];
  if (found === expected) return;
  throw new FileError('ragged-item', `${where} has ${found}; the first line has ${expected}`, {
    where,
    found,
    expected,
  });
}

function stack(items: readonly ReadonlyMap<string, FlatNumbers>[]): ArrayBatch {
  const batch = new Map<string, NumericArray>();
  for (const [name, {shape}] of items[0]) {
    const rows = items.map((item) => item.get(name)?.values ?? []);
    batch.set(name, {
      values: Float64Array.from(rows.flat()),
      shape: [items.length, ...shape],
      dtype: 'float32',
    });
  }
  return batch;
}
