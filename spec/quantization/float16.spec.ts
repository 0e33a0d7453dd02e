/** @file Rounding to float16 against the list of all float16 numbers. */
import {expect} from 'chai';
import fc from 'fast-check';
import {FLOAT16_MAX, float16Bits, float16FromBits, roundToFloat16} from '../../lib/quantization/float16.js';

/** All non-negative finite float16 numbers, ascending; the parity of an index is that of its last bit. */
const FLOAT16 = Array.from({length: 0x7c00}, (_, bits) => {
  const [exponent, fraction] = [bits >> 10, bits & 0x3ff];
  return exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
});

/** The nearest float16, the one with an even last bit of two that are as near, by search. */
function nearest(value: number): number {
  const magnitude = Math.abs(value);
  let [low, high] = [0, FLOAT16.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (FLOAT16[middle] <= magnitude) low = middle;
    else high = middle;
  }
  const [down, up] = [magnitude - FLOAT16[low], FLOAT16[high] - magnitude];
  const index = down < up ? low : up < down ? high : low % 2 === 0 ? low : high;
  return value < 0 ? -FLOAT16[index] : FLOAT16[index];
}

describe('roundToFloat16', () => {
  it('keeps every float16', () => {
    for (const value of FLOAT16) {
      expect(roundToFloat16(value)).to.equal(value);
      expect(roundToFloat16(-value)).to.equal(-value);
    }
  });

  it('rounds halves between neighbours to even, and what is next to a half to its own side', () => {
    for (let i = 0; i + 1 < FLOAT16.length; i++) {
      const half = (FLOAT16[i] + FLOAT16[i + 1]) / 2;
      expect(roundToFloat16(half)).to.equal(FLOAT16[i % 2 === 0 ? i : i + 1]);
      expect(roundToFloat16(half * (1 - 2 ** -52))).to.equal(FLOAT16[i]);
      expect(roundToFloat16(half * (1 + 2 ** -52))).to.equal(FLOAT16[i + 1]);
    }
  });

  it('gives the nearest for any number, and for any product of a scale and a difference of bytes', () => {
    const inRange = fc.double({min: -FLOAT16_MAX, max: FLOAT16_MAX, noNaN: true});
    fc.assert(
      fc.property(inRange, (value) => {
        expect(roundToFloat16(value) + 0).to.equal(nearest(value) + 0);
      }),
    );
    const scale = fc.nat(FLOAT16.length - 1).map((index) => FLOAT16[index]);
    const products = fc.tuple(scale, fc.integer({min: -255, max: 255})).map(([s, t]) => s * t);
    fc.assert(
      fc.property(products, (value) => {
        fc.pre(Math.abs(value) <= FLOAT16_MAX);
        expect(roundToFloat16(value) + 0).to.equal(nearest(value) + 0);
      }),
      {numRuns: 2000},
    );
  });

  it('overflows to infinity from the half above the largest, and keeps NaN and -0', () => {
    expect(roundToFloat16(65519.99)).to.equal(FLOAT16_MAX);
    expect([65520, 1e9, Infinity].map(roundToFloat16)).to.deep.equal([Infinity, Infinity, Infinity]);
    expect(roundToFloat16(-65520)).to.equal(-Infinity);
    expect(roundToFloat16(NaN)).to.be.NaN;
    expect(Object.is(roundToFloat16(-0), -0)).to.equal(true);
    expect(Object.is(roundToFloat16(-1e-9), -0)).to.equal(true);
  });
});

describe('float16Bits', () => {
  it('is the way back from every number that has bits, and rounds as roundToFloat16', () => {
    for (let bits = 0; bits <= 0x7c00; bits++) {
      const value = bits < FLOAT16.length ? FLOAT16[bits] : Infinity;
      expect(float16Bits(value)).to.equal(bits);
      expect(float16Bits(-value)).to.equal(bits | 0x8000);
      expect(float16FromBits(bits)).to.equal(value);
      expect(Object.is(float16FromBits(bits | 0x8000), -value)).to.equal(true);
    }
    expect(float16FromBits(float16Bits(NaN))).to.be.NaN;
    fc.assert(
      fc.property(fc.float({noNaN: true}), (value) => {
        expect(float16FromBits(float16Bits(value))).to.equal(roundToFloat16(value));
      }),
    );
  });
});
