/**
 * @file The block formats of GGUF weights, widened to float32. A block holds 32 or 256 neighbours of a row with their
 * scale. Layouts are those of ggml (https://github.com/ggml-org/ggml, ggml-common.h); results equal its own in every
 * bit: products of a half-float scale and a small integer are exact, and the sum with the minimum is rounded once.
 */
import {ModelError} from '../../errors.js';
import {float16At, widenBfloat16, widenFloat16} from './half-floats.js';
import {dequantizeQ4K, dequantizeQ5K, dequantizeQ6K} from './dequantize-k.js';

/** How one dtype lies in the file. */
export interface BlockFormat {
  /** Values of a block; a row has whole blocks. */
  readonly values: number;
  /** Bytes of a block. */
  readonly bytes: number;
  /** Widens whole blocks. */
  readonly widen: (source: Uint8Array, target: Float32Array) => void;
}

/** By name of the dtype in ggml. */
export const BLOCK_FORMATS: Readonly<Record<string, BlockFormat>> = {
  F32: {values: 1, bytes: 4, widen: (source, target) => bytesOf(target).set(source)},
  F16: {values: 1, bytes: 2, widen: (source, target) => widenFloat16(halvesOf(source), target)},
  BF16: {values: 1, bytes: 2, widen: (source, target) => widenBfloat16(halvesOf(source), target)},
  Q4_0: {values: 32, bytes: 18, widen: dequantizeQ40},
  Q4_1: {values: 32, bytes: 20, widen: dequantizeQ41},
  Q5_0: {values: 32, bytes: 22, widen: dequantizeQ50},
  Q5_1: {values: 32, bytes: 24, widen: dequantizeQ51},
  Q8_0: {values: 32, bytes: 34, widen: dequantizeQ80},
  Q4_K: {values: 256, bytes: 144, widen: dequantizeQ4K},
  Q5_K: {values: 256, bytes: 176, widen: dequantizeQ5K},
  Q6_K: {values: 256, bytes: 210, widen: dequantizeQ6K},
};

/**
 * Widens the data of one tensor.
 *
 * @param dtype A key of `BLOCK_FORMATS`.
 * @param source Its bytes: whole blocks.
 * @param count How many values they hold.
 * @returns The values, float32.
 * @throws {ModelError} `unsupported-dtype`, or `truncated` if `source` has another length.
 */
export function dequantize(dtype: string, source: Uint8Array, count: number): Float32Array {
  const format = blockFormat(dtype);
  if (count % format.values !== 0 || source.byteLength !== (count / format.values) * format.bytes) {
    throw new ModelError(
      'truncated',
      `${count} values of ${dtype} take ${format.bytes} bytes for every ${format.values}; there are ${source.byteLength} bytes`,
      {dtype, count, bytes: source.byteLength},
    );
  }
  const target = new Float32Array(count);
  format.widen(source, target);
  return target;
}

/** @throws {ModelError} `unsupported-dtype`. */
export function blockFormat(dtype: string, what = 'the data'): BlockFormat {
  if (Object.hasOwn(BLOCK_FORMATS, dtype)) return BLOCK_FORMATS[dtype];
  throw new ModelError(
    'unsupported-dtype',
    `${what} is ${dtype}; ${Object.keys(BLOCK_FORMATS).join(', ')} can be read: take the model in one of these, such as Q8_0 or Q4_K_M`,
    {dtype},
  );
}

function dequantizeQ40(source: Uint8Array, target: Float32Array): void {
  for (let block = 0, out = 0; out < target.length; block += 18, out += 32) {
    const scale = float16At(source, block);
    for (let i = 0; i < 16; i++) {
      const byte = source[block + 2 + i];
      target[out + i] = scale * ((byte & 15) - 8);
      target[out + 16 + i] = scale * ((byte >> 4) - 8);
    }
  }
}

function dequantizeQ41(source: Uint8Array, target: Float32Array): void {
  for (let block = 0, out = 0; out < target.length; block += 20, out += 32) {
    const scale = float16At(source, block);
    const minimum = float16At(source, block + 2);
    for (let i = 0; i < 16; i++) {
      const byte = source[block + 4 + i];
      target[out + i] = scale * (byte & 15) + minimum;
      target[out + 16 + i] = scale * (byte >> 4) + minimum;
    }
  }
}

/** The fifth bits of all 32 values lie in one word, in the order of the values. */
function dequantizeQ50(source: Uint8Array, target: Float32Array): void {
  for (let block = 0, out = 0; out < target.length; block += 22, out += 32) {
    const scale = float16At(source, block);
    const high = uint32At(source, block + 2);
    for (let i = 0; i < 16; i++) {
      const byte = source[block + 6 + i];
      target[out + i] = scale * (((byte & 15) | (((high >>> i) & 1) << 4)) - 16);
      target[out + 16 + i] = scale * (((byte >> 4) | (((high >>> (i + 16)) & 1) << 4)) - 16);
    }
  }
}

function dequantizeQ51(source: Uint8Array, target: Float32Array): void {
  for (let block = 0, out = 0; out < target.length; block += 24, out += 32) {
    const scale = float16At(source, block);
    const minimum = float16At(source, block + 2);
    const high = uint32At(source, block + 4);
    for (let i = 0; i < 16; i++) {
      const byte = source[block + 8 + i];
      target[out + i] = scale * ((byte & 15) | (((high >>> i) & 1) << 4)) + minimum;
      target[out + 16 + i] = scale * ((byte >> 4) | (((high >>> (i + 16)) & 1) << 4)) + minimum;
    }
  }
}

function dequantizeQ80(source: Uint8Array, target: Float32Array): void {
  for (let block = 0, out = 0; out < target.length; block += 34, out += 32) {
    const scale = float16At(source, block);
    for (let i = 0; i < 32; i++) target[out + i] = scale * ((source[block + 2 + i] << 24) >> 24);
  }
}

function uint32At(source: Uint8Array, offset: number): number {
  return source[offset] | (source[offset + 1] << 8) | (source[offset + 2] << 16) | (source[offset + 3] << 24);
}

function bytesOf(target: Float32Array): Uint8Array {
  return new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
}

/** Two bytes each; copied where they do not lie at an even place, which a typed array needs. */
function halvesOf(source: Uint8Array): Uint16Array {
  const even = source.byteOffset % 2 === 0 ? source : source.slice();
  return new Uint16Array(even.buffer, even.byteOffset, even.byteLength / 2);
}
