/**
 * @file The values of a GGUF header in their order, read in pieces as they are needed. A length that the file does not have,
 * or that no header has, ends the reading before it takes memory.
 */
import {ModelError} from '../../errors.js';
import type {RandomAccess} from '../../io/files/random-access.js';

/** The largest vocabulary of these families (256,000 tokens with scores and merges) takes 14 MB. */
const MAX_HEADER_BYTES = 40_000_000;
/** Read at a time; the piece that a download is stored in is as large. */
const READ_BYTES = 4 * 1024 ** 2;
/** Lists of lists in metadata. */
const MAX_DEPTH = 4;

/** Numbers of the types of metadata values. */
const STRING = 8;
const ARRAY = 9;

/** Bytes of a value of every other type, and how it is read, little-endian. */
const SCALARS: Readonly<
  Record<number, readonly [bytes: number, read: (view: DataView, at: number) => unknown]>
> = {
  0: [1, (view, at) => view.getUint8(at)],
  1: [1, (view, at) => view.getInt8(at)],
  2: [2, (view, at) => view.getUint16(at, true)],
  3: [2, (view, at) => view.getInt16(at, true)],
  4: [4, (view, at) => view.getUint32(at, true)],
  5: [4, (view, at) => view.getInt32(at, true)],
  6: [4, (view, at) => view.getFloat32(at, true)],
  7: [1, (view, at) => view.getUint8(at) !== 0],
  10: [8, (view, at) => view.getBigUint64(at, true)],
  11: [8, (view, at) => view.getBigInt64(at, true)],
  12: [8, (view, at) => view.getFloat64(at, true)],
};

export class GgufBytes {
  /** Of the next value in the file. */
  position = 0;
  private buffer: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  private view = new DataView(this.buffer.buffer);
  /** Of the buffer's first byte in the file. */
  private start = 0;
  // A vocabulary has tokens that start with a byte order mark, which is a part of them.
  private readonly decoder = new TextDecoder('utf-8', {ignoreBOM: true});

  constructor(private readonly file: RandomAccess) {}

  async skip(count: number): Promise<void> {
    await this.need(count);
    this.position += count;
  }

  async uint32(): Promise<number> {
    const at = await this.need(4);
    this.position += 4;
    return this.view.getUint32(at, true);
  }

  /** As a number: of one beyond 2^53 the last bits are lost. */
  async uint64(): Promise<number> {
    const at = await this.need(8);
    this.position += 8;
    return Number(this.view.getBigUint64(at, true));
  }

  async text(): Promise<string> {
    const length = await this.uint64();
    const at = await this.need(length);
    this.position += length;
    return this.decoder.decode(this.buffer.subarray(at, at + length));
  }

  /** A metadata value. */
  async value(type: number, depth = 0): Promise<unknown> {
    if (type === STRING) return this.text();
    if (type === ARRAY) return this.list(depth);
    if (!Object.hasOwn(SCALARS, type)) throw this.malformed(`it has a value of type ${type}`);
    const [bytes, read] = SCALARS[type];
    const at = await this.need(bytes);
    this.position += bytes;
    return read(this.view, at);
  }

  private async list(depth: number): Promise<unknown[]> {
    if (depth === MAX_DEPTH) throw this.malformed(`it has lists in lists, more than ${MAX_DEPTH} deep`);
    const type = await this.uint32();
    const length = await this.uint64();
    const values: unknown[] = [];
    if (Object.hasOwn(SCALARS, type)) {
      const [bytes, read] = SCALARS[type];
      const at = await this.need(length * bytes);
      for (let i = 0; i < length; i++) values.push(read(this.view, at + i * bytes));
      this.position += length * bytes;
      return values;
    }
    for (let i = 0; i < length; i++) {
      // A vocabulary has 100,000 strings and more: nothing is waited for where they are here.
      const text = type === STRING ? this.textHere() : null;
      values.push(text ?? (await this.value(type, depth + 1)));
    }
    return values;
  }

  /** The next text if the buffer has it whole. */
  private textHere(): string | null {
    const at = this.position - this.start;
    if (at + 8 > this.buffer.byteLength) return null;
    const end = at + 8 + Number(this.view.getBigUint64(at, true));
    if (end > this.buffer.byteLength) return null;
    this.position = this.start + end;
    return this.decoder.decode(this.buffer.subarray(at + 8, end));
  }

  /** Makes sure that so many bytes are in the buffer; returns where. */
  private async need(count: number): Promise<number> {
    const end = this.position + count;
    if (end > this.start + this.buffer.byteLength) await this.fill(end);
    return this.position - this.start;
  }

  private async fill(end: number): Promise<void> {
    const {size} = this.file;
    if (end > MAX_HEADER_BYTES) throw this.malformed(`its header is longer than ${MAX_HEADER_BYTES} bytes`);
    if (end > size) throw this.malformed(`its header ends at byte ${end}, behind the end of the file`);
    const rest = this.buffer.subarray(this.position - this.start);
    const from = this.position + rest.byteLength;
    const until = Math.min(size, Math.max(end, from + READ_BYTES));
    const bytes = new Uint8Array(rest.byteLength + until - from);
    bytes.set(rest);
    await this.file.readInto(bytes.subarray(rest.byteLength), from, 'the header');
    this.buffer = bytes;
    this.view = new DataView(bytes.buffer);
    this.start = this.position;
  }

  private malformed(what: string): ModelError {
    const {name: path} = this.file;
    return new ModelError('malformed-gguf', `the header of ${path} is damaged: ${what}; download it again`, {
      path,
    });
  }
}
