/**
 * @file The header of a GGUF file: metadata and where each tensor lies (format:
 * https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). `@huggingface/gguf` parses it; what a hostile file could
 * do is checked here: every byte that the parser gets passes a limit, and no tensor reaches out of the file or into
 * another.
 */
import {gguf, GGMLQuantizationType, type GGUFParseOutput} from '@huggingface/gguf';

import {ModelError, SparsifyError} from '../../errors.js';
import {blockFormat} from './dequantize.js';
import type {RandomAccessFile} from './random-access-file.js';

/** The largest vocabulary of these families (256,000 tokens with scores and merges) takes 14 MB. */
const MAX_HEADER_BYTES = 40_000_000;
/** What the parser asks for at a time. */
const MAX_REQUEST_BYTES = 4_000_000;
/** ggml itself ends at 4 dimensions. */
const MAX_RANK = 4;
/** More than any model of these families, with every expert apart. */
const MAX_TENSORS = 200_000;
/** ggml uses 32. */
const MAX_ALIGNMENT = 65536;

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
  /** Bytes of the file up to the end of the tensors' descriptions. */
  readonly length: number;
}

/**
 * Reads and checks the header.
 *
 * @param file The open file.
 * @throws {ModelError} `not-gguf`, `malformed-gguf`, `truncated`, `duplicate-tensor`, `overlapping-tensors`,
 *   `unsupported-dtype`; it names the tensor if one is at fault.
 */
export async function readGgufHeader(file: RandomAccessFile): Promise<GgufHeader> {
  const {path} = file;
  await checkMagic(file);
  const parsed = await parse(file);
  const [, length] = parsed.tensorInfoByteRange;
  if (length > file.size)
    throw malformed(path, `its header ends at byte ${length}, behind the end of the file`);
  if (parsed.tensorInfos.length > MAX_TENSORS)
    throw malformed(path, `it lists ${parsed.tensorInfos.length} tensors`);
  const alignment = Number(parsed.metadata['general.alignment'] ?? 32);
  if (!Number.isInteger(Math.log2(alignment)) || alignment > MAX_ALIGNMENT) {
    throw malformed(path, `general.alignment is ${alignment}, no power of two up to ${MAX_ALIGNMENT}`);
  }
  const dataStart = Math.ceil(length / alignment) * alignment;
  const entries = parsed.tensorInfos.map((info) => entryOf(info, dataStart, alignment, path));
  checkNames(entries, path);
  checkRanges(entries, file);
  return {metadata: new Map(Object.entries(parsed.metadata)), entries, length};
}

async function checkMagic(file: RandomAccessFile): Promise<void> {
  const start = new DataView((await file.read(0, Math.min(8, file.size), 'the header')).buffer);
  const isGguf = start.byteLength === 8 && start.getUint32(0) === 0x47475546; // "GGUF"
  if (!isGguf) {
    throw new ModelError('not-gguf', `${file.path} does not start like a GGUF file: check what it is`, {
      path: file.path,
    });
  }
  const version = start.getUint32(4, true);
  if (version === 2 || version === 3) return;
  throw new ModelError(
    'not-gguf',
    `${file.path} is GGUF version ${version}; 2 and 3 (little-endian) can be read: convert the model again`,
    {path: file.path, version},
  );
}

/** The parser fetches ranges of an address; this one leads to the open file and nowhere else. */
async function parse(file: RandomAccessFile): Promise<GGUFParseOutput<{strict: false}>> {
  const fetchRange: typeof fetch = async (_address, init) => {
    const range = /^bytes=(\d+)-(\d+)$/.exec(new Headers(init?.headers).get('range') ?? '');
    const [start, last] = range === null ? [0, MAX_REQUEST_BYTES] : [Number(range[1]), Number(range[2])];
    if (start >= file.size) throw malformed(file.path, 'it ends in the middle of its header');
    if (last > MAX_HEADER_BYTES + MAX_REQUEST_BYTES || last - start > MAX_REQUEST_BYTES) {
      throw malformed(file.path, `its header is longer than ${MAX_HEADER_BYTES} bytes`);
    }
    return new Response(await file.read(start, Math.min(last + 1, file.size) - start, 'the header'));
  };
  let parsed: GGUFParseOutput<{strict: false}>;
  try {
    parsed = await gguf('https://file.invalid', {fetch: fetchRange});
  } catch (cause) {
    if (cause instanceof SparsifyError) throw cause;
    throw malformed(file.path, cause instanceof Error ? cause.message : 'it cannot be parsed', cause);
  }
  // A key named __proto__ would have replaced it, and every look-up of a missing key would find what the file says.
  if (Object.getPrototypeOf(parsed.metadata) === Object.prototype) return parsed;
  throw malformed(file.path, 'its metadata has a key "__proto__"');
}

function entryOf(
  {name, shape, dtype, offset}: GGUFParseOutput['tensorInfos'][number],
  dataStart: number,
  alignment: number,
  path: string,
): GgufEntry {
  const fail = (what: string) => malformedTensor(path, name, what);
  const typeName = GGMLQuantizationType[dtype] as string | undefined;
  const {values, bytes} = blockFormat(
    typeName ?? `type ${dtype}`,
    `tensor "${name.slice(0, 200)}" of ${path}`,
  );
  const sizes = shape.map(Number).reverse();
  if (sizes.length < 1 || sizes.length > MAX_RANK || sizes.some((size) => size < 1)) {
    throw fail(`has shape [${sizes.join(', ')}]; 1 to ${MAX_RANK} dimensions of at least 1 are allowed`);
  }
  const count = sizes.reduce((product, size) => product * size, 1);
  if (!Number.isSafeInteger(count * 4) || sizes[sizes.length - 1] % values !== 0) {
    throw fail(
      `has rows of ${sizes.at(-1)}, no whole number of ${typeName} blocks of ${values}, or too many`,
    );
  }
  const start = dataStart + Number(offset);
  if (!Number.isSafeInteger(start) || Number(offset) % alignment !== 0) {
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

function checkRanges(entries: readonly GgufEntry[], {path, size}: RandomAccessFile): void {
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

function malformed(path: string, what: string, cause?: unknown): ModelError {
  return new ModelError(
    'malformed-gguf',
    `the header of ${path} is damaged: ${what}; download it again`,
    {path},
    {cause},
  );
}
