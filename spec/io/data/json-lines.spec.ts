import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {checkForLeaks} from '../../support/backends.js';
import {read, readNamed} from '../../support/io/data-file-content.js';
import {failure, temporaryFolder, write} from '../../support/io/files.js';

describe('openDataFile on .jsonl', () => {
  const at = temporaryFolder();
  before(() => tf.setBackend('cpu'));
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

  const UTF16 = (text: string, bigEndian: boolean) => {
    const bytes = Buffer.from(text, 'utf16le');
    return bigEndian ? bytes.swap16() : bytes;
  };
  for (const [what, bytes] of [
    ['a byte order mark', Buffer.from('\ufeff[1, 2]\n[3, 4]\n')],
    ['UTF-16, little-endian with its mark', UTF16('\ufeff[1, 2]\r\n[3, 4]\r\n', false)],
    ['UTF-16, big-endian with its mark', UTF16('\ufeff[1, 2]\n[3, 4]', true)],
    ['UTF-16 without a mark', UTF16('[1, 2]\n[3, 4]\n', false)],
    ['UTF-16, big-endian without a mark', UTF16('[1, 2]\n[3, 4]\n', true)],
    ["an old Mac's ends of lines", Buffer.from('[1, 2]\r[3, 4]\r')],
    ['several ends of lines', Buffer.from('\r\n[1, 2]\r\r\n\n[3, 4]\n\r')],
  ] as const) {
    it(`reads ${what}`, async () => {
      expect(await read(write(at('a.jsonl'), bytes))).to.deep.equal([
        {shape: [2, 2], dtype: 'float32', values: [1, 2, 3, 4]},
      ]);
    });
  }

  it('ends a line once where its end lies between two chunks of the file', async () => {
    const filler = ' '.repeat(1024 ** 2 - 7); // the carriage return is the last byte of the first MiB
    write(at('a.jsonl'), `[1, 2]${filler}\r\n[3, x]\n`);
    expect((await failure(read(at('a.jsonl')))).message).to.include('line 2');
  });

  it('says that text is in no encoding that it reads', async () => {
    const error = await failure(read(write(at('a.jsonl'), Buffer.from('["\xe9"]\n', 'latin1'))));
    expect(error).to.include({code: 'malformed-text'});
    expect(error.message).to.include('not UTF-8').and.include(at('a.jsonl'));
  });

  for (const [what, line, words] of [
    ['a double cannot hold', '[1, 1e400]', 'line 1'],
    ['a double cannot hold, in an object', '{"a": [1, -1e400]}', '"a"'],
    ['float32 cannot hold', '[1, 1e39]', '1e+39'],
  ] as const) {
    it(`refuses a number that ${what}, instead of Infinity`, async () => {
      const error = await failure(read(write(at('a.jsonl'), `${line}\n`)));
      expect(error.code).to.equal('out-of-range');
      expect(error.message).to.include(words);
    });
  }

  const LIMIT = 64 * 1024 ** 2;
  it('reads a line of 64 Mi characters, and no longer one, ended or not', async () => {
    const line = Buffer.alloc(LIMIT + 2, ' ');
    line.write('[1, 2]', 0);
    const longest = Buffer.concat([line.subarray(0, LIMIT), Buffer.from('\n[3, 4]\n')]);
    expect((await read(write(at('a.jsonl'), longest)))[0].values).to.deep.equal([1, 2, 3, 4]);
    for (const end of ['\n[3, 4]\n', '']) {
      const longer = Buffer.concat([line.subarray(0, LIMIT + 1), Buffer.from(end)]);
      const error = await failure(read(write(at('a.jsonl'), longer)));
      expect(error.code).to.equal('too-large');
      expect(error.message).to.include(`${LIMIT}`).and.include(at('a.jsonl'));
    }
  });

  it('does not take a word in text for a number that JSON does not have', async () => {
    const error = await failure(read(write(at('a.jsonl'), '["NaN", Infinityx, 1\n')));
    expect(error.message).to.include('was the file cut off?').and.not.include('it holds');
  });

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
