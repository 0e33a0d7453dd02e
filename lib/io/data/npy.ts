/**
 * @file NumPy's `.npy` format, versions 1 to 3 (numpy.lib.format, NEP 1), read in batches of rows so that a
 * file may be larger than memory. Pickled objects, records, and strings are refused; an array in Fortran's order is read whole.
 */

import {FileError} from '../../errors.js';
import type {ByteReader} from '../files/byte-reader.js';
import {ELEMENT_TYPES, swapBytes, type ElementType, type NumericArray} from './npy-values.js';

/** What a `.npy` file starts with, in Latin-1. */
const NPY_MAGIC = '\x93NUMPY';
/** Bytes of the magic string. */
export const NPY_MAGIC_BYTES = NPY_MAGIC.length;
/** NumPy's own limit for headers it does not trust is 10,000 characters. */
const MAX_HEADER_BYTES = 64 * 1024;
/** NumPy's own limit. */
const MAX_RANK = 64;
/** The header and what comes before it are padded to this, so that the data is aligned. */
const ALIGNMENT = 64;

/** What the header of an array says, checked against how many bytes there are. */
export interface NpyHeader {
  readonly element: ElementType;
  readonly bigEndian: boolean;
  /** Fortran's order, in which the first index runs fastest: rows do not lie together, so the array is read whole. */
  readonly columnMajor: boolean;
  /** At least one dimension: rows first. */
  readonly shape: readonly number[];
}

/** Whether bytes, of which there are at least `NPY_MAGIC_BYTES`, start as a `.npy` file does. */
export function isNpyStart(bytes: Uint8Array): boolean {
  return latin1(NPY_MAGIC).every((byte, i) => byte === bytes[i]);
}

/**
 * Reads the header.
 *
 * @param reader At the first byte of the array's file.
 * @param byteLength Bytes of that file in all.
 * @returns The header; the reader is at the data then.
 * @throws FileError `not-npy`, `malformed-npy`, `unsupported-npy` or `truncated`.
 */
