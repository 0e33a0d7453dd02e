/**
 * @file The members of a zip archive by its central directory (PKWARE APPNOTE 6.3, with Zip64, which
 * numpy.savez always writes), each readable on its own as a stream: several arrays of one `.npz` are read side
 * by side in batches without holding any of them. Stored and deflated members only; checksums are verified.
 */

import {open} from 'node:fs/promises';
import {pipeline, Readable} from 'node:stream';
import {crc32, createInflateRaw} from 'node:zlib';

import {FileError} from '../../errors.js';
import {ByteReader} from '../files/byte-reader.js';
import {fileChunks} from '../files/file-chunks.js';
import {fileFailure} from '../files/file-failure.js';

const END_SIGNATURE = 0x06054b50;
const END_BYTES = 22;
const ZIP64_LOCATOR_SIGNATURE = 0x07064b50;
const ZIP64_LOCATOR_BYTES = 20;
const ZIP64_END_SIGNATURE = 0x06064b50;
const ZIP64_END_BYTES = 56;
const MEMBER_SIGNATURE = 0x02014b50;
const MEMBER_BYTES = 46;
const LOCAL_SIGNATURE = 0x04034b50;
const LOCAL_BYTES = 30;
const MAX_COMMENT_BYTES = 0xffff;
const ZIP64_EXTRA_ID = 1;
const [STORED, DEFLATED] = [0, 8];
/** Real archives of arrays have a few; 100,000 names take about this much. */
const MAX_DIRECTORY_BYTES = 16 * 1024 ** 2;
/** No deflate stream grows by more (zlib's own figure): a larger claim is a lie. */
const MAX_DEFLATE_RATIO = 1032;

/** One file of an archive. */
export interface ZipMember {
  readonly name: string;
  readonly deflated: boolean;
  /** Bytes in the archive. */
  readonly compressedBytes: number;
  /** Bytes once inflated. */
  readonly bytes: number;
  readonly crc: number;
  /** Where its local header lies. */
  readonly headerOffset: number;
}

/**
 * Lists an archive.
 *
 * @param path The archive.
 * @returns Its members in the order of its directory.
 * @throws FileError `not-zip`, `malformed-zip`, `unsupported-zip`, or if the file cannot be read.
 */
export async function readZipDirectory(path: string): Promise<ZipMember[]> {
  return withFile(path, async (read, size) => {
    const fail = failWith(path);
    const tailBytes = Math.min(size, END_BYTES + MAX_COMMENT_BYTES);
    const tail = await read(size - tailBytes, tailBytes);
    let end = tail.byteLength - END_BYTES;
    while (end >= 0 && tail.readUInt32LE(end) !== END_SIGNATURE) end--;
    if (end < 0) return fail('not-zip', 'it does not end as a zip archive does: was it cut off?');

    let count = tail.readUInt16LE(end + 10);
    let bytes = tail.readUInt32LE(end + 12);
    let start = tail.readUInt32LE(end + 16);
    if (count === 0xffff || bytes === 0xffffffff || start === 0xffffffff) {
      const locatorOffset = size - tailBytes + end - ZIP64_LOCATOR_BYTES;
      const locator = await read(locatorOffset, ZIP64_LOCATOR_BYTES);
      if (locator.readUInt32LE(0) !== ZIP64_LOCATOR_SIGNATURE)
        return fail('malformed-zip', 'its Zip64 locator is missing');
      const zip64 = await read(Number(locator.readBigUInt64LE(8)), ZIP64_END_BYTES);
      if (zip64.readUInt32LE(0) !== ZIP64_END_SIGNATURE)
        return fail('malformed-zip', 'its Zip64 end record is missing');
      count = Number(zip64.readBigUInt64LE(32));
      bytes = Number(zip64.readBigUInt64LE(40));
      start = Number(zip64.readBigUInt64LE(48));
    }
    if (bytes > MAX_DIRECTORY_BYTES || count * MEMBER_BYTES > bytes) {
      return fail('malformed-zip', `its directory claims ${count} members in ${bytes} bytes`);
    }
    return parseDirectory(await read(start, bytes), count, path);
  });
}

/**
 * Opens a member for reading from its start.
 *
 * @param path The archive.
 * @param member One of `readZipDirectory`.
 * @returns A reader of the inflated bytes, to be closed by the caller. Its last read fails with `FileError`
 *     `malformed-zip` if the bytes are not those that were archived.
 */
export async function openZipMember(path: string, member: ZipMember): Promise<ByteReader> {
  const start = await withFile(path, async (read, size) => {
    const header = await read(member.headerOffset, LOCAL_BYTES);
    const dataStart = member.headerOffset + LOCAL_BYTES + header.readUInt16LE(26) + header.readUInt16LE(28);
    if (header.readUInt32LE(0) !== LOCAL_SIGNATURE || dataStart + member.compressedBytes > size) {
      return failWith(path)('malformed-zip', `"${member.name}" does not lie where the directory says`);
    }
    return dataStart;
  });
  return new ByteReader(memberChunks(path, member, start), `${path}, member ${member.name}`);
}

