import {createHash} from 'node:crypto';
import type {io} from '@tensorflow/tfjs';
import {expect} from 'chai';
import {GroupReader} from '../../../lib/io/model/group-reader.js';
import type {WeightsGroup} from '../../../lib/io/model/model-json.js';
import type {ModelSource} from '../../../lib/io/model/model-source.js';
import {failure} from '../../support/io/files.js';

/** The bytes of all shards together: 0 to 9 in shards of 4, 0, 5 and 1. */
const SHARDS: Readonly<Record<string, Uint8Array>> = {
  a: Uint8Array.of(0, 1, 2, 3),
  empty: new Uint8Array(0),
  b: Uint8Array.of(4, 5, 6, 7, 8),
  c: Uint8Array.of(9),
};

const WEIGHT: io.WeightsManifestEntry = {name: 'w', shape: [10], dtype: 'bool'};

/** A source of these shards that gives at most 3 bytes a read, and what was opened and closed. */
function sourceOf(shards = SHARDS): {source: ModelSource; opened: string[]; closed: string[]} {
  const opened: string[] = [];
  const closed: string[] = [];
  const openShard: ModelSource['openShard'] = (path) => {
    opened.push(path);
    let at = 0;
    return Promise.resolve({
      read: (target) => {
        const piece = shards[path].subarray(at, at + Math.min(3, target.byteLength));
        target.set(piece);
        at += piece.byteLength;
        return Promise.resolve(piece.byteLength);
      },
      close: () => Promise.resolve(void closed.push(path)),
    });
  };
  const json = {modelTopology: {}, weightsManifest: []};
  const source = {
    name: 'm.json',
    json,
    shardName: (path: string) => `in/${path}`,
    openShard,
    createHash: () => createHash('sha256'),
  };
  return {source, opened, closed};
}

function groupOf(change: Partial<WeightsGroup> = {}, shards = SHARDS): WeightsGroup {
  const sha256 = Object.values(shards).map((bytes) => createHash('sha256').update(bytes).digest('hex'));
  return {paths: Object.keys(shards), weights: [WEIGHT], sha256, ...change};
}

describe('GroupReader', () => {
  it('fills what it is given over all shards, in order, each open once and one at a time', async () => {
    const {source, opened, closed} = sourceOf();
    const reader = new GroupReader(source, groupOf());
    const [first, none, second] = [5, 0, 5].map((size) => new Uint8Array(size));
    for (const target of [first, none, second]) await reader.fill(target);
    await reader.end();
    expect([...first, ...second]).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(await reader.read(new Uint8Array(1)), 'at the end').to.equal(0);
    expect([opened, closed]).to.deep.equal([Object.keys(SHARDS), Object.keys(SHARDS)]);
  });

  it('opens nothing before it is asked, and closes what is open once', async () => {
    const {source, opened, closed} = sourceOf();
    const reader = new GroupReader(source, groupOf());
    await reader.close();
    expect(opened).to.deep.equal([]);
    await reader.fill(new Uint8Array(2));
    await reader.close();
    await reader.close();
    expect([opened, closed]).to.deep.equal([['a'], ['a']]);
  });

  it('says how much was there where the shards end too early', async () => {
    const {source} = sourceOf();
    const reader = new GroupReader(source, groupOf({weights: [{...WEIGHT, shape: [12]}]}));
    await reader.fill(new Uint8Array(4));
    const error = await failure(reader.fill(new Uint8Array(8)));
    expect(error).to.include({
      name: 'FileError',
      code: 'weights-mismatch',
      message:
        'the weights in a, empty, b, c are 10 bytes; the manifest in m.json needs 12: copy the weight files again, ' +
        'from the folder where this model.json was written',
    });
    expect(error.data).to.deep.equal({source: 'm.json', paths: ['a', 'empty', 'b', 'c'], expected: 12});
  });

  it('says that the shards go on behind the last weight, and the least that strings take', async () => {
    const {source} = sourceOf();
    const reader = new GroupReader(source, groupOf({weights: [{name: 's', shape: [2], dtype: 'string'}]}));
    await reader.fill(new Uint8Array(8));
    const error = await failure(reader.end());
    expect(error.code).to.equal('weights-mismatch');
    expect(error.message).to.include(
      'a, empty, b, c are longer; the manifest in m.json needs at least 8: copy',
    );
  });

  for (const damaged of ['a', 'empty', 'b', 'c']) {
    it(`finds a shard of another checksum at its end: ${damaged}`, async () => {
      const shards = {...SHARDS, [damaged]: Uint8Array.from([...SHARDS[damaged], 7])};
      const {source} = sourceOf(shards);
      const reader = new GroupReader(source, groupOf());
      const error = await failure(async () => {
        await reader.fill(new Uint8Array(11));
        await reader.end();
      });
      const [found, expected] = [shards, SHARDS].map((each) =>
        createHash('sha256').update(each[damaged]).digest('hex'),
      );
      expect(error).to.include({
        name: 'FileError',
        code: 'checksum-mismatch',
        message:
          `in/${damaged} is damaged: its SHA-256 is ${found}, the manifest in m.json says ${expected}: copy the file ` +
          'again from where this model was written, or save the model again',
      });
      expect(error.data).to.deep.equal({path: `in/${damaged}`, source: 'm.json', found, expected});
    });
  }

  it('checks no checksum where there is none', async () => {
    const {source} = sourceOf();
    const reader = new GroupReader(source, groupOf({sha256: undefined}));
    const bytes = new Uint8Array(10);
    await reader.fill(bytes);
    await reader.end();
    expect([...bytes]).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });
});
