/**
 * @file The 4-bit block formats of GGUF weights, laid as the INT4 matrices that the kernels read, without quantizing anew: the
 * 4-bit numbers are the file's own. Layouts are those of ggml (https://github.com/ggml-org/ggml, ggml-common.h).
 */
import {float16Bits} from '../../quantization/float16.js';
import {halfWordsOf, setNibble, wordsOf, type Int4Kind, type Int4Values} from '../../quantization/int4.js';
import {kQuantPart} from './dequantize-k.js';

/** Inputs that share a scale, in each of the formats. */
export const GGUF_GROUP_SIZE = 32;

/** The 4-bit numbers of a group, and the float16 bits of what they are multiplied by and of what is added. */
interface Group {
  readonly values: Uint8Array;
  scale: number;
  minimum: number;
}

/** How the groups of one dtype lie in a block. */
interface GroupFormat {
  readonly kind: Exclude<Int4Kind, 'asym'>;
  /** Of a block. */
  readonly bytes: number;
  /** In a block. */
  readonly groups: number;
  /** Reads a group of the block that starts at `block`. */
  readonly read: (source: Uint8Array, block: number, index: number, group: Group) => void;
}

const FORMATS: ReadonlyMap<string, GroupFormat> = new Map<string, GroupFormat>([
  ['Q4_0', {kind: 'sym', bytes: 18, groups: 1, read: readQ40}],
  ['Q4_1', {kind: 'minimum', bytes: 20, groups: 1, read: readQ41}],
  ['Q4_K', {kind: 'minimum', bytes: 144, groups: 8, read: readQ4K}],
]);

/** Columns that are laid together: their part of a group's rows fits the first-level cache. */
const PANEL_COLUMNS = 64;

/** How the INT4 matrix of a dtype is quantized; null if the dtype is another than Q4_0, Q4_1 and Q4_K. */
export function int4KindOf(dtype: string): Int4Kind | null {
  return FORMATS.get(dtype)?.kind ?? null;
}

/**
 * Lays a tensor of a 4-bit dtype as an INT4 matrix.
 *
 * The matrix dequantizes to what the file's definition gives, but for these roundings. Q4_0: each weight is a float16 (2^-11
 * of it). Q4_1: none. Q4_K: the scale and the minimum of a group, which are products of a float16 and an integer below 64, are
 * float16, so that a weight scale * q + minimum differs by at most 2^-11 (|scale * q| + |minimum|).
 *
 * @param dtype Q4_0, Q4_1 or Q4_K.
 * @param source The tensor's blocks, [units, inputs / 32] or [units, inputs / 256].
 * @param shape [units, inputs]; the inputs are whole blocks, as GGUF demands.
 * @param rowOf The row of the file that holds a unit.
 * @returns The transposed matrix, [inputs, units].
 */
export function packInt4(
  dtype: string,
  source: Uint8Array,
  [units, inputs]: readonly [number, number],
  rowOf: (unit: number) => number,
): Int4Values {
  const {kind, bytes, groups: inBlock, read} = FORMATS.get(dtype)!;
  const groups = inputs / GGUF_GROUP_SIZE;
  const [words, halfWords] = [wordsOf(units), halfWordsOf(units)];
  const values = new Int32Array(inputs * words);
  const scale = new Int32Array(groups * halfWords);
  const minimum = kind === 'minimum' ? new Int32Array(groups * halfWords) : null;
  const nibbles = new Uint8Array(values.buffer);
  const scales = new Uint16Array(scale.buffer);
  const minimums = minimum && new Uint16Array(minimum.buffer);
  const rowBytes = (groups / inBlock) * bytes;
  const group: Group = {values: new Uint8Array(GGUF_GROUP_SIZE), scale: 0, minimum: 0};
  for (let first = 0; first < units; first += PANEL_COLUMNS) {
    const end = Math.min(first + PANEL_COLUMNS, units);
    for (let g = 0; g < groups; g++) {
      const block = Math.floor(g / inBlock) * bytes;
      for (let unit = first; unit < end; unit++) {
        read(source, rowOf(unit) * rowBytes + block, g % inBlock, group);
        scales[2 * g * halfWords + unit] = group.scale;
        if (minimums !== null) minimums[2 * g * halfWords + unit] = group.minimum;
        let row = 4 * g * GGUF_GROUP_SIZE * words;
        for (let i = 0; i < GGUF_GROUP_SIZE; i++, row += 4 * words)
          setNibble(nibbles, row, unit, group.values[i]);
      }
    }
  }
  const shape = {rows: inputs, columns: units, groupSize: GGUF_GROUP_SIZE};
  return {...shape, kind, values, scale, zeroPoint: null, minimum};
}

function readQ40(source: Uint8Array, block: number, _index: number, group: Group): void {
  group.scale = bitsAt(source, block);
  readHalves(source, block + 2, group.values);
}

function readQ41(source: Uint8Array, block: number, _index: number, group: Group): void {
  group.scale = bitsAt(source, block);
  group.minimum = bitsAt(source, block + 2);
  readHalves(source, block + 4, group.values);
}

/** Two groups share 32 bytes: the even one has the lower halves. */
function readQ4K(source: Uint8Array, block: number, index: number, group: Group): void {
  const {scale, minimum} = kQuantPart(source, block, index);
  group.scale = float16Bits(scale);
  group.minimum = float16Bits(-minimum);
  const quants = block + 16 + 32 * (index >> 1);
  const shift = 4 * (index & 1);
  for (let i = 0; i < GGUF_GROUP_SIZE; i++) group.values[i] = (source[quants + i] >> shift) & 15;
}

/** The first 16 values of a group are the lower halves of 16 bytes, the others the upper halves. */
function readHalves(source: Uint8Array, start: number, values: Uint8Array): void {
  for (let i = 0; i < 16; i++) {
    const byte = source[start + i];
    values[i] = byte & 15;
    values[16 + i] = byte >> 4;
  }
}

function bitsAt(source: Uint8Array, offset: number): number {
  return source[offset] | (source[offset + 1] << 8);
}
