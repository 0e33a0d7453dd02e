/**
 * @file The header of a safetensors file, checked: 8 bytes of length, then JSON from tensor names to dtype, shape and
 * byte range, then the data. Rules are those of the format (https://github.com/huggingface/safetensors): ranges lie one
 * behind the other from 0 to the end of the file, without holes or overlap.
 */
import {ModelError} from '../../errors.js';

/** The reference implementation's own limit; the largest header published is below 10 MB. */
export const MAX_HEADER_BYTES = 100_000_000;
/** More than any model of these families: the largest has 40 tensors a layer and expert. */
const MAX_TENSORS = 200_000;
/** Weights of these families have 1 or 2 dimensions, merged experts 3. */
const MAX_RANK = 8;

/** Bytes of one value of every dtype of the format that ends at whole bytes. */
const BYTES: Readonly<Record<string, number>> = {
  ...{F64: 8, I64: 8, U64: 8, C64: 8, F32: 4, I32: 4, U32: 4},
  ...{F16: 2, BF16: 2, I16: 2, U16: 2, F8_E4M3: 1, F8_E5M2: 1, F8_E8M0: 1, I8: 1, U8: 1, BOOL: 1},
};

/** Where a tensor lies in its file. */
export interface SafetensorsEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** First byte of its data, from the start of the file. */
  readonly start: number;
  readonly bytes: number;
}

/**
 * Parses and checks a header.
 *
 * @param text The JSON.
 * @param dataStart Where the data starts in the file.
 * @param fileSize Size of the file in bytes.
 * @param path The file, for errors.
 * @returns The tensors in the order of their data.
 * @throws {ModelError} `malformed-header`, `duplicate-tensor`, `malformed-tensor`, `overlapping-tensors`, `truncated`.
 */
export function parseSafetensorsHeader(
  text: string,
  dataStart: number,
  fileSize: number,
  path: string,
): SafetensorsEntry[] {
  const header = parseObject(text, path);
  checkDuplicates(text, path);
  const named = Object.entries(header).filter(([name]) => name !== '__metadata__');
  if (named.length > MAX_TENSORS) {
    throw new ModelError(
      'malformed-header',
      `${path} lists ${named.length} tensors; at most ${MAX_TENSORS} are read: this is no checkpoint of these families`,
      {path},
    );
  }
  const entries = named.map(([name, value]) => parseEntry(name, value, dataStart, path));
  entries.sort((a, b) => a.start - b.start || a.bytes - b.bytes);
  checkRanges(entries, dataStart, fileSize, path);
  return entries;
}

function parseObject(text: string, path: string): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'unreadable';
    throw new ModelError(
      'malformed-header',
      `the header of ${path} is not JSON (${reason}): download it again`,
      {path},
      {cause},
    );
  }
  if (typeof header === 'object' && header !== null && !Array.isArray(header)) {
    return header as Record<string, unknown>;
  }
  throw new ModelError('malformed-header', `the header of ${path} is no JSON object: download it again`, {
    path,
  });
}

function parseEntry(name: string, value: unknown, dataStart: number, path: string): SafetensorsEntry {
  const fail = (what: string): never => {
    const tensor = JSON.stringify(name.slice(0, 200));
    throw new ModelError('malformed-tensor', `tensor ${tensor} in ${path} ${what}: download the file again`, {
      path,
      tensor: name,
    });
  };
  if (typeof value !== 'object' || value === null) return fail('is described by no object');
  const {dtype, shape, data_offsets: range} = value as Record<string, unknown>;
  if (typeof dtype !== 'string' || !Object.hasOwn(BYTES, dtype)) {
    return fail(`has dtype ${shown(dtype)}; known are ${Object.keys(BYTES).join(', ')}`);
  }
  if (!isSizes(shape) || shape.length > MAX_RANK) {
    return fail(`has shape ${shown(shape)}; at most ${MAX_RANK} whole numbers are allowed`);
  }
  if (!isSizes(range) || range.length !== 2 || range[0] > range[1]) {
    return fail(`has data_offsets ${shown(range)}; they are [first byte, byte behind the last]`);
  }
  const bytes = range[1] - range[0];
  const needed = shape.reduce((product, size) => product * size, BYTES[dtype]);
  if (needed !== bytes) {
    return fail(
      `has ${bytes} bytes of data, but its shape [${shape.join(', ')}] of ${dtype} takes ${needed}`,
    );
  }
  return {name, dtype, shape, start: dataStart + range[0], bytes};
}

function checkRanges(
  entries: readonly SafetensorsEntry[],
  dataStart: number,
  fileSize: number,
  path: string,
): void {
  let end = dataStart;
  let previous = 'the header';
  for (const {name, start, bytes} of entries) {
    if (start !== end) {
      const what = start < end ? 'overlaps' : `leaves ${start - end} bytes of hole behind`;
      throw new ModelError(
        'overlapping-tensors',
        `tensor "${name}" in ${path} ${what} ${previous}; tensors lie one behind the other: download the file again`,
        {path, tensor: name},
      );
    }
    end = start + bytes;
    previous = `"${name}"`;
  }
  if (end === fileSize) return;
  throw new ModelError(
    end > fileSize ? 'truncated' : 'overlapping-tensors',
    end > fileSize
      ? `${path} is ${fileSize} bytes, but tensor ${previous} ends at byte ${end}: the file was cut off, download it again`
      : `${path} has ${fileSize - end} bytes behind its last tensor ${previous}: download it again`,
    {path, size: fileSize, needed: end, tensor: entries.at(-1)?.name},
  );
}

/** `JSON.parse` keeps the last of two entries of one name; the keys of the outermost object are looked at in the text. */
function checkDuplicates(text: string, path: string): void {
  const seen = new Set<string>();
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '{' || character === '[') depth++;
    else if (character === '}' || character === ']') depth--;
    else if (character === '"') {
      const start = i;
      for (i++; text[i] !== '"'; i++) if (text[i] === '\\') i++;
      // Strings at depth 1 are names: values there are objects.
      if (depth !== 1) continue;
      const name = text.slice(start, i + 1);
      if (seen.has(name)) {
        throw new ModelError(
          'duplicate-tensor',
          `${path} lists tensor ${name.slice(0, 200)} twice, so it is not clear which is meant: download it again`,
          {path, tensor: name},
        );
      }
      seen.add(name);
    }
  }
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && (size as number) >= 0);
}

/** A value from the header, cut to what helps; nothing nested, since that may be as deep as the header is long. */
function shown(value: unknown): string {
  const flat = (item: unknown) => (typeof item === 'object' && item !== null ? '…' : JSON.stringify(item));
  const text = Array.isArray(value)
    ? `[${value
        .slice(0, MAX_RANK + 1)
        .map(flat)
        .join(', ')}]`
    : flat(value);
  return (text ?? 'none').slice(0, 80);
}
