import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {openDataBlob} from '../../../lib/io/data/data-blob.js';
import {encodeNpy} from '../../../lib/io/data/npy.js';
import {checkForLeaks} from '../../support/backends.js';
import {failure} from '../../support/io/files.js';

/** Shapes, types and values of all batches, which are disposed of. */
async function read(data: AsyncIterable<unknown>): Promise<object[]> {
  const batches = [];
  for await (const batch of data) {
    const tensor = batch as tf.Tensor;
    batches.push({shape: tensor.shape, dtype: tensor.dtype, values: Array.from(tensor.dataSync())});
    tensor.dispose();
  }
  return batches;
}

const json = (value: unknown) => new Blob([JSON.stringify(value)]);

describe('openDataBlob', () => {
  before(() => tf.setBackend('cpu'));
  checkForLeaks();

  it('reads .npy in batches of rows, any number of times', async () => {
    const data = openDataBlob(
      new Blob([encodeNpy(Uint8Array.of(0, 51, 102, 153, 204, 255), [3, 2]).slice()]),
      'A.NPY',
      {
        batchSize: 2,
        scale: 1 / 255,
      },
    );
    const expected = [
      {shape: [2, 2], dtype: 'float32', values: [0, 0.2, 0.4, 0.6].map(Math.fround)},
      {shape: [1, 2], dtype: 'float32', values: [0.8, 1].map(Math.fround)},
    ];
    expect(await read(data)).to.deep.equal(expected);
    expect(await read(data)).to.deep.equal(expected);
    expect(await data.itemCount()).to.equal(3);
    expect(await data.holdsBytes()).to.equal(true);
  });

  it('reads .npy that is longer than a piece of the blob', async () => {
    const values = Float32Array.from({length: 300_000}, (_, i) => i);
    const batches = [];
    for await (const batch of openDataBlob(new Blob([encodeNpy(values, [3, 100_000]).slice()]), 'a.npy', {
      batchSize: 3,
    })) {
      batches.push((batch as tf.Tensor).dataSync());
      tf.dispose(batch);
    }
    expect(batches).to.deep.equal([values]);
  });

  it('reads an array of JSON in batches of items', async () => {
    const data = openDataBlob(json([[[1, 2]], [[3, 4]], [[5, 6.5]]]), 'a.json', {batchSize: 2});
    expect(await read(data)).to.deep.equal([
      {shape: [2, 1, 2], dtype: 'float32', values: [1, 2, 3, 4]},
      {shape: [1, 1, 2], dtype: 'float32', values: [5, 6.5]},
    ]);
    expect(await data.itemCount()).to.equal(3);
    expect(await data.holdsBytes()).to.equal(false);
  });

  for (const [what, blob, name, code, text] of [
    ['a number', json(3), 'a.json', 'malformed-item', 'a.json holds a number'],
    ['rows of different lengths', json([[1, 2], [3]]), 'a.json', 'ragged-item', '1 beside 2'],
    ['what is not JSON', new Blob(['[1, 2']), 'a.json', 'malformed-json', 'a.json is not JSON'],
    [
      'a file that was cut off',
      new Blob([encodeNpy(new Float32Array(4), [4]).slice(0, -1)]),
      'a.npy',
      'truncated',
      '15 are there',
    ],
    ['a file that is not .npy', new Blob(['PK, an archive']), 'a.npy', 'not-npy', 'numpy.save'],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const error = await failure(read(openDataBlob(blob, name)));
      expect(error.code).to.equal(code);
      expect(error.message).to.include(text);
    });
  }

  it('refuses other formats and batch sizes at once', () => {
    expect(() => openDataBlob(new Blob(), 'a.npz')).to.throw(
      'a.npz is of no known format; known are .npy, .json',
    );
    expect(() => openDataBlob(new Blob(), 'a.npy', {batchSize: 0})).to.throw('batch size is 0');
  });
});
