import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import fc from 'fast-check';
import {openArrays, openDataFile} from '../../../lib/io/data/data-files.js';
import {encodeNpy} from '../../../lib/io/data/npy.js';
import {checkForLeaks} from '../../support/backends.js';
import {numpyFile, read} from '../../support/io/data-file-content.js';
import {collect, failure, temporaryFolder, write} from '../../support/io/files.js';

/** A .npy file with this header, then `data`. */
function npy(header: string, data: Uint8Array, version = 1): Uint8Array {
  const length = Buffer.alloc(version === 1 ? 2 : 4);
  length.writeUIntLE(header.length, 0, length.byteLength);
  return Buffer.concat([
    Buffer.from(`\x93NUMPY${String.fromCharCode(version)}\0`, 'latin1'),
    length,
    Buffer.from(header),
    data,
  ]);
}

function floats(shape: string): Uint8Array {
  return npy(`{'descr': '<f4', 'fortran_order': False, 'shape': (${shape}), }\n`, new Uint8Array(16));
}

describe('openDataFile on .npy', () => {
  const at = temporaryFolder();
  before(() => tf.setBackend('cpu'));
  checkForLeaks();

  for (const [name, dtype] of [
    ['float16', 'float32'],
    ['float32', 'float32'],
    ['float64', 'float32'],
    ['int8', 'int32'],
    ['uint8', 'int32'],
    ['int16', 'int32'],
    ['uint16', 'int32'],
    ['int32', 'int32'],
    ['uint32', 'int32'],
    ['int64', 'int32'],
    ['uint64', 'int32'],
    ['big_float32', 'float32'],
    ['big_int16', 'int32'],
    ['big_int64', 'int32'],
    ['version2', 'float32'],
    ['version3', 'float32'],
  ]) {
    it(`reads ${name} as ${dtype}`, async () => {
      const expected = [{shape: [2, 3], dtype, values: [0, 1, 2, 3, 100, 7]}];
      expect(await read(numpyFile(`${name}.npy`))).to.deep.equal(expected);
    });
  }

  it('reads bool', async () => {
    expect(await read(numpyFile('bool.npy'))).to.deep.equal([
      {shape: [2, 3], dtype: 'bool', values: [1, 0, 1, 0, 0, 1]},
    ]);
  });

  it('reads half precision as NumPy does: subnormal, infinite, signed zero', async () => {
    const [batch] = await read(numpyFile('halves.npy'));
    expect(batch.values).to.deep.equal([
      0,
      -0,
      1,
      -2.5,
      65504,
      5.960464477539063e-8,
      -6.097555160522461e-5,
      Infinity,
      -Infinity,
      0.3330078125,
    ]);
  });

  it('reads an array of one column, whose order does not matter', async () => {
    expect(await read(numpyFile('fortran_column.npy'))).to.deep.equal([
      {shape: [2, 1], dtype: 'float32', values: [0, 3]},
    ]);
  });

  it("reads an array in Fortran's order, in batches as any other", async () => {
    // numpy.asfortranarray(numpy.arange(24).reshape(4, 3, 2)): the first index runs fastest on the disk.
    const rows = Array.from({length: 24}, (_, i) => i);
    const stored = Array.from({length: 24}, (_, i) => {
      const [row, column, depth] = [i % 4, Math.floor(i / 4) % 3, Math.floor(i / 12)];
      return row * 6 + column * 2 + depth;
    });
    const header = "{'descr': '<f4', 'fortran_order': True, 'shape': (4, 3, 2), }";
    write(at('f.npy'), npy(header, new Uint8Array(Float32Array.from(stored).buffer)));
    for (const batchSize of [1, 3, 10]) {
      const batches = await read(at('f.npy'), {batchSize});
      expect(batches.flatMap(({values}) => values)).to.deep.equal(rows);
      expect(batches[0].shape).to.deep.equal([Math.min(batchSize, 4), 3, 2]);
    }
    expect(await read(numpyFile('fortran.npy'))).to.deep.equal([
      {shape: [2, 3], dtype: 'float32', values: [0, 1, 2, 3, 100, 7]},
    ]);
  });

  it('reads the shapes of Python 2, whose long integers end in L', async () => {
    const header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 1L), }";
    write(at('p2.npy'), npy(header, new Uint8Array(Float32Array.of(5, 6).buffer)));
    expect(await read(at('p2.npy'))).to.deep.equal([{shape: [2, 1], dtype: 'float32', values: [5, 6]}]);
  });

  it('refuses a double that float32 cannot hold, and keeps infinities', async () => {
    const header = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }";
    const doubles = (...values: number[]) => npy(header, new Uint8Array(Float64Array.from(values).buffer));
    const error = await failure(read(write(at('d.npy'), doubles(1, 1e39))));
    expect(error).to.include({code: 'out-of-range'});
    expect(error.message).to.include('1e+39').and.include(at('d.npy'));
    expect((await read(write(at('d.npy'), doubles(-Infinity, 3e38))))[0].values).to.deep.equal([
      -Infinity,
      Math.fround(3e38),
    ]);
    expect((await read(at('d.npy'), {scale: 1e-3}))[0].values[1]).to.equal(Math.fround(3e35));
    expect((await failure(read(at('d.npy'), {scale: 10}))).code).to.equal('out-of-range');
  });

  it('gives whole batches and then what is left, as often as it is asked', async () => {
    write(
      at('a.npy'),
      encodeNpy(
        Float32Array.from({length: 14}, (_, i) => i),
        [7, 2],
      ),
    );
    const file = openDataFile(at('a.npy'), {batchSize: 3});
    expect(await file.itemCount()).to.equal(7);
    for (let pass = 0; pass < 2; pass++) {
      const batches = await collect(file);
      expect(batches.map((batch) => (batch as tf.Tensor).shape)).to.deep.equal([
        [3, 2],
        [3, 2],
        [1, 2],
      ]);
      tf.dispose(batches);
    }
  });

  it('gives the same values for every batch size', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.float({noNaN: true}), {minLength: 1, maxLength: 40}),
        fc.integer({min: 1, max: 50}),
        async (values, batchSize) => {
          write(at('a.npy'), encodeNpy(Float32Array.from(values), [values.length]));
          const batches = await read(at('a.npy'), {batchSize});
          expect(batches.flatMap((batch) => batch.values)).to.deep.equal(values);
        },
      ),
      {numRuns: 40, seed: 4},
    );
  });

  it('tells files of bytes', async () => {
    for (const [name, bytes] of Object.entries({uint8: true, int8: false, float32: false, bool: false})) {
      expect(await openDataFile(numpyFile(`${name}.npy`)).holdsBytes(), name).to.equal(bytes);
    }
  });

  it('scales bytes to float32', async () => {
    write(at('a.npy'), encodeNpy(Uint8Array.of(0, 51, 255), [3]));
    const [batch] = await read(at('a.npy'), {scale: 1 / 255});
    expect(batch).to.deep.equal({shape: [3], dtype: 'float32', values: [0, Math.fround(0.2), 1]});
  });

  it('gives int32 on request, but never a wrong value', async () => {
    write(at('a.npy'), encodeNpy(Float32Array.of(1, 2), [2]));
    expect((await read(at('a.npy'), {dtype: 'int32'}))[0].dtype).to.equal('int32');
    write(at('a.npy'), encodeNpy(Float32Array.of(1, 2.5), [2]));
    expect((await failure(read(at('a.npy'), {dtype: 'int32'}))).code).to.equal('out-of-range');
  });

  it('stops reading when the consumer does', async () => {
    write(at('a.npy'), encodeNpy(new Float32Array(1e6), [1e6]));
    for await (const batch of openDataFile(at('a.npy'), {batchSize: 10})) {
      tf.dispose(batch);
      break;
    }
  });

  for (const [name, code] of [
    ['objects', 'unsupported-npy'],
    ['records', 'unsupported-npy'],
    ['scalar', 'unsupported-npy'],
    ['int64_too_large', 'out-of-range'],
  ]) {
    it(`rejects ${name}.npy`, async () => {
      expect((await failure(read(numpyFile(`${name}.npy`)))).code).to.equal(code);
    });
  }

  it('takes every bit of the small types', async () => {
    const header = (descr: string, shape: string) =>
      `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape}), }`;
    const u2 = npy(header('<u2', '2,'), new Uint8Array(Uint16Array.of(65535, 32768).buffer));
    expect((await read(write(at('u2.npy'), u2)))[0].values).to.deep.equal([65535, 32768]);
    const i2 = npy(header('<i2', '2,'), new Uint8Array(Int16Array.of(-32768, 32767).buffer));
    expect((await read(write(at('i2.npy'), i2)))[0].values).to.deep.equal([-32768, 32767]);
    const b1 = npy(header('|b1', '3,'), Uint8Array.of(0, 2, 255));
    const source = openArrays(write(at('b1.npy'), b1));
    for await (const batch of source.batches(3)) expect([...batch.get('')!.values]).to.deep.equal([0, 1, 1]);
  });

  it('takes the 64 dimensions that NumPy has, and no more', async () => {
    const header = (dimensions: number) =>
      npy(
        `{'descr': '<f4', 'fortran_order': False, 'shape': (${'1, '.repeat(dimensions)}), }`,
        new Uint8Array(4),
      );
    const source = openArrays(write(at('64.npy'), header(64)));
    for await (const batch of source.batches(1)) expect(batch.get('')!.shape).to.have.length(64);
    expect((await failure(openArrays(write(at('65.npy'), header(65))).itemCount())).code).to.equal(
      'malformed-npy',
    );
  });

  it('takes integers of 64 bits as far as int32 goes, and not one further', async () => {
    const header = (descr: string) => `{'descr': '${descr}', 'fortran_order': False, 'shape': (1,), }`;
    const signed = (value: bigint) => npy(header('<i8'), new Uint8Array(BigInt64Array.of(value).buffer));
    for (const value of [2n ** 31n - 1n, -(2n ** 31n)])
      expect((await read(write(at('i.npy'), signed(value))))[0].values).to.deep.equal([Number(value)]);
    for (const value of [2n ** 31n, -(2n ** 31n) - 1n])
      expect((await failure(read(write(at('i.npy'), signed(value))))).code, `${value}`).to.equal(
        'out-of-range',
      );
    const unsigned = npy(header('<u4'), new Uint8Array(Uint32Array.of(2 ** 31).buffer));
    expect((await failure(read(write(at('u.npy'), unsigned)))).code).to.equal('out-of-range');
  });

  it('names the byte at which an integer is too large', async () => {
    expect((await failure(read(numpyFile('int64_too_large.npy')))).message).to.include('byte 136'); // header 128, one element
  });

  for (const [what, bytes, code] of [
    ['an empty file', new Uint8Array(0), 'truncated'],
    ['another kind of file', Buffer.from('PK\x03\x04 something'), 'not-npy'],
    ['an unknown version', npy('{}', new Uint8Array(0), 9), 'unsupported-npy'],
    ['a header that is cut off', floats('2, 2').subarray(0, 40), 'truncated'],
    [
      'a header without a shape',
      npy("{'descr': '<f4', 'fortran_order': False}", new Uint8Array(4)),
      'malformed-npy',
    ],
    [
      'a header of claimed gigabytes',
      npy('{}', new Uint8Array(0), 2).map((byte, i) => (i === 11 ? 255 : byte)),
      'malformed-npy',
    ],
    ['a shape larger than the file', floats('5, 1'), 'truncated'],
    ['a shape far larger than memory', floats('99999999, 99999999'), 'truncated'],
    ['a shape beyond counting', floats('9'.repeat(400)), 'truncated'],
    ['bytes after the array', floats('3, 1'), 'malformed-npy'],
    ['too many dimensions', floats('1,'.repeat(70)), 'malformed-npy'],
    ['a row that no batch could hold', floats('0, 99999999'), 'malformed-npy'],
  ] as const) {
    it(`rejects ${what}`, async () => {
      const error = await failure(read(write(at('bad.npy'), bytes)));
      expect(error).to.include({name: 'FileError', code});
      expect(error.message).to.include(at('bad.npy'));
    });
  }

  it('rejects a file that does not exist', async () => {
    expect((await failure(read(at('none.npy')))).code).to.equal('missing-file');
  });
});
