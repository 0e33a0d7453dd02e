/** @file A safetensors file whose tensors are read one at a time, widened to float32. */
import {ModelError} from '../../errors.js';
import type {RandomAccess} from '../../io/files/random-access.js';
import {widenBfloat16, widenFloat16} from './half-floats.js';
import {MAX_HEADER_BYTES, parseSafetensorsHeader, type SafetensorsEntry} from './safetensors-header.js';

/** A typed array of Node 20 ends at 4 GiB; the largest embedding of these families takes 3.2 GB. */
export const MAX_TENSOR_BYTES = 4 * 1024 ** 3 - 8;
/** Half floats are read in pieces, so that a tensor takes its float32 size and no half more. */
const PIECE_VALUES = 4 * 1024 ** 2;

/** An open safetensors file. */
export interface SafetensorsFile {
  readonly path: string;
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  /**
   * Reads one tensor.
   *
   * @returns Its values as float32, row-major.
   * @throws {ModelError} `unsupported-dtype`, `too-large`, `truncated`, naming the tensor.
   */
  read(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

/**
 * Reads and checks the header of a safetensors file.
 *
 * @param file The open file; it belongs to the result from now on, and is closed on errors.
 * @throws {ModelError} If the header is malformed, or contradicts the file's size.
 */
export async function safetensorsFile(file: RandomAccess): Promise<SafetensorsFile> {
  try {
    const list = await readEntries(file);
    const entries = new Map(list.map((entry) => [entry.name, entry]));
    return {
      path: file.name,
      entries,
      read: (name) => readTensor(file, entries, name),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readEntries(file: RandomAccess): Promise<SafetensorsEntry[]> {
  const start = await file.read(0, 8, 'the length of the header');
  const length = Number(new DataView(start.buffer).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES) {
    throw new ModelError(
      'malformed-header',
      `${file.name} announces a header of ${length} bytes; at most ${MAX_HEADER_BYTES} are read: this is no safetensors file, or a damaged one`,
      {path: file.name, length},
    );
  }
  const text = new TextDecoder().decode(await file.read(8, length, 'the header'));
  return parseSafetensorsHeader(text, 8 + length, file.size, file.name);
}

async function readTensor(
  file: RandomAccess,
  entries: ReadonlyMap<string, SafetensorsEntry>,
  name: string,
): Promise<Float32Array> {
  const entry = entries.get(name);
  if (entry === undefined) {
    throw new ModelError('missing-tensor', `${file.name} has no tensor "${name}"`, {
      path: file.name,
      tensor: name,
    });
  }
  const {dtype, shape, start} = entry;
  const values = shape.reduce((product, size) => product * size, 1);
  if (values * 4 > MAX_TENSOR_BYTES) {
    throw new ModelError(
      'too-large',
      `tensor "${name}" of ${file.name} takes ${values * 4} bytes as float32; at most ${MAX_TENSOR_BYTES} can be read`,
      {path: file.name, tensor: name, values},
    );
  }
  const what = `tensor "${name}"`;
  switch (dtype) {
    case 'F32': {
      const result = new Float32Array(values);
      await file.readInto(new Uint8Array(result.buffer), start, what);
      return result;
    }
    case 'F16':
      return readHalves(file, start, values, widenFloat16, what);
    case 'BF16':
      return readHalves(file, start, values, widenBfloat16, what);
    default:
      throw new ModelError(
        'unsupported-dtype',
        `tensor "${name}" of ${file.name} is ${dtype}; F32, F16 and BF16 can be read: use the checkpoint before it was quantized`,
        {path: file.name, tensor: name, dtype},
      );
  }
}

async function readHalves(
  file: RandomAccess,
  start: number,
  values: number,
  widen: (source: Uint16Array, target: Float32Array) => void,
  what: string,
): Promise<Float32Array> {
  const result = new Float32Array(values);
  const piece = new Uint16Array(Math.min(PIECE_VALUES, values));
  for (let done = 0; done < values; done += piece.length) {
    const halves = piece.subarray(0, values - done);
    await file.readInto(new Uint8Array(halves.buffer, 0, halves.byteLength), start + 2 * done, what);
    widen(halves, result.subarray(done, done + halves.length));
  }
  return result;
}
