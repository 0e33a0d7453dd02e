import {PassThrough} from 'node:stream';
import {expect} from 'chai';
import fc from 'fast-check';
import {FrameReader, writeFrame} from '../../lib/serve/frames.js';
import type {WireTensor} from '../../lib/serve/tensors.js';

interface Message {
  readonly text: string;
  readonly tensors?: readonly WireTensor[];
}

const dimensions = fc.array(fc.nat(5), {maxLength: 3});
const tensor = fc.tuple(fc.constantFrom('float32', 'int32', 'bool'), dimensions).chain(([dtype, shape]) => {
  const length = shape.reduce((product, size) => product * size, 1);
  const sized = {minLength: length, maxLength: length};
  const values =
    dtype === 'float32'
      ? fc.float32Array(sized)
      : dtype === 'int32'
        ? fc.int32Array(sized)
        : fc.uint8Array({...sized, max: 1});
  return values.map((values) => ({dtype, shape, values}));
});
const messages = fc.array(fc.record({text: fc.string({unit: 'grapheme'}), tensors: fc.array(tensor)}), {
  maxLength: 5,
});

/** What the frames of messages are made of. */
function bytesOf(all: readonly Message[]): Buffer {
  const stream = new PassThrough({highWaterMark: 2 ** 30});
  for (const message of all) writeFrame(stream, message);
  return (stream.read() as Buffer | null) ?? Buffer.alloc(0);
}

describe('frames', () => {
  it('give back what was written, in whatever pieces it comes', () => {
    fc.assert(
      fc.property(messages, fc.array(fc.integer({min: 1, max: 300}), {minLength: 1}), (all, pieces) => {
        const got: Message[] = [];
        const reader = new FrameReader<Message>((message) => got.push(message));
        const bytes = bytesOf(all);
        for (let place = 0, i = 0; place < bytes.length; i++) {
          const piece = bytes.subarray(place, place + pieces[i % pieces.length]);
          reader.read(piece);
          place += piece.length;
        }
        expect(got).to.deep.equal(all);
      }),
    );
  });

  it('are read to where the reader wants them, tensors to their own memory', () => {
    const large: WireTensor = {
      dtype: 'float32',
      shape: [300_001],
      values: Float32Array.from({length: 300_001}, (_, i) => i / 3),
    };
    const all = [
      {text: 'large', tensors: [large, {dtype: 'bool', shape: [3], values: Uint8Array.of(1, 0, 1)}]},
      {text: 'none', tensors: []},
      {text: 'again', tensors: [large]},
    ] as const;
    const got: Message[] = [];
    const reader = new FrameReader<Message>((message) => got.push(message));
    const bytes = bytesOf(all);
    for (let place = 0; place < bytes.length;) {
      const buffer = reader.nextBuffer();
      const count = Math.min(buffer.length, bytes.length - place);
      buffer.set(bytes.subarray(place, place + count));
      reader.read(buffer.subarray(0, count));
      place += count;
    }
    expect(got).to.deep.equal(all);
  });
});
