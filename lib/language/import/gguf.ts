/**
 * @file A checkpoint in one GGUF file, the format of llama.cpp. Its tensors are offered under Hugging Face's names and in
 * Hugging Face's layout, dequantized when they are read.
 */
import {ModelError} from '../../errors.js';
import type {RandomAccess} from '../../io/files/random-access.js';
import type {Int4Values} from '../../quantization/int4.js';
import type {Checkpoint, CheckpointTensor} from '../weights/checkpoint.js';
import {ggufTokenizer} from '../tokenizer/gguf-tokenizer.js';
import {blockFormat} from './dequantize.js';
import {ggufConfig} from './gguf-config.js';
import {readGgufHeader, type GgufEntry, type GgufHeader} from './gguf-header.js';
import {huggingFaceTensors, type GgufTensor} from './gguf-names.js';
import {GGUF_GROUP_SIZE, int4KindOf, packInt4} from './pack-int4.js';
import {MAX_TENSOR_BYTES} from './safetensors.js';

/** Bytes read at a time: a tensor takes its float32 size and no more than this beside it. */
const PIECE_BYTES = 8 * 1024 ** 2;
/** Head sizes reach 256: the factors of the rotation are half as many. */
const MAX_ROPE_FACTORS = 4096;

/**
 * A GGUF file as a checkpoint. Weights are read one tensor at a time, when asked for.
 *
 * @param file The open file: architecture llama (with mistral and mixtral), qwen2, qwen3, phi3 or gemma; F32, F16, BF16,
 *   Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K. It belongs to the checkpoint from now on, and is closed on errors.
 * @returns The checkpoint; close it when all is read.
 * @throws {ModelError} If it is malformed, or of an architecture or dtype that cannot be read; it names the tensor.
 */
