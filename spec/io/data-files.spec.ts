import {readFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {fileURLToPath} from 'node:url';

import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import fc from 'fast-check';

import {openDataFile, type DataFileOptions} from '../../lib/io/data-files.js';
import {readLabels} from '../../lib/io/labels.js';
import {encodeNpy} from '../../lib/io/npy.js';
import {checkForLeaks} from '../backends.js';
import {collect, failure, temporaryFolder, write} from './files.js';

interface Read {
  readonly shape: number[];
  readonly dtype: string;
  readonly values: number[];
}

function fixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/numpy/${name}`, import.meta.url));
}

/** The content of a tensor, which is disposed. */
function take(tensor: tf.Tensor): Read {
  const {shape, dtype} = tensor;
  const values = [...tensor.dataSync()];
  tensor.dispose();
  return {shape, dtype, values};
}

/** All batches of a file that gives tensors. */
async function read(path: string, options?: DataFileOptions): Promise<Read[]> {
  const batches: Read[] = [];
  for await (const batch of openDataFile(path, options)) {
    if (!(batch instanceof tf.Tensor)) throw new Error('it gave a record');
    batches.push(take(batch));
  }
  return batches;
}

/** All batches of a file that gives records of tensors. */
async function readNamed(path: string, options?: DataFileOptions): Promise<Record<string, Read>[]> {
  const batches: Record<string, Read>[] = [];
  for await (const batch of openDataFile(path, options)) {
    if (batch instanceof tf.Tensor) throw new Error('it gave a tensor');
    batches.push(Object.fromEntries(Object.entries(batch).map(([name, tensor]) => [name, take(tensor)])));
  }
  return batches;
}

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

before(() => tf.setBackend('cpu'));

describe('openDataFile on .npy', () => {
  const at = temporaryFolder();
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
      expect(await read(fixture(`${name}.npy`))).to.deep.equal(expected);
    });
  }

  it('reads bool', async () => {
    expect(await read(fixture('bool.npy'))).to.deep.equal([
      {shape: [2, 3], dtype: 'bool', values: [1, 0, 1, 0, 0, 1]},
    ]);
  });

  it('reads half precision as NumPy does: subnormal, infinite, signed zero', async () => {
    const [batch] = await read(fixture('halves.npy'));
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
    expect(await read(fixture('fortran_column.npy'))).to.deep.equal([
      {shape: [2, 1], dtype: 'float32', values: [0, 3]},
    ]);
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
      expect(await openDataFile(fixture(`${name}.npy`)).holdsBytes(), name).to.equal(bytes);
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
    ['fortran', 'unsupported-npy'],
    ['objects', 'unsupported-npy'],
    ['records', 'unsupported-npy'],
    ['scalar', 'unsupported-npy'],
    ['int64_too_large', 'out-of-range'],
  ]) {
    it(`rejects ${name}.npy`, async () => {
      expect((await failure(read(fixture(`${name}.npy`)))).code).to.equal(code);
    });
  }

  it('names the byte at which an integer is too large', async () => {
    expect((await failure(read(fixture('int64_too_large.npy')))).message).to.include('byte 136'); // header 128, one element
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

describe('openDataFile on .npz', () => {
  const at = temporaryFolder();
  checkForLeaks();

  const x = Array.from({length: 30}, (_, i) => i);

  for (const name of ['stored.npz', 'deflated.npz']) {
    it(`reads the arrays of ${name} side by side`, async () => {
      const batches = await readNamed(fixture(name), {batchSize: 4});
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
    expect(await read(fixture('one.npz'))).to.deep.equal([{shape: [10, 3], dtype: 'float32', values: x}]);
    expect(await read(fixture('uneven.npz'), {inputNames: ['x']}))
      .to.have.nested.property('[0].shape')
      .eql([10, 3]);
  });

  it('names the nearest arrays for an unknown one', async () => {
    const error = await failure(read(fixture('stored.npz'), {inputNames: ['X1']}));
    expect(error.code).to.equal('unknown-name');
    expect(error.message).to.match(/nearest: x/);
  });

  it('rejects arrays of different length', async () => {
    expect((await failure(readNamed(fixture('uneven.npz')))).code).to.equal('item-count-mismatch');
  });

  it('rejects every archive that lost its end, and every one with a changed byte in its data', async () => {
    const archive = readFileSync(fixture('deflated.npz'));
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
    const archive = readFileSync(fixture('stored.npz'));
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
    const archive = readFileSync(fixture('stored.npz'));
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
    const archive = readFileSync(fixture('deflated.npz'));
    const directory = archive.indexOf('PK\x01\x02', 0, 'latin1');
    archive.writeUInt32LE(0xfffffffe, directory + 24);
    expect((await failure(readNamed(write(at('bomb.npz'), archive)))).code).to.equal('malformed-zip');
  });
});

describe('openDataFile on .jsonl', () => {
  const at = temporaryFolder();
  checkForLeaks();

  it('reads an array a line, the last line without an end', async () => {
    write(at('a.jsonl'), '[[1, 2], [3, 4]]\r\n\n[[5, 6], [7, 8.5]]');
    expect(await read(at('a.jsonl'))).to.deep.equal([
      {shape: [2, 2, 2], dtype: 'float32', values: [1, 2, 3, 4, 5, 6, 7, 8.5]},
    ]);
  });

  it('reads objects of named inputs in batches', async () => {
    write(at('a.jsonl'), '{"a": [1], "b": [1, 2]}\n{"b": [3, 4], "a": [2]}\n{"a": [3], "b": [5, 6]}\n');
    const batches = await readNamed(at('a.jsonl'), {batchSize: 2});
    expect(batches.map(({a}) => a.values)).to.deep.equal([[1, 2], [3]]);
    expect(batches.map(({b}) => b.shape)).to.deep.equal([
      [2, 2],
      [1, 2],
    ]);
  });

  it('asks for objects by name where the inputs are several', async () => {
    write(at('a.jsonl'), '[[1, 2], [3, 4, 5]]\n');
    const error = await failure(readNamed(at('a.jsonl'), {inputNames: ['a', 'b']}));
    expect(error.code).to.equal('malformed-item');
    expect(error.message)
      .to.include(`${at('a.jsonl')}, line 1`)
      .and.include('{"a": [...], "b": [...]}');
  });

  for (const number of ['NaN', 'Infinity', '-Infinity']) {
    it(`says that JSON has no ${number}`, async () => {
      const error = await failure(read(write(at('a.jsonl'), `[1, ${number}]\n`)));
      expect(error.code).to.equal('malformed-json');
      expect(error.message).to.include(`it holds ${number},`);
    });
  }

  it('reads token ids as int32 on request', async () => {
    write(at('a.jsonl'), '[1, 32000]\n');
    expect(await read(at('a.jsonl'), {dtype: 'int32'})).to.deep.equal([
      {shape: [1, 2], dtype: 'int32', values: [1, 32000]},
    ]);
  });

  it('reads lines that cross the chunks of the file', async () => {
    const line = JSON.stringify(Array.from({length: 3000}, (_, i) => i));
    write(at('a.jsonl'), `${line}\n`.repeat(150)); // 2 MB; a chunk is 1 MiB
    const batches = await read(at('a.jsonl'), {batchSize: 40});
    expect(batches.map(({shape}) => shape)).to.deep.equal([
      [40, 3000],
      [40, 3000],
      [40, 3000],
      [30, 3000],
    ]);
  });

  for (const [what, line, code] of [
    ['a line that is cut off', '[1, 2', 'malformed-json'],
    ['rows of different lengths', '[[1, 2], [3]]', 'ragged-item'],
    ['a number beside a row', '[[1, 2], 3]', 'ragged-item'],
    ['a row beside a number', '[1, [2, 3]]', 'ragged-item'],
    ['another shape than the first line', '[1, 2, 3]', 'ragged-item'],
    ['other names than the first line', '{"a": [1, 2]}', 'ragged-item'],
    ['null', '[1, null]', 'malformed-item'],
    ['text', '["1", "2"]', 'malformed-item'],
    ['a bare number', '7', 'malformed-item'],
    ['an empty array', '[]', 'malformed-item'],
    ['endless nesting', '['.repeat(5000) + '1' + ']'.repeat(5000), 'malformed-item'],
    ['a __proto__ key', '{"__proto__": [1, 2]}', 'forbidden-key'],
  ] as const) {
    it(`rejects ${what}, by its line`, async () => {
      const error = await failure(read(write(at('bad.jsonl'), `[1, 2]\n${line}\n`)));
      expect(error).to.include({name: 'FileError', code});
      expect(error.message).to.include(`${at('bad.jsonl')}, line 2`);
    });
  }
});

describe('openDataFile on .mjs', () => {
  const at = temporaryFolder();
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

describe('openDataFile', () => {
  it('rejects an extension that it does not know, at once', async () => {
    expect((await failure(() => openDataFile('data.csv'))).code).to.equal('unsupported-format');
  });

  for (const batchSize of [0, -1, 1.5, NaN]) {
    it(`rejects a batch size of ${batchSize}`, async () => {
      expect((await failure(() => openDataFile('data.npy', {batchSize}))).code).to.equal('bad-option');
    });
  }
});

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
  ] as const) {
    it(`reads ${what}`, async () => {
      const labels = await readLabels(write(at('labels.npy'), bytes));
      expect({...labels, values: [...labels.values]}).to.deep.equal(expected);
    });
  }

  it('reads a number a line', async () => {
    const labels = await readLabels(write(at('labels.jsonl'), '3\n0\n9\n'));
    expect(labels).to.deep.equal({kind: 'classes', values: Int32Array.of(3, 0, 9), shape: [3]});
  });

  it('asks which array of an archive is meant', async () => {
    const error = await failure(readLabels(fixture('stored.npz')));
    expect(error.code).to.equal('unknown-name');
    expect(error.message).to.include('"labels"');
  });

  it('rejects a file without labels', async () => {
    expect((await failure(readLabels(fixture('empty.npy')))).code).to.equal('empty-file');
    expect((await failure(readLabels(write(at('a.jsonl'), '\n')))).code).to.equal('empty-file');
  });
});
