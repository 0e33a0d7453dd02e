/** @file What must hold of INT8 quantization for any weights; the exact numbers are held by spec/nncf-int8.spec.ts. */
import {expect} from 'chai';
import fc from 'fast-check';
import {
  INT8_MODE,
  INT8_MODES,
  dequantizeInt8,
  quantizeInt8,
  type ChannelAxis,
  type Int8Mode,
} from '../../lib/quantization/int8.js';

import {failure} from '../support/io/files.js';

/** Weights of a matrix whose products all lie in float16's normal range, or are 0. */
const matrices = fc
  .record({
    rows: fc.integer({min: 1, max: 9}),
    columns: fc.integer({min: 1, max: 9}),
    channels: fc.constantFrom<ChannelAxis>('columns', 'rows'),
    scale: fc.constantFrom(0.05, 1, 300),
  })
  .chain(({scale, ...shape}) =>
    fc
      .array(fc.float({min: -1, max: 1, noNaN: true}), {
        minLength: shape.rows * shape.columns,
        maxLength: shape.rows * shape.columns,
      })
      .map((values) => ({...shape, weights: Float32Array.from(values, (value) => value * scale)})),
  );

const channelOf = (channels: ChannelAxis, row: number, column: number) =>
  channels === 'rows' ? row : column;

for (const mode of INT8_MODES) {
  describe(`quantizeInt8, ${mode}`, () => {
    it('is within half a step of the weight, and float16 roundings', () => {
      fc.assert(
        fc.property(matrices, ({weights, ...shape}) => {
          const quantized = quantizeInt8(weights, shape, mode);
          const dequantized = dequantizeInt8(quantized);
          weights.forEach((weight, i) => {
            const channel = channelOf(shape.channels, Math.floor(i / shape.columns), i % shape.columns);
            const step = Math.abs(quantized.scale[channel]);
            // The largest step is lost where the upper end of a symmetric range is clamped at 127.
            const steps = mode === 'int8_sym' ? 1 : 0.5;
            // The scale's float16 rounding and the product's: 2^-11 each of the weight; 2^-24 where subnormal.
            const rounding = 2 ** -10 * (Math.abs(weight) + step) + 2 ** -16;
            expect(Math.abs(dequantized[i] - weight)).to.be.at.most(steps * step * 1.001 + rounding);
          });
        }),
      );
    });

    it('gives 0 for 0 exactly: the range holds it', () => {
      fc.assert(
        fc.property(matrices, ({weights, ...shape}) => {
          weights[0] = 0;
          expect(dequantizeInt8(quantizeInt8(weights, shape, mode))[0] + 0).to.equal(0);
        }),
      );
    });

    it('stores integers in their range and pads rows with 0 to whole words', () => {
      fc.assert(
        fc.property(matrices, ({weights, ...shape}) => {
          const {values, stride, zeroPoint, scale} = quantizeInt8(weights, shape, mode);
          expect(stride % 4).to.equal(0);
          expect(stride - shape.columns).to.be.within(0, 3);
          expect(values.length).to.equal(shape.rows * stride);
          values.forEach((value, i) => {
            if (i % stride >= shape.columns) expect(value).to.equal(0);
          });
          for (const point of zeroPoint) {
            expect(Number.isInteger(point)).to.equal(true);
            expect(point).to.be.within(mode === 'int8_sym' ? 0 : -128, mode === 'int8_sym' ? 0 : 127);
          }
          for (const step of scale) expect(mode === 'int8_sym' ? Math.abs(step) : step).to.be.greaterThan(0);
        }),
      );
    });

    it('treats rows of a matrix as columns of its transpose', () => {
      fc.assert(
        fc.property(matrices, ({weights, rows, columns}) => {
          const swapped = new Float32Array(weights.length);
          weights.forEach((w, i) => (swapped[(i % columns) * rows + Math.floor(i / columns)] = w));
          const byRow = quantizeInt8(weights, {rows, columns, channels: 'rows'}, mode);
          const shape = {rows: columns, columns: rows, channels: 'columns'} as const;
          const byColumn = quantizeInt8(swapped, shape, mode);
          expect(byColumn.scale).to.deep.equal(byRow.scale);
          expect(byColumn.zeroPoint).to.deep.equal(byRow.zeroPoint);
          const other = dequantizeInt8(byColumn);
          dequantizeInt8(byRow).forEach((w, i) =>
            expect(other[(i % columns) * rows + Math.floor(i / columns)]).to.equal(w),
          );
        }),
      );
    });
  });
}

