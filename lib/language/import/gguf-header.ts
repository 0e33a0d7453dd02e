/**
 * @file The header of a GGUF file: metadata and where each tensor lies (format:
 * https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). What a hostile file could do is checked: every length and
 * count has a limit, and no tensor reaches out of the file or into another.
 */
import {ModelError} from '../../errors.js';
import type {RandomAccess} from '../../io/files/random-access.js';
import {blockFormat} from './dequantize.js';
import {GgufBytes} from './gguf-bytes.js';

/** ggml itself ends at 4 dimensions. */
const MAX_RANK = 4;
/** The largest is a vocabulary's, of 256,000. */
const MAX_DIMENSION = 2 ** 32;
/** More than any model of these families, with every expert apart. */
const MAX_TENSORS = 200_000;
/** ggml uses 32. */
const MAX_ALIGNMENT = 65536;
/** The largest published headers have some hundred. */
const MAX_KEYS = 100_000;

/** Names of ggml's types, by their numbers. */
const TYPE_NAMES: Readonly<Record<number, string>> = {
  ...{
    0: 'F32',
    1: 'F16',
    2: 'Q4_0',
    3: 'Q4_1',
    6: 'Q5_0',
    7: 'Q5_1',
    8: 'Q8_0',
    9: 'Q8_1',
    10: 'Q2_K',
    11: 'Q3_K',
  },
  ...{
    12: 'Q4_K',
    13: 'Q5_K',
    14: 'Q6_K',
    15: 'Q8_K',
    16: 'IQ2_XXS',
    17: 'IQ2_XS',
    18: 'IQ3_XXS',
    19: 'IQ1_S',
  },
  ...{
    20: 'IQ4_NL',
    21: 'IQ3_S',
    22: 'IQ2_S',
    23: 'IQ4_XS',
    24: 'I8',
    25: 'I16',
    26: 'I32',
    27: 'I64',
    28: 'F64',
  },
  ...{29: 'IQ1_M', 30: 'BF16', 34: 'TQ1_0', 35: 'TQ2_0', 39: 'MXFP4', 40: 'NVFP4'},
};

/** Values of metadata, by key. */
export type GgufMetadata = ReadonlyMap<string, unknown>;

/** Where a tensor lies in the file. */
export interface GgufEntry {
  /** As in the file, such as `blk.0.attn_q.weight`. */
  readonly name: string;
  /** Slowest dimension first: the reverse of what the file says. */
  readonly shape: readonly number[];
  /** Name of ggml's type, such as `Q4_1`. */
  readonly dtype: string;
  /** First byte of its data in the file. */
  readonly start: number;
  readonly bytes: number;
}

export interface GgufHeader {
  readonly metadata: GgufMetadata;
  readonly entries: readonly GgufEntry[];
}

/** A tensor as the header describes it: fastest dimension first. */
interface TensorInfo {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: number;
  readonly offset: number;
}

/**
 * Reads and checks the header.
 *
 * @param file The open file.
 * @throws {ModelError} `not-gguf`, `malformed-gguf`, `truncated`, `duplicate-tensor`, `overlapping-tensors`,
 *   `unsupported-dtype`; it names the tensor if one is at fault.
 */
export async function readGgufHeader(file: RandomAccess): Promise<GgufHeader> {
  const {name: path} = file;
  await checkMagic(file);
  const bytes = new GgufBytes(file);
  await bytes.skip(8);
  const [tensors, keys] = [await bytes.uint64(), await bytes.uint64()];
  if (tensors > MAX_TENSORS) throw malformed(path, `it lists ${tensors} tensors`);
  if (keys > MAX_KEYS) throw malformed(path, `it lists ${keys} keys`);
  const metadata = new Map<string, unknown>();
  for (let i = 0; i < keys; i++) {
    const key = await bytes.text();
    // As the key of an object it would change what every missing key is.
    if (key === '__proto__') throw malformed(path, 'its metadata has a key "__proto__"');
    metadata.set(key, await bytes.value(await bytes.uint32()));
  }
  const infos: TensorInfo[] = [];
  for (let i = 0; i < tensors; i++) infos.push(await tensorInfo(bytes, path));
  const alignment = Number(metadata.get('general.alignment') ?? 32);
  if (!Number.isInteger(Math.log2(alignment)) || alignment > MAX_ALIGNMENT) {
    throw malformed(path, `general.alignment is ${alignment}, no power of two up to ${MAX_ALIGNMENT}`);
  }
  const dataStart = Math.ceil(bytes.position / alignment) * alignment;
  const entries = infos.map((info) => entryOf(info, dataStart, alignment, path));
  checkNames(entries, path);
  checkRanges(entries, file);
  return {metadata, entries};
}

