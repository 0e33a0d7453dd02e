/** @file INT4 quantization against what NNCF computed, integer for integer, and what must hold of it for any weights. */
import {createHash} from 'node:crypto';
import {expect} from 'chai';
import fc from 'fast-check';
import {float16Bits, float16FromBits} from '../../lib/quantization/float16.js';
import {
  dequantizeInt4,
  halfWordsOf,
  nibbleAt,
  quantizeInt4,
  wordsOf,
  type Int4Mode,
  type Int4Values,
} from '../../lib/quantization/int4.js';
import {failure} from '../support/io/files.js';
import {readVectors} from '../support/mlp3.js';

type Numbers = (number | string)[][];

interface Entry {
  q: number[][];
  scale_f16: Numbers;
  zero_point?: number[][];
  dequantized?: Numbers;
  dequantized_sha256?: string;
}

interface Edges {
  weights: Record<string, Numbers>;
  modes: Record<string, Entry>;
  overflow: {weights: Record<string, Numbers>; modes: Record<string, Entry>};
}

const MLP = readVectors<{weights: Record<string, Numbers>; quantized: Record<string, Entry>}>(
  'int4_mlp3.json',
);
const EDGES = readVectors<Edges>('int4_edge_rows.json');

/** [weights, mode, group size, what NNCF made of them] of every vector. */
const CASES: [string, Numbers, Entry][] = [
  ...Object.entries(MLP.quantized).map(([key, entry]): [string, Numbers, Entry] => [
    key,
    MLP.weights[key.split(' ')[0]],
    entry,
  ]),
  ...Object.entries(EDGES.modes).map(([key, entry]): [string, Numbers, Entry] => [
    `edge rows ${key}`,
    EDGES.weights['fc.weight'],
    entry,
  ]),
  ...Object.entries(EDGES.overflow.modes).map(([key, entry]): [string, Numbers, Entry] => [
    `overflow ${key}`,
    EDGES.overflow.weights['fc.weight'],
    entry,
  ]),
].filter(([key]) => key.includes('INT4'));

const numbers = (rows: Numbers) => rows.map((row) => row.map((value) => Math.fround(Number(value))));

/** [out, in] of a matrix, of what `at` says of [in, out]. */
const turned = (outputs: number, inputs: number, at: (input: number, output: number) => number) =>
  Array.from({length: outputs}, (_, n) => Array.from({length: inputs}, (_, k) => at(k, n)));

function integersOf({rows, columns, values, kind}: Int4Values): number[][] {
  const bytes = new Uint8Array(values.buffer);
  const offset = kind === 'sym' ? 8 : 0;
  return turned(columns, rows, (k, n) => nibbleAt(bytes, 4 * k * wordsOf(columns), n) - offset);
}

function halves(words: Int32Array, groups: number, columns: number): number[][] {
  const bits = new Uint16Array(words.buffer);
  return turned(columns, groups, (g, n) => float16FromBits(bits[2 * g * halfWordsOf(columns) + n]));
}

describe('quantizeInt4, as NNCF', () => {
  for (const [key, weights, expected] of CASES) {
    const [, mode, size] = /(INT4_\w+)\/(-?\d+)$/.exec(key)!;

    it(`gives the integers, scales, zero points and weights of ${key}`, () => {
      const [rows, columns] = [weights[0].length, weights.length]; // as [out, in]
      const groupSize = Number(size) === -1 ? rows : Number(size);
      const flat = Float32Array.from(numbers(weights).flat());
      const shape = {rows, columns, groupSize, isTransposed: true};
      const matrix = quantizeInt4(flat, shape, mode.toLowerCase() as Int4Mode);
      const groups = rows / groupSize;
      expect(integersOf(matrix)).to.deep.equal(expected.q);
      expect(halves(matrix.scale, groups, columns)).to.deep.equal(numbers(expected.scale_f16));
      if (matrix.zeroPoint === null) expect(expected.zero_point).to.equal(undefined);
      else {
        const bytes = new Uint8Array(matrix.zeroPoint.buffer);
        const zeros = turned(columns, groups, (g, n) => nibbleAt(bytes, 4 * g * wordsOf(columns), n));
        expect(zeros).to.deep.equal(expected.zero_point);
      }
      const dequantized = dequantizeInt4(matrix);
      const positive = turned(columns, rows, (k, n) => dequantized[k * columns + n] + 0); // -0 is 0
      if (expected.dequantized !== undefined) {
        expect(positive).to.deep.equal(numbers(expected.dequantized).map((row) => row.map((w) => w + 0)));
      }
      if (expected.dequantized_sha256 === undefined) return;
      const hash = createHash('sha256').update(new Uint8Array(Float32Array.from(positive.flat()).buffer));
      expect(hash.digest('hex').slice(0, 16)).to.equal(expected.dequantized_sha256);
    });
  }

  it('covers both modes and all group sizes of the vectors', () => {
    const sizes = new Set(CASES.map(([key]) => /INT4_\w+\/-?\d+$/.exec(key)![0]));
    for (const mode of ['INT4_ASYM', 'INT4_SYM']) {
      for (const size of [-1, 8, 32, 64, 128]) expect(sizes).to.include(`${mode}/${size}`);
    }
  });
});

