import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {checkForLeaks} from '../backends.js';
import {read, readNamed} from './data-file-content.js';
import {failure, temporaryFolder, write} from './files.js';

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