export async function ggufCheckpoint(file: RandomAccess): Promise<Checkpoint> {
  const {name: path} = file;
  try {
    const header = await readGgufHeader(file);
    const {entries, metadata} = header;
    checkWhole(header, path);
    const config = ggufConfig(metadata, entries, await readRopeFactors(file, entries), path);
    const permuted = metadata.get('general.architecture') === 'llama';
    const tensors = new Map<string, GgufTensor>();
    for (const tensor of entries.flatMap((entry) => huggingFaceTensors(entry, config, permuted))) {
      if (tensors.has(tensor.name)) {
        throw new ModelError(
          'duplicate-tensor',
          `${path} has two tensors for "${tensor.name}": download it again`,
          {
            path,
            tensor: tensor.name,
          },
        );
      }
      tensors.set(tensor.name, {...tensor, ...storageOf(tensor)});
    }
    return {
      config,
      tensors,
      normOffset: 0,
      tokenizer: ggufTokenizer(metadata, path),
      read: async (name) => readTensor(file, tensors, name),
      readInt4: async (name) => readMatrix(file, tensors, name),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** What else the format says of a tensor; only matrices can be INT4. */
function storageOf({dtype, shape}: GgufTensor): Pick<CheckpointTensor, 'isQuantized' | 'int4'> {
  const kind = shape.length === 2 ? int4KindOf(dtype) : null;
  const isQuantized = blockFormat(dtype).values > 1;
  return {isQuantized, ...(kind === null ? {} : {int4: {kind, groupSize: GGUF_GROUP_SIZE}})};
}

function checkWhole({metadata}: GgufHeader, path: string): void {
  const parts = Number(metadata.get('split.count') ?? 1);
  if (!(parts > 1)) return;
  throw new ModelError(
    'unsupported-format',
    `${path} is one of ${parts} parts; one file can be read: join them with llama-gguf-split --merge`,
    {path, parts},
  );
}

async function readRopeFactors(
  file: RandomAccess,
  entries: readonly GgufEntry[],
): Promise<Float32Array | null> {
  const entry =
    entries.find(({name}) => name === 'rope_freqs.weight') ??
    entries.find(({name}) => name === 'rope_factors_short.weight');
  if (entry === undefined) return null;
  if (entry.shape.length === 1 && entry.shape[0] <= MAX_ROPE_FACTORS) return readValues(file, entry);
  throw new ModelError(
    'malformed-gguf',
    `tensor "${entry.name}" of ${file.name} has shape [${entry.shape.join(', ')}]; it must be one row of at most ${MAX_ROPE_FACTORS}`,
    {path: file.name, tensor: entry.name},
  );
}

async function readTensor(
  file: RandomAccess,
  tensors: ReadonlyMap<string, GgufTensor>,
  name: string,
): Promise<Float32Array> {
  const tensor = tensorOf(file, tensors, name);
  const values = await readValues(file, tensor);
  if (tensor.interleavedHeads > 0) separateHalves(values, tensor, file.name);
  return values;
}

/** A tensor of a 4-bit format, in 4 bits. */
async function readMatrix(
  file: RandomAccess,
  tensors: ReadonlyMap<string, GgufTensor>,
  name: string,
): Promise<Int4Values> {
  const tensor = tensorOf(file, tensors, name);
  const {dtype, start, interleavedHeads} = tensor;
  const [units, inputs] = tensor.shape;
  checkSize(file, tensor, units * inputs);
  const source = new Uint8Array(tensor.bytes);
  for (let done = 0; done < source.length; done += PIECE_BYTES) {
    await file.readInto(source.subarray(done, done + PIECE_BYTES), start + done, `tensor "${name}"`);
  }
  const headSize = interleavedHeads > 0 ? headSizeOf(tensor, file.name) : 0;
  const rowOf = (unit: number) => {
    if (headSize === 0) return unit;
    const place = unit % headSize;
    return unit - place + interleavedRow(place, headSize);
  };
  return packInt4(dtype, source, [units, inputs], rowOf);
}

function tensorOf(file: RandomAccess, tensors: ReadonlyMap<string, GgufTensor>, name: string): GgufTensor {
  const tensor = tensors.get(name);
  if (tensor !== undefined) return tensor;
  throw new ModelError('missing-tensor', `${file.name} has no tensor "${name}": is it complete?`, {
    path: file.name,
    tensor: name,
  });
}

async function readValues(
  file: RandomAccess,
  entry: Omit<GgufEntry, 'name'> & {readonly name: string},
): Promise<Float32Array> {
  const {name, shape, dtype, start, bytes} = entry;
  const format = blockFormat(dtype);
  const count = shape.reduce((product, size) => product * size, 1);
  checkSize(file, entry, count);
  const target = new Float32Array(count);
  const blocks = Math.max(1, Math.floor(PIECE_BYTES / format.bytes));
  const piece = new Uint8Array(Math.min(bytes, blocks * format.bytes));
  for (let done = 0; done < bytes; done += piece.length) {
    const source = piece.subarray(0, bytes - done);
    await file.readInto(source, start + done, `tensor "${name}"`);
    const first = (done / format.bytes) * format.values;
    format.widen(source, target.subarray(first, first + (source.length / format.bytes) * format.values));
  }
  return target;
}

function checkSize(file: RandomAccess, {name}: {readonly name: string}, count: number): void {
  if (count * 4 <= MAX_TENSOR_BYTES) return;
  throw new ModelError(
    'too-large',
    `tensor "${name}" of ${file.name} takes ${count * 4} bytes as float32; at most ${MAX_TENSOR_BYTES} can be read`,
    {path: file.name, tensor: name, values: count},
  );
}

/**
 * Undoes llama.cpp's order of a head's rows: there rows 2i and 2i + 1 are rotated together, in Hugging Face's layout
 * rows i and i + half.
 */
function separateHalves(values: Float32Array, tensor: GgufTensor, path: string): void {
  const headSize = headSizeOf(tensor, path);
  const [, width = 1] = tensor.shape; // [heads * headSize, hidden], or [heads * headSize] of a bias
  const head = new Float32Array(headSize * width);
  for (let start = 0; start < values.length; start += head.length) {
    head.set(values.subarray(start, start + head.length));
    for (let row = 0; row < headSize; row++) {
      const from = interleavedRow(row, headSize) * width;
      values.set(head.subarray(from, from + width), start + row * width);
    }
  }
}

/** Where llama.cpp has a row of a head, which stands at `row` in Hugging Face's layout. */
function interleavedRow(row: number, headSize: number): number {
  const half = headSize / 2;
  return row < half ? 2 * row : 2 * (row - half) + 1;
}

function headSizeOf({name, shape, interleavedHeads}: GgufTensor, path: string): number {
  const headSize = shape[0] / interleavedHeads;
  if (Number.isInteger(headSize) && headSize % 2 === 0 && shape.length <= 2) return headSize;
  throw new ModelError(
    'malformed-tensor',
    `tensor "${name}" of ${path} has shape [${shape.join(', ')}], which ${interleavedHeads} heads of even size do not divide`,
    {path, tensor: name},
  );
}