const matrices = fc
  .record({
    groups: fc.integer({min: 1, max: 3}),
    groupSize: fc.integer({min: 1, max: 5}),
    columns: fc.integer({min: 1, max: 70}),
    mode: fc.constantFrom<Int4Mode>('int4_asym', 'int4_sym'),
  })
  .chain((shape) => {
    const length = shape.groups * shape.groupSize * shape.columns;
    const values = fc.array(fc.float({min: -1, max: 1, noNaN: true}), {minLength: length, maxLength: length});
    return values.map((weights) => ({...shape, weights: Float32Array.from(weights)}));
  });

describe('quantizeInt4', () => {
  it('lays 16 columns into 8 bytes, the first 8 into the lower halves, and pads with 0', () => {
    // A step of 1: the largest of 15 is in every column.
    const columns = 18;
    const row = Float32Array.from({length: columns}, (_, n) => n % 15);
    const weights = Float32Array.from([...row, ...Array<number>(columns).fill(15)]);
    const {values, scale, zeroPoint} = quantizeInt4(weights, {rows: 2, columns, groupSize: 2}, 'int4_asym');
    expect(wordsOf(columns)).to.equal(4);
    expect([...new Uint8Array(values.buffer)]).to.deep.equal([
      ...[0x80, 0x91, 0xa2, 0xb3, 0xc4, 0xd5, 0xe6, 0x07, 0x01, 0x02, 0, 0, 0, 0, 0, 0],
      ...[...Array<number>(8).fill(0xff), 0x0f, 0x0f, 0, 0, 0, 0, 0, 0],
    ]);
    expect([...new Uint16Array(scale.buffer)]).to.deep.equal(Array(columns).fill(0x3c00));
    expect([...zeroPoint!]).to.deep.equal([0, 0, 0, 0]);
  });

  it('takes weights that lie transposed', () => {
    fc.assert(
      fc.property(matrices, ({groups, groupSize, columns, mode, weights}) => {
        const rows = groups * groupSize;
        const shape = {rows, columns, groupSize};
        const transposed = weights.map((_, i) => weights[(i % rows) * columns + Math.floor(i / rows)]);
        expect(quantizeInt4(transposed, {...shape, isTransposed: true}, mode)).to.deep.equal(
          quantizeInt4(weights, shape, mode),
        );
      }),
    );
  });

  it('is within half a step of the weight, a whole one at the end of a symmetric range, and float16 roundings', () => {
    fc.assert(
      fc.property(matrices, ({groups, groupSize, columns, mode, weights}) => {
        const matrix = quantizeInt4(weights, {rows: groups * groupSize, columns, groupSize}, mode);
        const scales = halves(matrix.scale, groups, columns);
        dequantizeInt4(matrix).forEach((weight, i) => {
          const group = Math.floor(i / columns / groupSize);
          const step = Math.abs(scales[i % columns][group]);
          const rounding = 2 ** -10 * (Math.abs(weight) + step) + 2 ** -16;
          const steps = mode === 'int4_sym' ? 1 : 0.5;
          expect(Math.abs(weight - weights[i])).to.be.at.most(steps * step + rounding);
        });
      }),
    );
  });

  it('gives a row 64 bytes more where its bytes would be a multiple of 2,048', () => {
    const words = [1, 16, 17, 576, 4080, 4096, 4097, 8192, 11008].map(wordsOf);
    expect(words).to.deep.equal([2, 2, 4, 72, 510, 528, 514, 1040, 1376]);
  });

  it('refuses groups that do not divide the rows', async () => {
    const error = await failure(() =>
      quantizeInt4(new Float32Array(6), {rows: 6, columns: 1, groupSize: 4}, 'int4_sym'),
    );
    expect(error).to.include({code: 'bad-group-size'});
    expect(error).to.have.property('message').that.includes('group size is 4 for 6 rows');
  });
});

describe('dequantizeInt4', () => {
  it('multiplies and adds in float32 where there is a minimum', () => {
    const [scale, minimum] = [float16Bits(0.1), float16Bits(-0.3)];
    const values = Int32Array.of(0x0f, 0, 0x01, 0);
    const matrix: Int4Values = {
      ...{rows: 2, columns: 1, groupSize: 2, kind: 'minimum', values, zeroPoint: null},
      ...{scale: Int32Array.of(scale), minimum: Int32Array.of(minimum)},
    };
    const weight = (q: number) => Math.fround(float16FromBits(scale) * q + float16FromBits(minimum));
    expect([...dequantizeInt4(matrix)]).to.deep.equal([weight(15), weight(1)]);
  });
});
