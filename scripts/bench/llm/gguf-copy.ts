/**
 * @file A GGUF file with the same weights in another precision, so that llama.cpp computes with what we compute with.
 * Format: the GGUF specification of ggml (docs/gguf.md), version 3.
 */
import {open, rename, rm} from 'node:fs/promises';
import {GGMLQuantizationType, gguf, serializeGgufMetadata} from '@huggingface/gguf';
import {dequantize} from '../../../models/llama/import/dequantize.js';

const ALIGNMENT = 32;

/**
 * Writes `source` with every matrix in float32 or float16; vectors become float32. Reads and writes a tensor at a time.
 *
 * @param source Path of a GGUF file.
 * @param target Path of the file to write; complete or not there.
 */
export async function copyGguf(source: string, target: string, precision: 'F32' | 'F16'): Promise<void> {
  const {typedMetadata, tensorInfos, tensorDataOffset} = await gguf(source, {
    allowLocalFile: true,
    typedMetadata: true,
  });
  const tensors = tensorInfos.map((info, i) => {
    const count = info.shape.reduce((product, size) => product * Number(size), 1);
    const dtype =
      precision === 'F16' && info.shape.length > 1 ? GGMLQuantizationType.F16 : GGMLQuantizationType.F32;
    const start = Number(tensorDataOffset + info.offset);
    // The files at hand hold their tensors without gaps but for the alignment.
    const end = i + 1 < tensorInfos.length ? Number(tensorDataOffset + tensorInfos[i + 1].offset) : Infinity;
    return {info, count, dtype, start, end, bytes: count * (dtype === GGMLQuantizationType.F16 ? 2 : 4)};
  });

  const input = await open(source);
  const beside = `${target}.${process.pid}`;
  const output = await open(beside, 'w');
  try {
    const {size} = await input.stat();
    await output.write(header(serializeGgufMetadata(typedMetadata, {alignment: 1}), tensors));
    for (const {info, count, dtype, start, end} of tensors) {
      const stored = new Uint8Array(Math.min(end, size) - start);
      await input.read(stored, 0, stored.length, start);
      const values = dequantize(GGMLQuantizationType[info.dtype], stored, count);
      const bytes = new Uint8Array(
        dtype === GGMLQuantizationType.F16 ? halves(values).buffer : values.buffer,
      );
      await output.write(padded(bytes));
    }
    await output.close();
    await rename(beside, target);
  } finally {
    await input.close();
    await output.close().catch(() => undefined);
    await rm(beside, {force: true});
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
