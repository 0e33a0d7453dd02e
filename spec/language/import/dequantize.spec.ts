import {expect} from 'chai';
import {BLOCK_FORMATS, dequantize} from '../../../lib/language/import/dequantize.js';
import {float16ToFloat32Bits} from '../../../lib/quantization/float16.js';
import {seededRandom} from '../../../lib/stats/seeded-random.js';
import {rejection} from '../../support/rejection.js';

/** One value of one block, straight from the format's definition; slow, and nothing shared with the code. */
type Reference = (block: DataView, index: number) => number;

/** IEEE 754 binary16 by its definition. */
function half(block: DataView, offset: number): number {
  const bits = block.getUint16(offset, true);
  const exponent = (bits >> 10) & 31;
  const fraction = (bits & 1023) / 1024;
  const size =
    exponent === 0
      ? fraction * 2 ** -14
      : exponent === 31
        ? fraction
          ? NaN
          : Infinity
        : (1 + fraction) * 2 ** (exponent - 15);
  return bits >> 15 ? -size : size;
}

/** Four bits of a run of 16 bytes: the first 16 values in the low halves, the next 16 in the high ones. */
function nibble(block: DataView, start: number, index: number): number {
  const byte = block.getUint8(start + (index % 16));
  return index < 16 ? byte % 16 : Math.floor(byte / 16);
}

const fifthBit = (block: DataView, start: number, index: number) =>
  Math.floor(block.getUint32(start, true) / 2 ** index) % 2;

/** ggml's get_scale_min_k4: 8 scales and 8 minima of 6 bits in 12 bytes. */
function sixBits(block: DataView, part: number): [scale: number, minimum: number] {
  const q = (i: number) => block.getUint8(4 + i);
  if (part < 4) return [q(part) & 63, q(part + 4) & 63];
  return [(q(part + 4) & 15) + 16 * (q(part - 4) >> 6), (q(part + 4) >> 4) + 16 * (q(part) >> 6)];
}

const REFERENCES: Readonly<Record<string, Reference>> = {
  F32: (block) => block.getFloat32(0, true),
  F16: (block) => half(block, 0),
  BF16: (block) => {
    const wide = new DataView(new ArrayBuffer(4));
    wide.setUint16(0, block.getUint16(0, true));
    return wide.getFloat32(0);
  },
  Q4_0: (block, i) => half(block, 0) * (nibble(block, 2, i) - 8),
  Q4_1: (block, i) => half(block, 0) * nibble(block, 4, i) + half(block, 2),
  Q5_0: (block, i) => half(block, 0) * (nibble(block, 6, i) + 16 * fifthBit(block, 2, i) - 16),
  Q5_1: (block, i) => half(block, 0) * (nibble(block, 8, i) + 16 * fifthBit(block, 4, i)) + half(block, 2),
  Q8_0: (block, i) => half(block, 0) * block.getInt8(2 + i),
  Q4_K: (block, i) => {
    const part = Math.floor(i / 32);
    const [scale, minimum] = sixBits(block, part);
    const byte = block.getUint8(16 + 32 * Math.floor(part / 2) + (i % 32));
    return half(block, 0) * scale * (part % 2 ? byte >> 4 : byte & 15) - half(block, 2) * minimum;
  },
  Q5_K: (block, i) => {
    const part = Math.floor(i / 32);
    const [scale, minimum] = sixBits(block, part);
    const byte = block.getUint8(48 + 32 * Math.floor(part / 2) + (i % 32));
    const fifth = (block.getUint8(16 + (i % 32)) >> part) & 1;
    return (
      half(block, 0) * scale * ((part % 2 ? byte >> 4 : byte & 15) + 16 * fifth) - half(block, 2) * minimum
    );
  },
  Q6_K: (block, i) => {
    const [half128, within] = [Math.floor(i / 128), i % 128];
    const [run, at] = [Math.floor(within / 32), within % 32];
    const lowByte = block.getUint8(64 * half128 + (run % 2) * 32 + at);
    const low = run < 2 ? lowByte & 15 : lowByte >> 4;
    const high = (block.getUint8(128 + 32 * half128 + at) >> (2 * run)) & 3;
    return half(block, 208) * block.getInt8(192 + Math.floor(i / 16)) * (low + 16 * high - 32);
  },
};