function parseDirectory(directory: Buffer, count: number, path: string): ZipMember[] {
  const fail = failWith(path);
  const members: ZipMember[] = [];
  for (let at = 0, i = 0; i < count; i++) {
    if (at + MEMBER_BYTES > directory.byteLength || directory.readUInt32LE(at) !== MEMBER_SIGNATURE) {
      return fail('malformed-zip', `its directory is broken at member ${i}`);
    }
    const nameEnd = at + MEMBER_BYTES + directory.readUInt16LE(at + 28);
    const extraEnd = nameEnd + directory.readUInt16LE(at + 30);
    const name = directory.toString('utf8', at + MEMBER_BYTES, nameEnd);
    const method = directory.readUInt16LE(at + 10);
    if ((directory.readUInt16LE(at + 8) & 1) !== 0 || (method !== STORED && method !== DEFLATED)) {
      return fail(
        'unsupported-zip',
        `"${name}" is encrypted or packed by method ${method}: use numpy.savez_compressed`,
      );
    }
    const [bytes, compressedBytes, headerOffset] = zip64Values(directory.subarray(nameEnd, extraEnd), [
      directory.readUInt32LE(at + 24),
      directory.readUInt32LE(at + 20),
      directory.readUInt32LE(at + 42),
    ]);
    const most = method === STORED ? compressedBytes : (compressedBytes + 1) * MAX_DEFLATE_RATIO;
    if (bytes > most || (method === STORED && bytes !== compressedBytes)) {
      return fail('malformed-zip', `"${name}" claims ${bytes} bytes out of ${compressedBytes}`);
    }
    members.push({
      name,
      deflated: method === DEFLATED,
      compressedBytes,
      bytes,
      crc: directory.readUInt32LE(at + 16),
      headerOffset,
    });
    at = extraEnd + directory.readUInt16LE(at + 32);
  }
  return members;
}

/** Fields that are all ones have their values in the Zip64 extra field, in this order. */
function zip64Values(extra: Buffer, fields: readonly [number, number, number]): [number, number, number] {
  let at = 0;
  while (at + 4 <= extra.byteLength && extra.readUInt16LE(at) !== ZIP64_EXTRA_ID)
    at += 4 + extra.readUInt16LE(at + 2);
  at += 4;
  const [bytes, compressedBytes, offset] = fields.map((field) => {
    if (field !== 0xffffffff || at + 8 > extra.byteLength) return field;
    at += 8;
    return Number(extra.readBigUInt64LE(at - 8));
  });
  return [bytes, compressedBytes, offset];
}

async function* memberChunks(path: string, member: ZipMember, start: number): AsyncGenerator<Uint8Array> {
  const fail = failWith(path);
  const packed = fileChunks(path, start, member.compressedBytes);
  let crc = 0;
  let bytes = 0;
  for await (const chunk of member.deflated ? inflated(packed, path, member.name) : packed) {
    crc = crc32(chunk, crc);
    bytes += chunk.byteLength;
    if (bytes > member.bytes)
      return fail('malformed-zip', `"${member.name}" inflates to more than it claims`);
    yield chunk;
  }
  if (bytes !== member.bytes || crc !== member.crc) {
    fail('malformed-zip', `"${member.name}" is damaged (checksum): copy or make it again`);
  }
}

async function* inflated(
  packed: AsyncIterable<Uint8Array>,
  path: string,
  name: string,
): AsyncGenerator<Uint8Array> {
  const inflate = createInflateRaw();
  // pipeline destroys both ends together; what goes wrong comes out of the iteration below.
  pipeline(Readable.from(packed), inflate, () => undefined);
  try {
    yield* inflate as AsyncIterable<Buffer>;
  } catch (cause) {
    if (cause instanceof FileError) throw cause;
    const reason = cause instanceof Error ? cause.message : 'unreadable';
    throw new FileError('malformed-zip', `${path}: "${name}" is damaged (${reason})`, {path}, {cause});
  }
}

function failWith(path: string): (code: string, text: string) => never {
  return (code, text) => {
    throw new FileError(code, `${path}: ${text}`, {path});
  };
}

type ReadAt = (position: number, length: number) => Promise<Buffer>;

async function withFile<T>(path: string, use: (read: ReadAt, size: number) => Promise<T>): Promise<T> {
  try {
    const file = await open(path);
    try {
      const {size} = await file.stat();
      return await use(async (position, length) => {
        if (!(position >= 0 && position + length <= size))
          failWith(path)('malformed-zip', `byte ${position} does not exist`);
        const {buffer, bytesRead} = await file.read(Buffer.alloc(length), 0, length, position);
        if (bytesRead < length) failWith(path)('malformed-zip', 'it became shorter while it was read');
        return buffer;
      }, size);
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw fileFailure(path, cause);
  }
}
