import {readFileSync} from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {encodeNpy} from '../../lib/io/npy.js';
import {checkForLeaks} from '../backends.js';
import {numpyFile, read, readNamed} from './data-file-content.js';
import {failure, temporaryFolder, write} from './files.js';
import {zipOf} from './zip-archive.js';

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

  it('rejects a member that claims more than deflate can give', async () => {
    const archive = readFileSync(numpyFile('deflated.npz'));
    const directory = archive.indexOf('PK\x01\x02', 0, 'latin1');
    archive.writeUInt32LE(0xfffffffe, directory + 24);
    expect((await failure(readNamed(write(at('bomb.npz'), archive)))).code).to.equal('malformed-zip');
  });
});
