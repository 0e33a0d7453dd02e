import {expect} from 'chai';
import fc from 'fast-check';
import {ByteReader, MAX_READ_BYTES} from '../../../lib/io/files/byte-reader.js';
import {fileChunks} from '../../../lib/io/files/file-chunks.js';
import {collect, failure, temporaryFolder} from '../../support/io/files.js';

/** The bytes 0, 1, 2 … in chunks of these lengths. */
async function* chunksOf(lengths: readonly number[]): AsyncGenerator<Uint8Array> {
  let next = 0;
  for (const length of lengths) yield await Promise.resolve(Uint8Array.from({length}, () => next++));
}

describe('ByteReader', () => {
  it('gives the bytes in order, whatever the pieces that come and that are asked for', async () => {
    const lengths = fc.array(fc.integer({min: 0, max: 9}), {maxLength: 12});
    await fc.assert(
      fc.asyncProperty(lengths, lengths, async (come, asked) => {
        const there = come.reduce((sum, length) => sum + length, 0);
        const reader = new ByteReader(chunksOf(come), 'bytes');
        let at = 0;
        for (const length of asked.filter((length) => length <= there)) {
          if (at + length > there) break;
          const expected = Array.from({length}, (_, i) => at + i);
          expect([...(await reader.read(length, 'a piece'))]).to.deep.equal(expected);
          at += length;
        }
        expect(reader.offset).to.equal(at);
      }),
      {numRuns: 100, seed: 6},
    );
  });

  it('says what is cut off, and refuses what no array holds before it is made', async () => {
    const cut = await failure(new ByteReader(chunksOf([3]), 'data.npy').read(4, 'the header'));
    expect(cut.code).to.equal('truncated');
    expect(cut.message).to.include('data.npy').and.include('the header');
    const large = await failure(
      new ByteReader(chunksOf([3]), 'data.npy').read(MAX_READ_BYTES + 1, 'a batch'),
    );
    expect(large.code).to.equal('too-large');
    expect(large.message).to.include('smaller batch size');
    const most = await failure(new ByteReader(chunksOf([3]), 'data.npy').read(MAX_READ_BYTES, 'a batch'));
    expect(most.code).to.equal('truncated');
  });
});

describe('fileChunks', () => {
  const at = temporaryFolder();

  it('names a file that is missing, and one that is a folder', async () => {
    expect((await failure(collect(fileChunks(at('none'))))).code).to.equal('missing-file');
    expect((await failure(collect(fileChunks(at())))).message).to.include(at());
  });
});
