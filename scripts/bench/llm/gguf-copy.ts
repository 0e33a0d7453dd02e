/**
 * @file A GGUF file with the same weights in another precision, so that llama.cpp computes with what we compute with.
 * Format: the GGUF specification of ggml (docs/gguf.md), version 3.
 */
import {open, rename, rm} from 'node:fs/promises';
import {GGMLQuantizationType, gguf, serializeGgufMetadata} from '@huggingface/gguf';
import {dequantize} from '../../../lib/language/import/dequantize.js';

const ALIGNMENT = 32;

/** What matrices are written in. */
type Precision = 'F32' | 'F16' | 'Q8_0';

/** Values and bytes of what a type stores together. */
const BLOCKS: Readonly<Record<Precision, {readonly values: number; readonly bytes: number}>> = {
  F32: {values: 1, bytes: 4},
  F16: {values: 1, bytes: 2},
  Q8_0: {values: 32, bytes: 34},
};

/**
 * Writes `source` with every matrix in float32, float16 or Q8_0; vectors become float32, and matrices whose rows are no
 * whole blocks of Q8_0 float16. Reads and writes a tensor at a time.
 *
 * @param source Path of a GGUF file.
 * @param target Path of the file to write; complete or not there.
 */
export async function copyGguf(source: string, target: string, precision: Precision): Promise<void> {
  const {typedMetadata, tensorInfos, tensorDataOffset} = await gguf(source, {
    allowLocalFile: true,
    typedMetadata: true,
  });
  const tensors = tensorInfos.map((info, i) => {
    const count = info.shape.reduce((product, size) => product * Number(size), 1);
    const type = typeOf(info.shape, precision);
    const start = Number(tensorDataOffset + info.offset);
    // The files at hand hold their tensors without gaps but for the alignment.
    const end = i + 1 < tensorInfos.length ? Number(tensorDataOffset + tensorInfos[i + 1].offset) : Infinity;
    const {bytes, values} = BLOCKS[type];
    return {
      info,
      count,
      type,
      dtype: GGMLQuantizationType[type],
      start,
      end,
      bytes: (count / values) * bytes,
    };
  });

  const input = await open(source);
  const beside = `${target}.${process.pid}`;
  const output = await open(beside, 'w');
  try {
    const {size} = await input.stat();
    await output.write(header(serializeGgufMetadata(typedMetadata, {alignment: 1}), tensors));
    for (const {info, count, type, start, end} of tensors) {
      const stored = new Uint8Array(Math.min(end, size) - start);
      await input.read(stored, 0, stored.length, start);
      const values = dequantize(GGMLQuantizationType[info.dtype], stored, count);
      await output.write(padded(encode(values, type)));
    }
    await output.close();
    await rename(beside, target);
  } finally {
    await input.close();
    await output.close().catch(() => undefined);
    await rm(beside, {force: true});
  }
}

function typeOf(shape: readonly bigint[], precision: Precision): Precision {
  if (shape.length < 2) return 'F32';
  return Number(shape[0]) % BLOCKS[precision].values === 0 ? precision : 'F16';
}

function encode(values: Float32Array, type: Precision): Uint8Array {
  switch (type) {
    case 'F32':
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    case 'F16':
      return new Uint8Array(halves(values).buffer);
    case 'Q8_0':
      return eights(values);
  }
}

interface Placed {
  readonly info: {readonly name: string; readonly shape: readonly bigint[]};
  readonly dtype: number;
  readonly bytes: number;
}

/** The metadata, then name, shape, type and place of every tensor, padded to where the data begin. */
function header(metadata: Uint8Array, tensors: readonly Placed[]): Uint8Array {
  const parts = [metadata];
  let offset = 0;
  for (const {info, dtype, bytes} of tensors) {
    const name = new TextEncoder().encode(info.name);
    const record = new DataView(new ArrayBuffer(8 + name.length + 4 + 8 * info.shape.length + 4 + 8));
    record.setBigUint64(0, BigInt(name.length), true);
    new Uint8Array(record.buffer).set(name, 8);
    let at = 8 + name.length;
    record.setUint32(at, info.shape.length, true);
    at += 4;
    for (const size of info.shape) {
      record.setBigUint64(at, size, true);
      at += 8;
    }
    record.setUint32(at, dtype, true);
    record.setBigUint64(at + 4, BigInt(offset), true);
    parts.push(new Uint8Array(record.buffer));
    offset += bytes + padding(bytes);
  }
  return padded(Buffer.concat(parts));
}

function padding(bytes: number): number {
  return (ALIGNMENT - (bytes % ALIGNMENT)) % ALIGNMENT;
}

function padded(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([bytes, new Uint8Array(padding(bytes.length))]);
}

/** Blocks of a float16 scale, the largest magnitude over 127, and the multiples of it that are nearest. */
function eights(values: Float32Array): Uint8Array {
  const {values: size, bytes} = BLOCKS.Q8_0;
  const encoded = new DataView(new ArrayBuffer((values.length / size) * bytes));
  for (let start = 0, at = 0; start < values.length; start += size, at += bytes) {
    const block = values.subarray(start, start + size);
    const scale = Math.fround(block.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127);
    encoded.setUint16(at, halves(Float32Array.of(scale))[0], true);
    block.forEach((value, i) => {
      encoded.setInt8(at + 2 + i, scale === 0 ? 0 : Math.sign(value) * Math.round(Math.abs(value) / scale));
    });
  }
  return new Uint8Array(encoded.buffer);
}

/** Float32 as IEEE half precision, rounded to the nearest, ties to even. */
function halves(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(bits, toHalf);
}

function toHalf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude >= 0x47800000) return sign | (magnitude > 0x7f800000 ? 0x7e00 : 0x7c00); // too large, Inf, NaN
  const exponent = magnitude >>> 23;
  // Below 2^-14 halves are multiples of 2^-24.
  const shift = exponent < 113 ? 126 - exponent : 13;
  if (shift > 24) return sign;
  const mantissa = exponent < 113 ? (magnitude & 0x7fffff) | 0x800000 : magnitude - (112 << 23);
  const half = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const middle = 1 << (shift - 1);
  return sign | (half + (rest > middle || (rest === middle && (half & 1) === 1) ? 1 : 0));
}
