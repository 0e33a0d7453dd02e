/** @file GGUF files made by hand, well-formed or not, for the specs of the importer. Version 3, little-endian. */

/** Types of metadata values in the format. */
const U32 = 4;
const F32 = 6;
const BOOL = 7;
const STRING = 8;
const ARRAY = 9;

/** ggml's numbers of the types that the specs write. */
export const GGML_TYPE = {
  ...{F32: 0, F16: 1, Q4_0: 2, Q4_1: 3, Q5_0: 6, Q5_1: 7, Q8_0: 8, Q4_K: 12, Q5_K: 13, Q6_K: 14, BF16: 30},
} as const;

/** Whole numbers are written as uint32, others as float32. */
export type GgufValue = number | boolean | string | readonly number[] | readonly string[];

export interface GgufTensorSpec {
  readonly name: string;
  /** Slowest dimension first. */
  readonly shape: readonly number[];
  readonly type: number;
  readonly data: Uint8Array;
  /** In place of the true one. */
  readonly offset?: number;
}

/** The bytes of a file. */
export function writeGguf(
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensorSpec[] = [],
): Uint8Array {
  const header: Uint8Array[] = [
    ascii('GGUF'),
    u32(3),
    u64(tensors.length),
    u64(Object.keys(metadata).length),
  ];
  for (const [key, value] of Object.entries(metadata)) header.push(string(key), ...metadataValue(value));
  let offset = 0;
  for (const tensor of tensors) {
    header.push(string(tensor.name), u32(tensor.shape.length));
    header.push(...[...tensor.shape].reverse().map(u64), u32(tensor.type), u64(tensor.offset ?? offset));
    offset += Math.ceil(tensor.data.length / 32) * 32;
  }
  const parts = [padded(join(header)), ...tensors.map(({data}) => padded(data))];
  return join(parts);
}

/** A tensor of float32 values. */
export function float32Tensor(
  name: string,
  shape: readonly number[],
  values: ArrayLike<number>,
): GgufTensorSpec {
  return {name, shape, type: GGML_TYPE.F32, data: new Uint8Array(Float32Array.from(values).buffer)};
}

function metadataValue(value: GgufValue): Uint8Array[] {
  if (typeof value === 'string') return [u32(STRING), string(value)];
  if (typeof value === 'boolean') return [u32(BOOL), Uint8Array.of(value ? 1 : 0)];
  if (typeof value === 'number') return [u32(Number.isInteger(value) ? U32 : F32), number(value)];
  if (value.every((item) => typeof item === 'string')) {
    return [u32(ARRAY), u32(STRING), u64(value.length), ...value.map(string)];
  }
  const numbers = value;
  const type = numbers.every((item) => Number.isInteger(item) && item >= 0) ? U32 : F32;
  const bytes = type === U32 ? Uint32Array.from(numbers).buffer : Float32Array.from(numbers).buffer;
  return [u32(ARRAY), u32(type), u64(numbers.length), new Uint8Array(bytes)];
}

function number(value: number): Uint8Array {
  return Number.isInteger(value) ? u32(value) : new Uint8Array(Float32Array.of(value).buffer);
}

function string(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(text);
  return join([u64(bytes.length), bytes]);
}

function ascii(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

function u64(value: number): Uint8Array {
  return new Uint8Array(BigUint64Array.of(BigInt(value)).buffer);
}

function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(Math.ceil(bytes.length / 32) * 32);
  whole.set(bytes);
  return whole;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, {length}) => sum + length, 0));
  let position = 0;
  for (const part of parts) {
    whole.set(part, position);
    position += part.length;
  }
  return whole;
}