describe('quantizeInt8, int8_sym', () => {
  it('gives -128 to the end of the range that reaches further, with a negative scale for the upper one', () => {
    const one = (values: number[], mode: Int8Mode = 'int8_sym') =>
      quantizeInt8(Float32Array.from(values), {rows: values.length, columns: 1, channels: 'columns'}, mode);
    const upper = one([-0.5, 1, 0.25]);
    expect([upper.values[4], Math.sign(upper.scale[0])]).to.deep.equal([-128, -1]);
    const lower = one([-1, 0.5, 0.25]);
    expect([lower.values[0], Math.sign(lower.scale[0])]).to.deep.equal([-128, 1]);
  });
});

describe('the mode of INT8', () => {
  const shape = {rows: 1, columns: 1, channels: 'columns'} as const;

  for (const [got, said] of [
    ['int4_sym', '"int4_sym"'],
    ['', '""'],
    [8, '8'],
    [null, 'null'],
  ] as const) {
    it(`is refused if it is ${said}, with those that there are`, async () => {
      const quantize = () => quantizeInt8(Float32Array.of(1), shape, got as unknown as Int8Mode);
      for (const check of [() => INT8_MODE(got, 'mode', 'compressWeights'), quantize]) {
        const error = await failure(check);
        expect(error.code).to.equal('unsupported-mode');
        expect(error.message).to.equal(`the mode is ${said}; supported are "int8_asym" and "int8_sym"`);
        expect(error.data).to.deep.equal({got, allowed: ['int8_asym', 'int8_sym']});
      }
    });
  }

  it('may be left out of options', () => {
    for (const mode of [undefined, ...INT8_MODES]) INT8_MODE(mode, 'mode', 'compressWeights');
  });

  it('is asked for beside a shape of whole numbers', async () => {
    const wrong = () => quantizeInt8(Float32Array.of(1), {...shape, rows: 0.5}, 'int8_asym');
    const error = await failure(wrong);
    expect(error.code).to.equal('bad-option');
    expect(error.message).to.include('quantizeInt8').and.include('rows');
  });
});

describe('quantizeInt8, int8_asym', () => {
  const column = (...values: number[]) =>
    quantizeInt8(
      Float32Array.from(values),
      {rows: values.length, columns: 1, channels: 'columns'},
      'int8_asym',
    );

  it('spreads 256 steps from the least to the greatest weight, with 0 among them', () => {
    const {values, scale, zeroPoint, stride} = column(-1, 0, 1, 4.1015625);
    // A step of 5.1015625 / 255 is 0.02000613, of which float16 holds 0.02000427; 0 is step 50.
    expect(scale[0]).to.equal(1311 * 2 ** -16);
    expect(zeroPoint[0]).to.equal(50 - 128);
    expect([...values].filter((_, i) => i % stride === 0)).to.deep.equal([-128, 50 - 128, 100 - 128, 127]);
  });

  it('has a zero point at the end of weights of one sign', () => {
    expect(column(1, 2).zeroPoint[0]).to.equal(-128);
    expect(column(-1, -2).zeroPoint[0]).to.equal(127);
    expect([...column(1, 4).values].filter((_, i) => i % 4 === 0)).to.deep.equal([-64, 127]);
  });

  it('has a step of the least float32 epsilon where all weights are 0', () => {
    expect(column(0, 0).scale[0]).to.equal(2 ** -23);
  });
});
