import {readdirSync, readFileSync, writeFileSync} from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {fileSystem} from '../../../lib/io/model/file-system.js';
import {loadLayersModel, saveLayersModel} from '../../../lib/io/model/model-files.js';
import {checkForLeaks, disposeModels} from '../../support/backends.js';
import {urlOf, runModule} from '../../support/child.js';
import {temporaryFolder, failure} from '../../support/io/files.js';
import {weightBytes} from '../../support/io/weight-bytes.js';

const {layers} = tf;

describe('checksums', () => {
  const at = temporaryFolder();
  checkForLeaks();

  const smallModel = () => tf.sequential({layers: [layers.dense({units: 3, inputShape: [40]})]});

  for (const [what, load] of [
    ['loadLayersModel', () => loadLayersModel(at())],
    ['fileSystem', () => fileSystem(at()).load()],
  ] as const) {
    it(`let ${what} name a damaged shard`, async () => {
      const model = smallModel();
      await saveLayersModel(model, at(), {maxShardBytes: 100});
      for (const shard of readdirSync(at()).filter((name) => name.endsWith('.bin'))) {
        const bytes = readFileSync(at(shard));
        const damaged = Uint8Array.from(bytes);
        damaged[damaged.length - 1] ^= 1; // one bit
        writeFileSync(at(shard), damaged);
        const error = await failure(load());
        expect(error).to.include({name: 'FileError', code: 'checksum-mismatch'});
        expect(error.message).to.include(at(shard)).and.to.include('copy the file again');
        const {expected, found} = error.data;
        expect(String(expected).slice(0, 16)).to.equal(/-([0-9a-f]+)\.bin$/.exec(shard)?.[1]);
        expect(error.message).to.include(String(expected)).and.to.include(String(found));
        writeFileSync(at(shard), bytes);
      }
      model.dispose();
    });
  }

  it('may be missing, as in models of other writers', async () => {
    const model = smallModel();
    await saveLayersModel(model, at());
    const json = JSON.parse(readFileSync(at('model.json'), 'utf8')) as {
      weightsManifest: {sha256?: string[]}[];
    };
    delete json.weightsManifest[0].sha256;
    writeFileSync(at('model.json'), JSON.stringify(json));
    const loaded = await loadLayersModel(at());
    expect(weightBytes(loaded)).to.deep.equal(weightBytes(model));
    disposeModels(model, loaded);
  });

  for (const [what, sha256] of [
    ['too few', []],
    ['shorter', ['ab']],
    ['no text', [7]],
    ['no list', 'x'.repeat(64)],
  ] as const) {
    it(`must be one for each shard: ${what}`, async () => {
      const model = smallModel();
      await saveLayersModel(model, at());
      const text = readFileSync(at('model.json'), 'utf8');
      writeFileSync(
        at('model.json'),
        text.replace(/"sha256":\["[0-9a-f]*"\]/, `"sha256":${JSON.stringify(sha256)}`),
      );
      expect((await failure(loadLayersModel(at()))).code).to.equal('malformed-manifest');
      model.dispose();
    });
  }

  it('do not disturb the loaders of TensorFlow.js', async () => {
    const model = smallModel();
    await saveLayersModel(model, at(), {maxShardBytes: 100});
    const {stdout, stderr} = await runModule(`
      import * as tf from '@tensorflow/tfjs';
      const {loadBackend} = await import(${JSON.stringify(urlOf('lib/backend/load.ts'))});
      const {name} = await loadBackend();
      if (name === 'tensorflow' || name === 'node') {
        const model = await tf.loadLayersModel(${JSON.stringify(`file://${at('model.json')}`)});
        console.log(JSON.stringify(model.getWeights().map((weight) => [...weight.dataSync()])));
      } else {
        console.log('no tfjs-node');
      }
    `);
    const expected = JSON.stringify(model.getWeights().map((weight) => [...weight.dataSync()]));
    expect(stdout.trim().split('\n').at(-1), stderr).to.be.oneOf([expected, 'no tfjs-node']);
    model.dispose();
  });
});