async function checkMagic(file: RandomAccess): Promise<void> {
  const start = new DataView((await file.read(0, Math.min(8, file.size), 'the header')).buffer);
  const isGguf = start.byteLength === 8 && start.getUint32(0) === 0x47475546; // "GGUF"
  if (!isGguf) {
    throw new ModelError('not-gguf', `${file.name} does not start like a GGUF file: check what it is`, {
      path: file.name,
    });
  }
  const version = start.getUint32(4, true);
  if (version === 2 || version === 3) return;
  throw new ModelError(
    'not-gguf',
    `${file.name} is GGUF version ${version}; 2 and 3 (little-endian) can be read: convert the model again`,
    {path: file.name, version},
  );
}

async function tensorInfo(bytes: GgufBytes, path: string): Promise<TensorInfo> {
  const name = await bytes.text();
  const rank = await bytes.uint32();
  if (rank > 2 * MAX_RANK) throw malformedTensor(path, name, `has ${rank} dimensions`);
  const shape: number[] = [];
  for (let i = 0; i < rank; i++) shape.push(await bytes.uint64());
  return {name, shape, type: await bytes.uint32(), offset: await bytes.uint64()};
}

function entryOf(
  {name, shape, type, offset}: TensorInfo,
  dataStart: number,
  alignment: number,
  path: string,
): GgufEntry {
  const fail = (what: string) => malformedTensor(path, name, what);
  const typeName = (TYPE_NAMES as Readonly<Record<number, string | undefined>>)[type];
  const {values, bytes} = blockFormat(
    typeName ?? `type ${type}`,
    `tensor "${name.slice(0, 200)}" of ${path}`,
  );
  const sizes = [...shape].reverse();
  if (sizes.length < 1 || sizes.length > MAX_RANK || sizes.some((size) => size < 1)) {
    throw fail(`has shape [${sizes.join(', ')}]; 1 to ${MAX_RANK} dimensions of at least 1 are allowed`);
  }
  const count = sizes.reduce((product, size) => product * size, 1);
  if (sizes.some((size) => size > MAX_DIMENSION)) throw fail(`has shape [${sizes.join(', ')}]`);
  if (!Number.isSafeInteger(count * 4) || sizes[sizes.length - 1] % values !== 0) {
    throw fail(
      `has rows of ${sizes.at(-1)}, no whole number of ${typeName} blocks of ${values}, or too many`,
    );
  }
  const start = dataStart + offset;
  if (!Number.isSafeInteger(start) || offset % alignment !== 0) {
    throw fail(`starts at ${offset}, no multiple of the alignment ${alignment}`);
  }
  return {name, shape: sizes, dtype: typeName!, start, bytes: (count / values) * bytes};
}

function checkNames(entries: readonly GgufEntry[], path: string): void {
  const seen = new Set<string>();
  for (const {name} of entries) {
    if (seen.has(name)) {
      throw new ModelError(
        'duplicate-tensor',
        `${path} lists tensor "${name.slice(0, 200)}" twice, so it is not clear which is meant: download it again`,
        {path, tensor: name},
      );
    }
    seen.add(name);
  }
}

function checkRanges(entries: readonly GgufEntry[], {name: path, size}: RandomAccess): void {
  const ordered = [...entries].sort((a, b) => a.start - b.start);
  for (const [i, {name, start, bytes}] of ordered.entries()) {
    if (start + bytes > size) {
      throw new ModelError(
        'truncated',
        `${path} is ${size} bytes, but tensor "${name}" ends at byte ${start + bytes}: the file was cut off, download it again`,
        {path, size, needed: start + bytes, tensor: name},
      );
    }
    const next = ordered.at(i + 1);
    if (next === undefined || start + bytes <= next.start) continue;
    throw new ModelError(
      'overlapping-tensors',
      `tensors "${name}" and "${next.name}" of ${path} overlap: download it again`,
      {path, tensor: next.name},
    );
  }
}

function malformedTensor(path: string, name: string, what: string): ModelError {
  const tensor = JSON.stringify(name.slice(0, 200));
  return new ModelError('malformed-gguf', `tensor ${tensor} of ${path} ${what}: download it again`, {
    path,
    tensor: name,
  });
}

function malformed(path: string, what: string): ModelError {
  return new ModelError('malformed-gguf', `the header of ${path} is damaged: ${what}; download it again`, {
    path,
  });
}
