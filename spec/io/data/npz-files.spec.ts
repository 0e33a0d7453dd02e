import {readFileSync} from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {encodeNpy} from '../../../lib/io/data/npy.js';
import {checkForLeaks} from '../../support/backends.js';
import {openDataFile} from '../../../lib/io/data/data-files.js';
import {numpyFile, read, readNamed} from '../../support/io/data-file-content.js';
import {failure, isClosed, temporaryFolder, write} from '../../support/io/files.js';
import {zipOf} from '../../support/io/zip-archive.js';

describe('openDataFile on .npz', () => {
  const at = temporaryFolder();
  before(() => tf.setBackend('cpu'));
  checkForLeaks();

  const x = Array.from({length: 30}, (_, i) => i);

  for (const name of ['stored.npz', 'deflated.npz']) {
    it(`reads the arrays of ${name} side by side`, async () => {
      const batches = await readNamed(numpyFile(name), {batchSize: 4});
      expect(batches.map((batch) => batch['x'].shape)).to.deep.equal([
        [4, 3],
        [4, 3],
        [2, 3],
      ]);
      expect(batches.flatMap((batch) => batch['x'].values)).to.deep.equal(x);
      expect(batches.flatMap((batch) => batch['y'].values)).to.deep.equal(x.slice(0, 10));
    });
  }

  it('gives tensors, not records, for a single array or a single name', async () => {
    expect(await read(numpyFile('one.npz'))).to.deep.equal([{shape: [10, 3], dtype: 'float32', values: x}]);
    expect(await read(numpyFile('uneven.npz'), {inputNames: ['x']}))
      .to.have.nested.property('[0].shape')
      .eql([10, 3]);
  });

  it('passes over folders, text and what systems put beside files', async () => {
    const [array] = [encodeNpy(Float32Array.of(1, 2), [2])];
    write(
      at('strays.npz'),
      zipOf({
        'data/': '',
        'data/a.npy': array,
        '__MACOSX/data/._a.npy': 'junk',
        '.DS_Store': 'junk',
        'README.txt': 'which is text',
        b: array, // numpy.load knows an array by its start
        tiny: 'x',
      }),
    );
    const [batch] = await readNamed(at('strays.npz'));
    expect(batch).to.deep.equal({
      'data/a': {shape: [2], dtype: 'float32', values: [1, 2]},
      b: {shape: [2], dtype: 'float32', values: [1, 2]},
    });
    write(at('none.npz'), zipOf({'README.txt': 'text', 'more.txt': 'text'}));
    const error = await failure(readNamed(at('none.npz')));
    expect(error.code).to.equal('empty-file');
    expect(error.message).to.include('README.txt, more.txt');
    write(at('twice.npz'), zipOf({a: array, 'a.npy': array}));
    expect((await failure(readNamed(at('twice.npz')))).code).to.equal('malformed-zip');
  });

  it('names the nearest arrays for an unknown one', async () => {
    const error = await failure(read(numpyFile('stored.npz'), {inputNames: ['X1']}));
    expect(error.code).to.equal('unknown-name');
    expect(error.message).to.match(/nearest: x/);
  });

  it('rejects arrays of different length', async () => {
    expect((await failure(readNamed(numpyFile('uneven.npz')))).code).to.equal('item-count-mismatch');
  });

  it('rejects every archive that lost its end, and every one with a changed byte in its data', async () => {
    const archive = readFileSync(numpyFile('deflated.npz'));
    for (const length of [0, 10, 22, 100, archive.byteLength - 1]) {
      const error = await failure(readNamed(write(at('cut.npz'), archive.subarray(0, length))));
      expect(error.code, `cut at ${length}`).to.equal('not-zip');
    }
    const packedBytes = archive.readUInt32LE(archive.indexOf('PK\x01\x02', 0, 'latin1') + 20);
    const dataStart = 30 + archive.readUInt16LE(26) + archive.readUInt16LE(28);
    for (let position = dataStart; position < dataStart + packedBytes - 1; position += 7) {
      const changed = Buffer.from(archive);
      changed[position] ^= 0x55;
      const error = await failure(readNamed(write(at('changed.npz'), changed)));
      expect(error.name, `byte ${position}`).to.equal('FileError');
    }
  });

  it('fails with a FileError, if at all, whatever byte of the directory is changed', async () => {
    const archive = readFileSync(numpyFile('stored.npz'));
    const directory = archive.indexOf('PK\x01\x02', 0, 'latin1');
    for (let position = directory; position < archive.byteLength; position++) {
      const changed = Buffer.from(archive);
      changed[position] ^= 0xff;
      try {
        await readNamed(write(at('changed.npz'), changed));
      } catch (error) {
        expect(error, `byte ${position}`).to.have.property('name', 'FileError');
      }
    }
  });

  it('reads a directory that is described in Zip64, as in archives over 4 GiB', async () => {
    const archive = readFileSync(numpyFile('stored.npz'));
    const end = archive.lastIndexOf('PK\x05\x06', undefined, 'latin1');
    const zip64 = Buffer.alloc(56 + 20);
    zip64.write('PK\x06\x06', 0, 'latin1');
    zip64.writeBigUInt64LE(BigInt(archive.readUInt16LE(end + 10)), 32);
    zip64.writeBigUInt64LE(BigInt(archive.readUInt32LE(end + 12)), 40);
    zip64.writeBigUInt64LE(BigInt(archive.readUInt32LE(end + 16)), 48);
    zip64.write('PK\x06\x07', 56, 'latin1');
    zip64.writeBigUInt64LE(BigInt(end), 64);
    const tail = Buffer.from(archive.subarray(end)).fill(0xff, 8, 20);
    write(at('big.npz'), Buffer.concat([archive.subarray(0, end), zip64, tail]));
    const [batch] = await readNamed(at('big.npz'));
    expect(batch['x'].values).to.deep.equal(x);
    zip64[56] = 0;
    write(at('bad.npz'), Buffer.concat([archive.subarray(0, end), zip64, tail]));
    expect((await failure(readNamed(at('bad.npz')))).code).to.equal('malformed-zip');
  });

  it('reads members whose sizes and places lie in the Zip64 field, after other fields', async () => {
    const [a, b] = [Float32Array.of(1, 2), Float32Array.of(3, 4)];
    write(at('big.npz'), zipOf({'a.npy': encodeNpy(a, [2]), 'b.npy': encodeNpy(b, [2])}, {zip64: true}));
    const [batch] = await readNamed(at('big.npz'));
    expect(batch['a'].values).to.deep.equal([1, 2]);
    expect(batch['b'].values).to.deep.equal([3, 4]);
  });

  it('reads an archive with a comment at its end, and members with comments', async () => {
    const archive = zipOf({
      'a.npy': encodeNpy(Float32Array.of(1, 2), [2]),
      'b.npy': encodeNpy(Float32Array.of(3, 4), [2]),
    });
    const directory = archive.indexOf('PK\x01\x02', 0, 'latin1');
    const second = archive.indexOf('PK\x01\x02', directory + 4, 'latin1');
    const end = archive.lastIndexOf('PK\x05\x06', undefined, 'latin1');
    const comment = Buffer.from('made by hand');
    archive.writeUInt16LE(comment.length, directory + 32);
    archive.writeUInt32LE(archive.readUInt32LE(end + 12) + comment.length, end + 12);
    archive.writeUInt16LE(comment.length, end + 20);
    const parts = [archive.subarray(0, second), comment, archive.subarray(second), comment];
    const [batch] = await readNamed(write(at('commented.npz'), Buffer.concat(parts)));
    expect([batch['a'].values, batch['b'].values]).to.deep.equal([
      [1, 2],
      [3, 4],
    ]);
  });

  for (const [what, change] of [
    ['is encrypted', (archive: Buffer, entry: number) => archive.writeUInt16LE(1, entry + 8)],
    [
      'is packed by another method',
      (archive: Buffer, entry: number) => archive.writeUInt16LE(12, entry + 10),
    ],
  ] as const) {
    it(`says that a member ${what}`, async () => {
      const archive = zipOf({'a.npy': encodeNpy(Float32Array.of(1, 2), [2])});
      change(archive, archive.indexOf('PK\x01\x02', 0, 'latin1'));
      const error = await failure(readNamed(write(at('odd.npz'), archive)));
      expect(error.code).to.equal('unsupported-zip');
      expect(error.message).to.include('a.npy');
    });
  }

  for (const [what, change, words] of [
    [
      'a stored member that is longer than its bytes',
      (archive: Buffer, entry: number) => archive.writeUInt32LE(1000, entry + 24),
      'claims 1000 bytes out of',
    ],
    [
      'a stored member that is shorter than its bytes',
      (archive: Buffer, entry: number) => archive.writeUInt32LE(100, entry + 24),
      'claims 100 bytes out of',
    ],
    [
      'a member beyond the end',
      (archive: Buffer, entry: number) => {
        for (const field of [20, 24]) archive.writeUInt32LE(100_000, entry + field);
      },
      'does not lie where the directory says',
    ],
    [
      'more members than the directory has room for',
      (archive: Buffer) => {
        archive.writeUInt16LE(9, archive.lastIndexOf('PK\x05\x06', undefined, 'latin1') + 10);
      },
      'claims 9 members',
    ],
    [
      'a checksum that is not that of the bytes',
      (archive: Buffer, entry: number) => archive.writeUInt32LE(1, entry + 16),
      'checksum',
    ],
  ] as const) {
    it(`rejects ${what} as malformed`, async () => {
      const archive = zipOf({'a.npy': encodeNpy(Float32Array.of(1, 2), [2])});
      change(archive, archive.indexOf('PK\x01\x02', 0, 'latin1'));
      const error = await failure(read(write(at('odd.npz'), archive)));
      expect(error.code).to.equal('malformed-zip');
      expect(error.message).to.include(words);
    });
  }

  it('closes the file, whether it is read, left, refused, or only asked for its length', async function () {
    const closed = () => isClosed(at('file.npz'));
    if ((await closed()) === undefined) this.skip();
    write(at('file.npz'), zipOf({'a.npy': encodeNpy(new Float32Array(1e6), [1e6])}));
    const file = openDataFile(at('file.npz'), {batchSize: 10});
    expect(await file.itemCount()).to.equal(1e6);
    expect(await closed(), 'after its length').to.equal(true);
    for await (const batch of file) {
      tf.dispose(batch);
      break;
    }
    expect(await closed(), 'after a look at it').to.equal(true);
    expect(await file.holdsBytes()).to.equal(false);
    expect(await closed(), 'after its type').to.equal(true);
    await failure(readNamed(at('file.npz'), {inputNames: ['none']}));
    expect(await closed(), 'after a refusal').to.equal(true);
  });

  it('rejects a member that claims more than deflate can give', async () => {
    const archive = readFileSync(numpyFile('deflated.npz'));
    const directory = archive.indexOf('PK\x01\x02', 0, 'latin1');
    archive.writeUInt32LE(0xfffffffe, directory + 24);
    expect((await failure(readNamed(write(at('bomb.npz'), archive)))).code).to.equal('malformed-zip');
  });
});
