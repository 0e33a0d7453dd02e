import {createRequire} from 'node:module';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {checkForLeaks} from '../../support/backends.js';
import {read, readNamed} from '../../support/io/data-file-content.js';
import {failure, temporaryFolder, write} from '../../support/io/files.js';

describe('openDataFile on .mjs', () => {
  const at = temporaryFolder();
  before(() => tf.setBackend('cpu'));
  checkForLeaks();

  const tfjs = JSON.stringify(createRequire(import.meta.url).resolve('@tensorflow/tfjs'));
  const module = (code: string) => write(at('data.mjs'), `import * as tf from ${tfjs};\n${code}`);

  for (const [what, code] of [
    [
      'a generator function',
      'export default function* () { yield tf.tensor1d([1]); yield tf.tensor1d([2]); }',
    ],
    ['an async generator function', 'export default async function* () { yield [1]; yield [2]; }'],
    ['a function that returns an array', 'export default () => [tf.tensor1d([1]), tf.tensor1d([2])];'],
    ['an array of arrays', 'export default [[1], [2]];'],
    ['an iterable', 'export default new Set([[1], [2]]);'],
    ['a tf.data.Dataset', 'export default tf.data.array([1, 2]).batch(1);'],
  ]) {
    it(`reads ${what}, twice`, async () => {
      const path = module(code);
      const expected = [1, 2].map((value) => ({shape: [1], dtype: 'float32', values: [value]}));
      for (let pass = 0; pass < 2; pass++) expect(await read(path)).to.deep.equal(expected);
    });
  }

  it("reads this package's own Dataset, twice, and leaves it its tensors", async () => {
    const dataset = JSON.stringify(new URL('../../../lib/dataset.js', import.meta.url).href);
    const path = write(
      at('dataset.mjs'),
      `import * as tf from ${tfjs};\nimport {Dataset} from ${dataset};\n` +
        'export const kept = [tf.tensor1d([1]), tf.tensor1d([2])];\n' +
        'export default new Dataset(kept, (item) => item.mul(10));',
    );
    const expected = [10, 20].map((value) => ({shape: [1], dtype: 'float32', values: [value]}));
    for (let pass = 0; pass < 2; pass++) expect(await read(path)).to.deep.equal(expected);
    const {kept} = (await import(path)) as {kept: tf.Tensor[]};
    tf.dispose(kept);
  });

  it('leaves the tensors of a Dataset without a transform to it', async () => {
    const dataset = JSON.stringify(new URL('../../../lib/dataset.js', import.meta.url).href);
    const path = write(
      at('plain.mjs'),
      `import * as tf from ${tfjs};\nimport {Dataset} from ${dataset};\n` +
        'export const kept = [tf.tensor1d([1])];\nexport default new Dataset(kept);',
    );
    for (let pass = 0; pass < 2; pass++) expect((await read(path))[0].values).to.deep.equal([1]);
    const {kept} = (await import(path)) as {kept: tf.Tensor[]};
    expect(kept[0].isDisposed).to.equal(false);
    tf.dispose(kept);
  });

  it('does not take an object without arrays for a batch', async () => {
    const error = await failure(read(write(at('none.mjs'), 'export default [{}];')));
    expect(error.code).to.equal('malformed-module');
    expect(error.message).to.include('item 0 is no batch');
  });

  it('does not read a Dataset of a generator twice', async () => {
    const dataset = JSON.stringify(new URL('../../../lib/dataset.js', import.meta.url).href);
    const path = write(
      at('once.mjs'),
      `import {Dataset} from ${dataset};\nexport default new Dataset((function* () { yield [1]; })());`,
    );
    expect((await read(path))[0].values).to.deep.equal([1]);
    expect((await failure(read(path))).code).to.equal('one-shot');
  });

  it('keeps the tensors of an exported array for the next pass', async () => {
    const path = module('export const kept = [tf.tensor1d([1])]; export default kept;');
    for (let pass = 0; pass < 2; pass++) expect((await read(path))[0].values).to.deep.equal([1]);
    const {kept} = (await import(path)) as {kept: tf.Tensor[]};
    tf.dispose(kept);
  });

  it('reads records of tensors', async () => {
    const path = module('export default function* () { yield {a: tf.scalar(1), b: tf.scalar(2)}; }');
    expect((await readNamed(path))[0]['b'].values).to.deep.equal([2]);
  });

  for (const [what, code, expected] of [
    ['a module without a default export', 'export const data = 1;', 'malformed-module'],
    ['a number', 'export default 7;', 'malformed-module'],
    ['items that are no batches', 'export default ["text"];', 'malformed-module'],
    ['ragged items', 'export default [[[1, 2], [3]]];', 'ragged-item'],
    ['a module that does not parse', 'export default [', 'malformed-module'],
  ]) {
    it(`rejects ${what}`, async () => {
      expect(await failure(read(module(code)))).to.include({name: 'FileError', code: expected});
    });
  }

  it('rejects the second pass over a generator object', async () => {
    const path = module('export default (function* () { yield [1]; })();');
    expect(await read(path)).to.have.length(1);
    expect((await failure(read(path))).code).to.equal('one-shot');
  });
});
