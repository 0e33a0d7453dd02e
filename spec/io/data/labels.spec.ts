import {expect} from 'chai';
import {readLabels} from '../../../lib/io/data/labels.js';
import {encodeNpy} from '../../../lib/io/data/npy.js';
import {numpyFile} from '../../support/io/data-file-content.js';
import {failure, temporaryFolder, write} from '../../support/io/files.js';

describe('readLabels', () => {
  const at = temporaryFolder();

  for (const [what, bytes, expected] of [
    [
      'bytes as classes',
      encodeNpy(Uint8Array.of(3, 0, 9), [3]),
      {kind: 'classes', values: [3, 0, 9], shape: [3]},
    ],
    [
      'a column of integers as classes',
      encodeNpy(Int32Array.of(3, 0), [2, 1]),
      {kind: 'classes', values: [3, 0], shape: [2]},
    ],
    [
      'whole floats as classes',
      encodeNpy(Float32Array.of(3, 0), [2]),
      {kind: 'classes', values: [3, 0], shape: [2]},
    ],
    [
      'one-hot rows as classes',
      encodeNpy(Float32Array.of(0, 0, 1, 1, 0, 0), [2, 3]),
      {kind: 'classes', values: [2, 0], shape: [2]},
    ],
    [
      'rows with two ones as targets',
      encodeNpy(Float32Array.of(1, 0, 1, 1, 0, 0), [2, 3]),
      {kind: 'targets', values: [1, 0, 1, 1, 0, 0], shape: [2, 3]},
    ],
    [
      'fractions as targets',
      encodeNpy(Float32Array.of(0.5, 2), [2]),
      {kind: 'targets', values: [0.5, 2], shape: [2]},
    ],
    [
      'negative numbers as targets',
      encodeNpy(Int32Array.of(-1, 2), [2]),
      {kind: 'targets', values: [-1, 2], shape: [2]},
    ],
    [
      'a row of zeros, which is of no class, as targets',
      encodeNpy(Float32Array.of(0, 1, 0, 0), [2, 2]),
      {kind: 'targets', values: [0, 1, 0, 0], shape: [2, 2]},
    ],
    [
      'rows of zeros and ones in three dimensions as targets',
      encodeNpy(Float32Array.of(0, 1, 1, 0), [2, 1, 2]),
      {kind: 'targets', values: [0, 1, 1, 0], shape: [2, 1, 2]},
    ],
    [
      'whole numbers in three dimensions as targets',
      encodeNpy(Int32Array.of(3, 0), [2, 1, 1]),
      {kind: 'targets', values: [3, 0], shape: [2, 1, 1]},
    ],
    [
      'whole numbers that no int32 holds as targets',
      encodeNpy(Float32Array.of(1, 2 ** 31), [2]),
      {kind: 'targets', values: [1, 2 ** 31], shape: [2]},
    ],
    [
      'the largest int32 as a class',
      encodeNpy(Int32Array.of(2 ** 31 - 1, 0), [2]),
      {kind: 'classes', values: [2 ** 31 - 1, 0], shape: [2]},
    ],
  ] as const) {
    it(`reads ${what}`, async () => {
      const labels = await readLabels(write(at('labels.npy'), bytes));
      expect({...labels, values: [...labels.values]}).to.deep.equal(expected);
    });
  }

  it('reads a number a line', async () => {
    for (const end of ['', '\n', '\r\n', '\r']) {
      const labels = await readLabels(write(at('labels.jsonl'), `3\n0\n9${end}`));
      expect(labels).to.deep.equal({kind: 'classes', values: Int32Array.of(3, 0, 9), shape: [3]});
    }
  });

  it('reads labels of a spreadsheet: UTF-16 with its mark and the line ends of Windows', async () => {
    const labels = await readLabels(write(at('labels.jsonl'), Buffer.from('\ufeff3\r\n0\r\n', 'utf16le')));
    expect(labels).to.deep.equal({kind: 'classes', values: Int32Array.of(3, 0), shape: [2]});
  });

  it('refuses a number that float32 cannot hold', async () => {
    for (const number of ['1e400', '1.5e39']) {
      const error = await failure(readLabels(write(at('labels.jsonl'), `0.5\n${number}\n`)));
      expect(error.code, number).to.equal('out-of-range');
    }
  });

  it('asks which array of an archive is meant', async () => {
    const error = await failure(readLabels(numpyFile('stored.npz')));
    expect(error.code).to.equal('unknown-name');
    const known = error.data['known'] as string[];
    expect(known).to.have.length.above(1);
    expect(error.message).to.equal(
      `${numpyFile('stored.npz')} has several arrays (${known.join(', ')}); the one with the labels must be called "labels"`,
    );
    expect(error.data['path']).to.equal(numpyFile('stored.npz'));
  });

  it('rejects a file without labels', async () => {
    const noColumns = write(at('columns.npy'), encodeNpy(new Float32Array(0), [3, 0]));
    for (const path of [numpyFile('empty.npy'), write(at('a.jsonl'), '\n'), noColumns]) {
      const error = await failure(readLabels(path));
      expect(error).to.include({code: 'empty-file', message: `${path} holds no labels`});
      expect(error.data).to.deep.equal({path});
    }
  });
});
