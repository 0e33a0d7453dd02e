import {expect} from 'chai';
import fc from 'fast-check';
import {flatJson, nestedJson, nestedTensor, rowJson, shapedTensor} from '../../lib/serve/json-tensors.js';
import {joinRows, splitRows} from '../../lib/serve/batch.js';

const shapes = fc.array(fc.integer({min: 1, max: 4}), {minLength: 1, maxLength: 4});
const tensors = shapes.chain((shape) => {
  const size = shape.reduce((product, dimension) => product * dimension, 1);
  const values = fc.array(fc.float({noNaN: true, noDefaultInfinity: true}), {
    minLength: size,
    maxLength: size,
  });
  return values.map((list) => ({dtype: 'float32' as const, shape, values: Float32Array.from(list)}));
});

describe('tensors as JSON', () => {
  it('come back as they were, nested and flat', () => {
    fc.assert(
      fc.property(tensors, ({dtype, shape, values}) => {
        const info = {name: 'x', dtype, shape};
        const positive = values.map((value) => (value === 0 ? 0 : value)); // JSON has no -0
        const tensor = {dtype, shape, values: positive};
        expect(nestedTensor(JSON.parse(nestedJson(tensor)), info)).to.deep.equal(tensor);
        expect(shapedTensor(JSON.parse(nestedJson(tensor)), info)).to.deep.equal(tensor);
        expect(shapedTensor(JSON.parse(flatJson(tensor)), info)).to.deep.equal(tensor);
      }),
    );
  });

  it('are written with the words of TensorFlow Serving where JSON has none', () => {
    const values = Float32Array.of(NaN, Infinity, -Infinity, 1);
    expect(nestedJson({dtype: 'float32', shape: [2, 2], values})).to.equal('[[NaN,Infinity],[-Infinity,1]]');
  });

  it('are true and false for bool', () => {
    expect(nestedJson({dtype: 'bool', shape: [1, 2], values: Uint8Array.of(1, 0)})).to.equal(
      '[[true,false]]',
    );
  });
});

describe('values in JSON', () => {
  for (const [dtype, right, wrong] of [
    ['float32', [0, -1.5, 3.4e38], [3.5e38, -1e39, '1', null, true, [1], {}]],
    ['int32', [0, -(2 ** 31), 2 ** 31 - 1], [2 ** 31, -(2 ** 31) - 1, 0.5, '1', null, true]],
    ['bool', [true, false], [0, 1, 'true', null]],
  ] as const) {
    it(`of ${dtype} are taken, and others refused with their place`, () => {
      const info = {name: 'x', dtype, shape: [null]};
      const {values} = nestedTensor(right, info);
      expect(Array.from(values)).to.deep.equal(
        right.map((value) => (dtype === 'float32' ? Math.fround(Number(value)) : Number(value))),
      );
      for (const value of wrong) {
        expect(() => nestedTensor([right[0], value], info), JSON.stringify(value))
          .to.throw('value 1 of "x" is')
          .with.property('status', 400);
      }
    });
  }

  it('are written row by row', () => {
    const tensor = {
      dtype: 'int32' as const,
      shape: [3, 2, 2],
      values: Int32Array.from({length: 12}, (_, i) => i),
    };
    expect([0, 1, 2].map((row) => rowJson(tensor, row))).to.deep.equal([
      '[[0,1],[2,3]]',
      '[[4,5],[6,7]]',
      '[[8,9],[10,11]]',
    ]);
    expect(rowJson({...tensor, shape: [12]}, 5)).to.equal('5');
    expect(rowJson({dtype: 'bool', shape: [2], values: Uint8Array.of(0, 1)}, 1)).to.equal('true');
    expect(flatJson({dtype: 'bool', shape: [2], values: Uint8Array.of(0, 1)})).to.equal('[false,true]');
  });
});

describe('tensors that claim more than they hold', () => {
  const info = {name: 'x', dtype: 'float32' as const, shape: [null, null]};
  const long = Array<number>(16_000).fill(0);
  // By its first row and the number of its rows it has 2^28 values.
  const claiming = [long, ...Array.from({length: 16_000}, () => [0])];

  for (const [what, read] of [
    ['in nested arrays', () => nestedTensor(claiming, info)],
    ['by their shape', () => shapedTensor([[0]], {...info, shape: [16_000, 16_000]})],
    ['by their shape, in a flat array', () => shapedTensor([0], {...info, shape: [16_000, 16_000]})],
  ] as const) {
    it(`are refused before memory is taken, ${what}`, () => {
      const before = process.memoryUsage().arrayBuffers;
      const error = (() => {
        try {
          return read();
        } catch (error) {
          // Before anything is collected.
          return {error, taken: process.memoryUsage().arrayBuffers - before};
        }
      })() as {error: Error; taken: number};
      expect(error.error).to.have.property('status', 400);
      expect(error.taken).to.be.below(2 ** 20);
    });
  }

  it('are told where they are ragged', () => {
    expect(() => nestedTensor([[1, 2], [3]], info)).to.throw(
      'an array of 1 beside arrays of 2 in dimension 1',
    );
    expect(() => nestedTensor([[1, 2], 3], info)).to.throw('number beside arrays of 2 in dimension 1');
    expect(() => shapedTensor([[1], [2], [3]], {...info, shape: [2, 1]})).to.throw(
      'an array of 3 beside arrays of 2 in dimension 0',
    );
  });
});

describe('batches', () => {
  it('are taken apart into what they were joined of', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({min: 1, max: 5}), {minLength: 1, maxLength: 6}), (counts) => {
        let next = 0;
        const requests = counts.map((rows) => [
          {
            dtype: 'float32' as const,
            shape: [rows, 3],
            values: Float32Array.from({length: rows * 3}, () => next++),
          },
        ]);
        expect(splitRows(joinRows(requests), counts)).to.deep.equal(requests);
      }),
    );
  });

  it('are refused where an output has other rows', () => {
    const outputs = [{dtype: 'float32' as const, shape: [1, 2], values: new Float32Array(2)}];
    expect(() => splitRows(outputs, [1, 1]))
      .to.throw('for 2 rows')
      .with.property('status', 500);
    const more = [{dtype: 'float32' as const, shape: [3, 2], values: new Float32Array(6)}];
    expect(() => splitRows(more, [1, 1])).to.throw('shape [3, 2] for 2 rows');
  });

  it('of one request are its own, whatever rows its outputs have', () => {
    const outputs = [{dtype: 'float32' as const, shape: [3, 2], values: new Float32Array(6)}];
    expect(splitRows(outputs, [1])).to.deep.equal([outputs]);
  });
});