export async function readNpyHeader(reader: ByteReader, byteLength: number): Promise<NpyHeader> {
  const fail = (code: string, text: string): never => {
    throw new FileError(code, `${reader.source}: ${text}`, {path: reader.source, offset: reader.offset});
  };
  const start = await reader.read(8, 'the .npy magic string');
  if (!isNpyStart(start)) {
    return fail('not-npy', 'it does not start as a .npy file does: write it with numpy.save');
  }
  const version = start[6];
  if (version < 1 || version > 3)
    return fail('unsupported-npy', `.npy version ${version}; 1, 2 and 3 are known`);
  const lengthBytes = version === 1 ? 2 : 4;
  const lengthField = await reader.read(lengthBytes, 'the header length');
  const headerLength = lengthField.reduceRight((length, byte) => 256 * length + byte, 0);
  if (headerLength > MAX_HEADER_BYTES) {
    return fail('malformed-npy', `its header claims ${headerLength} bytes; at most ${MAX_HEADER_BYTES}`);
  }
  const text = new TextDecoder().decode(await reader.read(headerLength, 'the header'));

  const descr = /['"]descr['"]\s*:\s*['"]([<>=|]?)([a-zA-Z])(\d*)/.exec(text);
  const order = /['"]fortran_order['"]\s*:\s*(True|False)/.exec(text);
  // Python 2 writes long integers with an L.
  const dimensions = /['"]shape['"]\s*:\s*\(((?:\d+L?|[\s,])*)\)/.exec(text);
  if (order === null || dimensions === null)
    return fail('malformed-npy', `its header is ${JSON.stringify(text)}`);
  const element = descr === null ? undefined : ELEMENT_TYPES[descr[2] + descr[3]];
  if (descr === null || element === undefined) {
    return fail(
      'unsupported-npy',
      `element type ${/['"]descr['"]\s*:\s*([^,]*)/.exec(text)?.[1] ?? 'missing'}; known are ` +
        `${Object.keys(ELEMENT_TYPES).join(', ')}: convert it with array.astype('float32')`,
    );
  }
  const shape = dimensions[1]
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map((part) => Number(part.replace('L', '')));
  if (shape.length === 0)
    return fail('unsupported-npy', 'it holds a single number; the first dimension must be the items');
  if (shape.length > MAX_RANK)
    return fail('malformed-npy', `it has ${shape.length} dimensions; at most ${MAX_RANK}`);
  const claimed = shape.reduce((product, size) => product * size, element.bytes);
  const found = byteLength - reader.offset;
  if (claimed !== found) {
    return fail(
      claimed > found ? 'truncated' : 'malformed-npy',
      `shape (${shape.join(', ')}) takes ${claimed} bytes from byte ${reader.offset}, but ${found} are there: ` +
        'copy or make it again',
    );
  }
  const columnMajor = order[1] === 'True' && shape.filter((size) => size > 1).length > 1;
  return {element, bigEndian: descr[1] === '>', columnMajor, shape};
}

/**
 * Reads the next rows.
 *
 * @param reader At the first byte of a row.
 * @param header What `readNpyHeader` returned.
 * @param rows How many; the caller knows that so many are left.
 * @returns Values [rows, ...], in memory of their own.
 * @throws FileError `truncated`, `too-large`, or `out-of-range` for an integer beyond int32.
 */
export async function readNpyRows(
  reader: ByteReader,
  header: NpyHeader,
  rows: number,
): Promise<NumericArray> {
  const {
    element,
    bigEndian,
    shape: [, ...rowShape],
  } = header;
  const shape = [rows, ...rowShape];
  const start = reader.offset;
  const length = shape.reduce((product, size) => product * size, element.bytes);
  const bytes = await reader.read(length, `${rows} rows of shape (${rowShape.join(', ')})`);
  if (bigEndian) swapBytes(bytes, element.bytes);
  try {
    return {values: element.decode(bytes), shape, dtype: element.dtype};
  } catch (cause) {
    if (!(cause instanceof FileError) || typeof cause.data['index'] !== 'number') throw cause;
    const offset = start + cause.data['index'] * element.bytes;
    throw new FileError(cause.code, `${reader.source}, byte ${offset}: ${cause.message}`, {
      path: reader.source,
      offset,
    });
  }
}

/**
 * Puts an array in Fortran's order into that of rows.
 *
 * @param array All of it, as it was read.
 * @returns The same array, row-major, in memory of its own.
 */
export function rowMajor({values, shape, dtype}: NumericArray): NumericArray {
  const ordered = values.slice();
  const strides = shape.map((_, axis) => shape.slice(0, axis).reduce((product, size) => product * size, 1));
  const index = shape.map(() => 0);
  let from = 0;
  for (let to = 0; to < ordered.length; to++) {
    ordered[to] = values[from];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) break;
      from -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return {values: ordered, shape, dtype};
}

/**
 * Writes an array of bytes or floats as a `.npy` file (version 1).
 *
 * @param values uint8, int32 or float32, row-major.
 * @param shape Their dimensions.
 * @returns The file's content.
 */
export function encodeNpy(
  values: Uint8Array | Int32Array | Float32Array,
  shape: readonly number[],
): Uint8Array {
  const descr = values instanceof Float32Array ? '<f4' : values instanceof Int32Array ? '<i4' : '|u1';
  const dimensions = shape.length === 1 ? `${shape[0]},` : shape.join(', ');
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${dimensions}), }`;
  const prefix = NPY_MAGIC.length + 4; // magic, version, header length
  const padded = Math.ceil((prefix + header.length + 1) / ALIGNMENT) * ALIGNMENT - prefix;
  const head = latin1(`${NPY_MAGIC}\x01\x00\x00\x00${header.padEnd(padded - 1)}\n`);
  new DataView(head.buffer).setUint16(NPY_MAGIC_BYTES + 2, padded, true);
  const file = new Uint8Array(head.byteLength + values.byteLength);
  file.set(head);
  file.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), head.byteLength);
  return file;
}

/** The characters of a text, none beyond 255, as bytes. */
function latin1(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