describe('dequantize', () => {
  it('has a reference for every dtype', () => {
    expect(Object.keys(REFERENCES)).to.have.members(Object.keys(BLOCK_FORMATS));
  });

  for (const [dtype, reference] of Object.entries(REFERENCES)) {
    it(`widens ${dtype} as its definition says, to the last bit`, () => {
      const {values, bytes} = BLOCK_FORMATS[dtype];
      const random = seededRandom(dtype.length * 7 + bytes);
      const blocks = 300;
      // One byte off an even place: pieces of a file start anywhere.
      const source = new Uint8Array(blocks * bytes + 1).subarray(1);
      for (let i = 0; i < source.length; i++) source[i] = Math.floor(random() * 256);
      const got = dequantize(dtype, source, blocks * values);
      for (let i = 0; i < got.length; i++) {
        const block = new DataView(source.buffer, source.byteOffset + Math.floor(i / values) * bytes, bytes);
        // The definition is exact in float64, so rounding it once is what float32 arithmetic gives.
        const wanted = Math.fround(reference(block, i % values));
        if (!Object.is(got[i], wanted)) expect(got[i], `value ${i}`).to.equal(wanted);
      }
    });
  }

  it('widens a Q4_1 block written by hand: scale 0.5, minimum -1, quants 0 to 15 twice', () => {
    const block = new Uint8Array(20);
    new DataView(block.buffer).setUint16(0, 0x3800, true);
    new DataView(block.buffer).setUint16(2, 0xbc00, true);
    for (let i = 0; i < 16; i++) block[4 + i] = i * 17;
    const once = Array.from({length: 16}, (_, i) => i * 0.5 - 1);
    expect([...dequantize('Q4_1', block, 32)]).to.deep.equal([...once, ...once]);
  });

  it('keeps every binary16 value, NaN payloads included', () => {
    const source = Uint16Array.from({length: 65536}, (_, bits) => bits);
    const got = dequantize('F16', new Uint8Array(source.buffer), 65536);
    const bits = new Uint32Array(got.buffer);
    for (let i = 0; i < 65536; i++) {
      const value = half(new DataView(source.buffer, 2 * i, 2), 0);
      if (Number.isNaN(value)) expect((bits[i] >> 13) & 1023).to.equal(i & 1023);
      else if (!Object.is(got[i], value)) expect(got[i], `0x${i.toString(16)}`).to.equal(value);
    }
  });

  it('finds the bits of float32 for those of every binary16 value', () => {
    const bits = new DataView(new ArrayBuffer(4));
    for (let i = 0; i < 65536; i++) {
      bits.setUint32(0, float16ToFloat32Bits(i));
      const wanted = half(new DataView(Uint16Array.of(i).buffer), 0);
      if (!Object.is(bits.getFloat32(0), wanted))
        expect(bits.getFloat32(0), `0x${i.toString(16)}`).to.equal(wanted);
    }
    expect([0x7c00, 0xfe01].map(float16ToFloat32Bits)).to.deep.equal([0x7f800000, 0xffc02000]);
  });

  it('rejects a dtype that it does not know, naming those that it does', async () => {
    const error = await rejection(() => dequantize('IQ2_XS', new Uint8Array(74), 256), 'unsupported-dtype');
    expect(error.message).to.equal(
      'the data is IQ2_XS; F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K can be read: take the model ' +
        'in one of these, such as Q8_0 or Q4_K_M',
    );
    expect(error.data).to.deep.equal({dtype: 'IQ2_XS'});
  });

  it('rejects data of another length than the values take', async () => {
    for (const [bytes, count] of [
      [33, 32],
      [34, 16],
      [17, 16],
      [35, 32],
    ]) {
      const error = await rejection(() => dequantize('Q8_0', new Uint8Array(bytes), count), 'truncated');
      expect(error.message).to.equal(
        `${count} values of Q8_0 take 34 bytes for every 32; there are ${bytes} bytes`,
      );
      expect(error.data).to.deep.equal({dtype: 'Q8_0', count, bytes});
    }
  });
});
