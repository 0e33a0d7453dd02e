/**
 * @file Messages with tensors over a stream between front and worker: JSON, and the tensors' bytes behind it as they lie
 * in memory. Node's own channel would clone them into memory that is new for each message, which V8 then collects its
 * whole heap for.
 *
 * A frame is two float64, how many bytes JSON and tensors have, then both; every tensor begins at a multiple of 8. Both
 * ends are one machine, so byte order is its own.
 */
import type {Writable} from 'node:stream';
import {VALUE_ARRAYS, type TensorValues, type WireTensor} from './tensors.js';

const SIZES_BYTES = 16;
const ALIGNMENT = 8;
/** What is read at once while it is not known what comes. */
const SCRATCH_BYTES = 64 * 1024;

type TensorHead = Pick<WireTensor, 'dtype' | 'shape'>;

/** What a message may carry beside its JSON. */
interface WithTensors {
  readonly tensors?: readonly WireTensor[];
}

/**
 * Writes a message.
 *
 * @param message Its tensors are not copied: what is read of them is what they hold by the time that it goes out.
 */
export function writeFrame(stream: Writable, message: object): void {
  const {tensors = [], ...rest} = message as WithTensors;
  const heads = tensors.map(({dtype, shape}): TensorHead => ({dtype, shape}));
  const json = JSON.stringify({...rest, tensors: heads});
  const jsonBytes = Buffer.byteLength(json);
  const tensorBytes = tensors.reduce((sum, {values}) => sum + padded(values.byteLength), 0);
  const start = Buffer.allocUnsafe(SIZES_BYTES + jsonBytes);
  start.set(new Uint8Array(Float64Array.of(jsonBytes, tensorBytes).buffer));
  start.write(json, SIZES_BYTES);
  stream.cork(); // one call to the system for all
  stream.write(start);
  for (const {values} of tensors) for (const bytes of bytesOf(values)) stream.write(bytes);
  stream.uncork();
}

/** Puts frames together from what a stream gives, in pieces as they come. */
export class FrameReader<M extends object> {
  private readonly scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  private readonly sizes = new Float64Array(2);
  /** What is being filled: the sizes, the JSON, or the tensors. */
  private part: 'sizes' | 'json' | 'tensors' = 'sizes';
  private target = Buffer.from(this.sizes.buffer);
  private filled = 0;
  private json = '';

  /** @param take Gets each message; its tensors are the taker's own. */
  constructor(private readonly take: (message: M) => void) {}

  /** Where the stream should read to next: into the tensors themselves once they are awaited. */
  nextBuffer(): Uint8Array {
    return this.part === 'tensors' ? this.target.subarray(this.filled) : this.scratch;
  }

  /** Takes what was read, into `nextBuffer` or elsewhere. */
  read(bytes: Uint8Array): void {
    if (this.part === 'tensors' && bytes.buffer === this.target.buffer) {
      this.advance(bytes.length);
      return;
    }
    for (let place = 0; place < bytes.length;) {
      const count = Math.min(bytes.length - place, this.target.length - this.filled);
      this.target.set(bytes.subarray(place, place + count), this.filled);
      place += count;
      this.advance(count);
    }
  }

  private advance(count: number): void {
    this.filled += count;
    while (this.filled === this.target.length) this.next();
  }

  /** A part is complete. */
  private next(): void {
    this.filled = 0;
    if (this.part === 'sizes') this.expect('json', Buffer.allocUnsafe(this.sizes[0]));
    else if (this.part === 'json') {
      this.json = this.target.toString();
      this.expect('tensors', Buffer.allocUnsafeSlow(this.sizes[1]));
    } else {
      const message = JSON.parse(this.json) as {readonly tensors: readonly TensorHead[]};
      const tensors = tensorsIn(this.target.buffer, message.tensors);
      this.expect('sizes', Buffer.from(this.sizes.buffer));
      this.take({...message, tensors} as unknown as M);
    }
  }

  private expect(part: 'sizes' | 'json' | 'tensors', target: Buffer<ArrayBuffer>): void {
    this.part = part;
    this.target = target;
  }
}

function tensorsIn(bytes: ArrayBuffer, heads: readonly TensorHead[]): WireTensor[] {
  let place = 0;
  return heads.map(({dtype, shape}) => {
    const size = shape.reduce((product, dimension) => product * dimension, 1);
    const values = new VALUE_ARRAYS[dtype](bytes, place, size);
    place += padded(values.byteLength);
    return {dtype, shape, values};
  });
}

/** Where they lie, and what is missing to a multiple of the alignment. */
function bytesOf({buffer, byteOffset, byteLength}: TensorValues): Buffer[] {
  const bytes = Buffer.from(buffer, byteOffset, byteLength);
  const padding = padded(byteLength) - byteLength;
  return padding === 0 ? [bytes] : [bytes, Buffer.alloc(padding)];
}

function padded(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
