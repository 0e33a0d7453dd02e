import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import type {WireTensor} from '../../lib/serve/tensors.js';
import {batchesAgree, warmUpInputs} from '../../lib/serve/worker/warm-up.js';
import {checkForLeaks} from '../support/backends.js';

const INFO = {name: 'x', dtype: 'float32' as const, shape: [null, 3]};
const toTensor = ({values, shape, dtype}: WireTensor) => tf.tensor(values, [...shape], dtype);

describe('the inputs of a warm-up', () => {
  it('have the size of the model where it has one, else 1, and differ from row to row', () => {
    const [x, y] = warmUpInputs([INFO, {name: 'y', dtype: 'int32', shape: [null, null, 2]}], 2);
    expect([x.shape, y.shape]).to.deep.equal([[2, 3], [2, 1, 2]]); // prettier-ignore
    expect(Array.from(y.values)).to.deep.equal([0, 0, 1, 1]); // ids, which every vocabulary has
    const rows = [x.values.slice(0, 3), x.values.slice(3)].map((row) => Array.from(row));
    expect(rows[0]).to.not.deep.equal(rows[1]);
    expect(Array.from(x.values)).to.deep.equal(
      Array.from({length: 6}, (_, i) => Math.fround(Math.sin(i * 12.9898 + 1))),
    );
    expect(warmUpInputs([{name: 'b', dtype: 'bool', shape: [4, 2]}], 2)[0].shape).to.deep.equal([4, 2]);
  });
});

describe('rows that are computed together', () => {
  checkForLeaks();
  before(() => tf.setBackend('cpu'));
  const agree = (compute: (x: tf.Tensor) => tf.Tensor | tf.Tensor[], shape: (number | null)[] = [null, 3]) =>
    batchesAgree([{...INFO, shape}], (batch) => tf.tidy(() => [compute(toTensor(batch[0]))].flat()));

  for (const [what, compute, expected] of [
    ['each of its row', (x) => tf.mul(x, 2), true],
    ['NaN alike', (x) => tf.mul(x, NaN), true],
    ['within rounding', (x) => tf.add(x, x.shape[0] * 1e-6), true],
    ['within rounding of large values', (x) => tf.mul(x, 1e6 + (x.shape[0] ?? 1)), true],
    ['small, and of the number of rows', (x) => tf.add(tf.mul(x, 1e-5), (x.shape[0] ?? 1) * 1e-6), false],
    ['of the whole batch', (x) => tf.sub(x, tf.mean(x)), false],
    ['of the number of rows', (x) => tf.add(x, x.shape[0] * 0.01), false],
    ['of the second row alone', (x) => (x.shape[0] === 2 ? tf.add(x, tf.tensor2d([[0], [1]])) : x), false],
    ['of the first row alone', (x) => (x.shape[0] === 2 ? tf.add(x, tf.tensor2d([[1], [0]])) : x), false],
    ['one for all rows', (x) => tf.mean(x, 0, true), false],
    ['rows as columns', (x) => tf.transpose(x), false],
    ['of a second output', (x) => [x, tf.sub(x, tf.mean(x))], false],
    ['longer where there are more rows', (x) => tf.tile(x, [1, x.shape[0]]), false],
  ] as readonly (readonly [string, (x: tf.Tensor) => tf.Tensor | tf.Tensor[], boolean])[]) {
    it(`${expected ? 'may' : 'may not'} be where the model gives what is ${what}`, async () => {
      expect(await agree(compute)).to.equal(expected);
    });
  }

  it('are tried once, and may not be, where the batch is fixed', async () => {
    let calls = 0;
    const compute = (x: tf.Tensor) => {
      expect(x.shape).to.deep.equal([5, 3]);
      calls++;
      return tf.mul(x, 2);
    };
    expect(await agree(compute, [5, 3])).to.equal(false);
    expect(calls).to.equal(1);
  });

  it('say what the model throws', async () => {
    const failing = () => {
      throw new Error('cannot');
    };
    const said = await agree(failing).catch((error: Error) => error.message);
    expect(said).to.equal('cannot');
  });
});
