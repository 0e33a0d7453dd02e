import {createServer, type Server} from 'node:http';
import {mkdirSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import type {AddressInfo} from 'node:net';
import {basename} from 'node:path';
import {pathToFileURL} from 'node:url';

import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import fc from 'fast-check';

import {fileSystem} from '../../../lib/io/model/file-system.js';
import {sparsifyActivations} from '../../../lib/index.js';
import {checkSavePath, loadLayersModel, saveLayersModel} from '../../../lib/io/model/model-files.js';
import {checkForLeaks, onEveryBackend} from '../../support/backends.js';
import {failure, temporaryFolder, write} from '../../support/io/files.js';

/** A layer that is never registered. */
class Unregistered extends tf.layers.Layer {
  static className = 'NeverRegistered';
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return (Array.isArray(inputs) ? inputs[0] : inputs).clone();
  }
}

/** A layer with a Dense inside, of which it lists nothing, the kernel, or once the Dense is sparsified the threshold too. */
class Holder extends tf.layers.Layer {
  static className = 'Holder';
  listed: 'nothing' | 'kernel' | 'all' = 'kernel';
  readonly inner = tf.layers.dense({name: 'inner', units: 2, useBias: false});

  override get trainableWeights(): tf.LayerVariable[] {
    return this.listed === 'nothing' ? [] : this.inner.trainableWeights;
  }

  override get nonTrainableWeights(): tf.LayerVariable[] {
    return this.listed === 'all' ? this.inner.nonTrainableWeights : [];
  }

  override computeOutputShape(shape: tf.Shape): tf.Shape {
    return [...shape.slice(0, -1), 2];
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return this.inner.apply(inputs) as tf.Tensor;
  }
}

const inputOfTwo = {inputShape: [2]};

function smallModel(units = 3): tf.LayersModel {
  return tf.sequential({
    layers: [
      tf.layers.dense({
        name: 'first',
        units,
        inputShape: [4],
        activation: 'relu',
        biasInitializer: 'randomNormal',
      }),
      tf.layers.dense({name: 'second', units: 2}),
    ],
  });
}

function weightBytes(model: tf.LayersModel): number[][] {
  return model.weights.map((weight) => [...new Uint8Array(weight.read().dataSync().slice().buffer)]);
}

describe('saveLayersModel and loadLayersModel', () => {
  const at = temporaryFolder();
  checkForLeaks();

  it('make the folders above, and leave nothing of the check for them behind', async () => {
    await checkSavePath(at('new/deep/model'));
    expect(readdirSync(at('.'))).to.deep.equal([]);
    const model = smallModel();
    await saveLayersModel(model, at('new/deep/model'));
    expect(readdirSync(at('new/deep/model'))).to.include('model.json');
    model.dispose();
  });

  it('refuse a folder where the file system takes none, instead of trying for ever', async function () {
    if (process.platform !== 'linux') return; // /proc is Linux's
    const model = smallModel();
    for (const attempt of [checkSavePath, (path: string) => saveLayersModel(model, path)]) {
      const error: unknown = await attempt('/proc/a/b').catch((e: unknown) => e);
      expect(error).to.have.property('code', 'no-permission');
      expect(error).to.have.property('message').that.includes('choose another place');
    }
    model.dispose();
  });

  it('refuse to replace a file that holds no model', async () => {
    const model = smallModel();
    writeFileSync(at('package.json'), '{"name": "mine"}');
    const error = await saveLayersModel(model, at('package.json')).catch((e: unknown) => e);
    expect(error).to.have.property('code', 'not-a-model');
    expect(readFileSync(at('package.json'), 'utf8')).to.equal('{"name": "mine"}');
    model.dispose();
  });

  onEveryBackend(() => {
    it('give back the same weights, names and metadata', async () => {
      const model = smallModel();
      model.setUserDefinedMetadata({recipe: {method: 'INT8', targets: [0.5]}});
      await saveLayersModel(model, at());
      const loaded = await loadLayersModel(at());
      expect(weightBytes(loaded)).to.deep.equal(weightBytes(model));
      expect(loaded.layers.map(({name}) => name)).to.deep.equal(['first', 'second']);
      expect(loaded.getUserDefinedMetadata()).to.deep.equal({recipe: {method: 'INT8', targets: [0.5]}});
      for (const each of [model, loaded]) each.dispose();
    });
  });

  it('keep -Infinity and NaN', async () => {
    const model = smallModel();
    const weights = model.getWeights().map(({shape}, i) => tf.fill(shape, i % 2 === 0 ? -Infinity : NaN));
    model.setWeights(weights);
    tf.dispose(weights);
    await saveLayersModel(model, at());
    const loaded = await loadLayersModel(at());
    expect(weightBytes(loaded)).to.deep.equal(weightBytes(model));
    for (const each of [model, loaded]) each.dispose();
  });

  it('give the same bytes wherever the shards are cut', async () => {
    const model = smallModel();
    const expected = weightBytes(model);
    await fc.assert(
      fc.asyncProperty(fc.integer({min: 1, max: 200}), async (maxShardBytes) => {
        await saveLayersModel(model, at(), {maxShardBytes});
        const loaded = await loadLayersModel(at());
        expect(weightBytes(loaded)).to.deep.equal(expected);
        loaded.dispose();
      }),
      {numRuns: 15, seed: 4},
    );
    model.dispose();
  });

  it('read a path, a folder, a file URL and a relative file URL', async () => {
    const model = smallModel();
    await saveLayersModel(model, `file://${at('m')}`);
    const relative = `file://${at('m').replace(process.cwd(), '.')}/model.json`;
    for (const source of [at('m'), at('m/model.json'), pathToFileURL(at('m/model.json')).href, relative]) {
      (await loadLayersModel(source)).dispose();
    }
    model.dispose();
  });

  it('save under another name beside other files, and leave those alone', async () => {
    const model = smallModel();
    write(at('README.md'), 'a card');
    await saveLayersModel(model, at('dense.json'));
    await saveLayersModel(model, at('sparse.json'));
    const replacement = smallModel();
    await saveLayersModel(replacement, at('sparse.json'));
    const names = readdirSync(at());
    expect(names).to.include.members(['README.md', 'dense.json', 'sparse.json']);
    expect(names.filter((name) => name.startsWith('dense-weights-'))).to.have.length(1);
    expect(names.filter((name) => name.startsWith('sparse-weights-'))).to.have.length(1);
    (await loadLayersModel(at('dense.json'))).dispose();
    for (const each of [model, replacement]) each.dispose();
  });

  it('write what plain TensorFlow.js reads, and read what it writes', async () => {
    const model = smallModel();
    await model.save(fileSystem(at()));
    const plain = await tf.loadLayersModel(fileSystem(at('model.json')));
    const ours = await loadLayersModel(at());
    expect(weightBytes(plain)).to.deep.equal(weightBytes(ours));
    for (const each of [model, plain, ours]) each.dispose();
  });

  it('refuse to save a disposed model, and leave nothing in the folder', async () => {
    const model = smallModel();
    model.dispose();
    expect((await failure(saveLayersModel(model, at('out')))).code).to.equal('disposed-model');
    expect(readdirSync(at())).to.deep.equal([]);
  });

  it('refuse to save two weights of one name', async () => {
    const inner = () => tf.sequential({layers: [tf.layers.dense({name: 'twin', units: 2, inputShape: [2]})]});
    const model = tf.sequential({layers: [inner(), inner()]});
    expect((await failure(saveLayersModel(model, at('out')))).code).to.equal('duplicate-weight');
    tf.dispose(model.getWeights()); // dispose() does not reach both nested models
  });

  it('refuse to save a sparsified layer whose threshold the layer around it does not list', async () => {
    const holder = new Holder({name: 'holder', inputShape: [2]});
    const model = tf.sequential({layers: [holder]});
    const data = [tf.tensor2d([1, 2, 3, 4], [2, 2])];
    tf.dispose(model.predict(data));
    holder.listed = 'nothing';
    await saveLayersModel(model, at('plain')); // what TensorFlow.js itself loses is not refused
    holder.listed = 'kernel';
    await sparsifyActivations(model, data, {targetSparsityByScope: {'.*': 0.5}, inPlace: true});
    const error = await failure(saveLayersModel(model, at('out')));
    expect(error.code).to.equal('unsavable-layer');
    expect(error.data).to.deep.include({layer: 'holder', path: 'holder/inner'});
    expect(error.data.missing).to.have.lengthOf(1);
    expect(error.message)
      .to.match(/layer "holder" \(Holder\).* of "holder\/inner"/)
      .and.include('threshold');
    expect(readdirSync(at())).to.deep.equal(['plain']);
    holder.listed = 'all';
    await saveLayersModel(model, at('out'));
    expect(readdirSync(at('out'))).to.include('model.json');
    tf.dispose(data);
    model.dispose();
  });

  it('say that a folder cannot be written', async () => {
    const model = smallModel();
    write(at('file'), '');
    const error = await failure(saveLayersModel(model, at('file/out')));
    expect(error.code).to.equal('not-a-folder');
    model.dispose();
  });

  it('name a layer that is not registered', async () => {
    const model = tf.sequential({layers: [new Unregistered(inputOfTwo)]});
    await saveLayersModel(model, at());
    const error = await failure(loadLayersModel(at()));
    expect(error).to.include({name: 'ModelError', code: 'unknown-layer'});
    expect(error.message).to.include('NeverRegistered').and.to.include('registerLayers()');
  });

  it('refuse a URL scheme that they do not know', async () => {
    for (const [what, url] of [
      ['load', 'ftp://me:secret@host/model.json'],
      ['save', 'FTP://me:secret@host/model.json'],
    ] as const) {
      const model = smallModel();
      const error = await failure(what === 'load' ? loadLayersModel(url) : saveLayersModel(model, url));
      const shown = url.replace('me:secret', '***');
      expect(error.message.toLowerCase()).to.equal(
        `${shown.toLowerCase()}: "ftp" is not supported; give a local path, a file:// url, or to load an http(s) url`,
      );
      expect(error).to.include({code: 'unsupported-scheme'});
      expect(error.data).to.include({scheme: 'ftp'});
      expect(JSON.stringify(error.data)).to.not.include('secret');
      model.dispose();
    }
    const model = smallModel();
    expect((await failure(saveLayersModel(model, 'http://host/m'))).data).to.include({scheme: 'http'});
    model.dispose();
  });

  it('take a file URL with escapes and in capitals', async () => {
    const model = smallModel();
    await saveLayersModel(model, pathToFileURL(at('a b')).href.replace('file', 'FILE'));
    expect(readdirSync(at())).to.deep.equal(['a b']);
    (await loadLayersModel(pathToFileURL(at('a b')).href)).dispose();
    model.dispose();
  });

  it('say which weights have one name, and which model is disposed', async () => {
    const inner = () => tf.sequential({layers: [tf.layers.dense({name: 'twin', units: 2, inputShape: [2]})]});
    const twins = tf.sequential({layers: [inner(), inner()]});
    const twice = await failure(saveLayersModel(twins, at('out')));
    expect(twice.message).to.equal(
      'two weights of the model are called "twin/kernel", so it could not be loaded again: give its layers different names',
    );
    expect(twice.data).to.deep.equal({name: 'twin/kernel'});
    tf.dispose(twins.getWeights());
    const model = smallModel();
    model.dispose();
    const disposed = await failure(saveLayersModel(model, at('out')));
    expect(disposed.message).to.equal('the model is disposed: its weight "first/kernel" is gone');
    expect(disposed.data).to.deep.equal({name: 'first/kernel'});
    expect(disposed.cause).to.be.instanceOf(Error);
    expect(readdirSync(at())).to.deep.equal([]);
  });

  it('write who wrote it, in the format that TensorFlow.js writes', async () => {
    const model = smallModel();
    await saveLayersModel(model, at());
    expect(JSON.parse(readFileSync(at('model.json'), 'utf8'))).to.deep.include({
      format: 'layers-model',
      generatedBy: `TensorFlow.js tfjs-layers v${tf.version['tfjs-layers']}`,
      convertedBy: null,
    });
    model.dispose();
  });

  it('save into shards of the size that is asked for, and know their options', async () => {
    const model = smallModel();
    await saveLayersModel(model, at(), {maxShardBytes: 50});
    const sizes = readdirSync(at())
      .filter((name) => name.endsWith('.bin'))
      .map((name) => readFileSync(at(name)).length);
    expect(Math.max(...sizes)).to.equal(50);
    expect(sizes.reduce((sum, size) => sum + size)).to.equal(4 * model.countParams());
    const wrong = await failure(saveLayersModel(model, at(), {shards: 1} as object));
    expect(wrong).to.include({code: 'unknown-option'});
    expect(wrong.message).to.include('saveLayersModel').and.include('shards');
    model.dispose();
  });

  it('stop on demand, before the first piece or between two, and leave an older model whole', async () => {
    const model = smallModel();
    await saveLayersModel(model, at());
    const before = readdirSync(at());
    const aborted = AbortSignal.abort(new Error('enough'));
    expect(await saveLayersModel(model, at(), {signal: aborted}).catch(String)).to.equal('Error: enough');
    let asked = 0;
    const {signal} = new AbortController();
    signal.throwIfAborted = () => {
      if (++asked === 3) throw new Error('later');
    };
    expect(await saveLayersModel(model, at(), {signal}).catch(String)).to.equal('Error: later');
    expect(asked, 'once before and once a weight').to.equal(3);
    expect(readdirSync(at())).to.deep.equal(before);
    model.dispose();
  });

  it('know beforehand where nothing can be written, and leave nothing of the check', async () => {
    write(at('file'), '');
    const error = await failure(checkSavePath(at('file/model.json')));
    expect(error).to.include({code: 'not-a-folder'});
    expect((await failure(checkSavePath(at('file/a/b')))).code).to.equal('not-a-folder');
    write(at('package.json'), '{"name": "mine"}');
    expect((await failure(checkSavePath(at('package.json')))).code).to.equal('not-a-model');
    mkdirSync(at('there'));
    await checkSavePath(at('there'));
    await checkSavePath(at('there/new.json'));
    expect(readdirSync(at('there'))).to.deep.equal([]);
    expect(readdirSync(at()).sort()).to.deep.equal(['file', 'package.json', 'there']);
  });
});

/** A model.json without its last bias, in topology and manifest: its shards are 8 bytes longer than it says. */
function cutManifest(text: string): string {
  return text
    .replace(/,\{"name":"second\/bias"[^}]*\}/, '')
    .replace(/("name":"second"[^}]*"use_bias":)true/, '$1false');
}

/** A model.json whose first kernel has one row more, in topology and manifest. */
function extendManifest(text: string): string {
  return text.replace('"shape":[4,3]', '"shape":[5,3]').replace('[null,4]', '[null,5]');
}

describe('model.json in another encoding', () => {
  const at = temporaryFolder();
  before(() => tf.setBackend('cpu'));

  for (const [what, encode] of [
    ['UTF-8 with a byte order mark', (text: string) => Buffer.from(`\ufeff${text}`)],
    ['UTF-16 with a byte order mark', (text: string) => Buffer.from(`\ufeff${text}`, 'utf16le')],
    ['UTF-16, big-endian', (text: string) => Buffer.from(text, 'utf16le').swap16()],
  ] as const) {
    it(`is read: ${what}`, async () => {
      const model = smallModel();
      await saveLayersModel(model, at());
      writeFileSync(at('model.json'), encode(readFileSync(at('model.json'), 'utf8')));
      const loaded = await loadLayersModel(at());
      expect(weightBytes(loaded)).to.deep.equal(weightBytes(model));
      await saveLayersModel(loaded, at()); // it is known for a model, so it is replaced
      loaded.dispose();
      model.dispose();
    });
  }

  it('is named where it is none', async () => {
    writeFileSync(at('model.json'), Buffer.from('{"caf\xe9": 1}', 'latin1'));
    const error = await failure(loadLayersModel(at()));
    expect(error).to.include({name: 'FileError', code: 'malformed-text'});
  });

  it('is refused with a number beyond a double', async () => {
    writeFileSync(at('model.json'), '{"modelTopology": {"units": 1e400}, "weightsManifest": []}');
    expect((await failure(loadLayersModel(at()))).code).to.equal('malformed-json');
  });

  it('is not replaced by a save if it cannot be read', async () => {
    mkdirSync(at('model.json'));
    const model = smallModel();
    expect((await failure(saveLayersModel(model, at()))).code).to.equal('not-a-file');
    expect((await failure(checkSavePath(at()))).code).to.equal('not-a-file');
    expect(readdirSync(at())).to.deep.equal(['model.json']);
    model.dispose();
  });
});

describe('loadLayersModel over http', () => {
  const at = temporaryFolder();
  let server: Server;
  let url = '';
  const requests: string[] = [];

  before((done) => {
    server = createServer((request, response) => {
      requests.push(request.url ?? '');
      try {
        response.end(readFileSync(at(basename(new URL(request.url ?? '', 'http://host').pathname))));
      } catch {
        response.writeHead(404).end('<html>not found</html>');
      }
    }).listen(0, '127.0.0.1', () => {
      url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      done();
    });
  });
  after((done) => void server.close(done));

  it('loads a model and sends the query with its weights', async () => {
    const model = smallModel();
    await saveLayersModel(model, at(), {maxShardBytes: 20});
    requests.length = 0;
    const loaded = await loadLayersModel(`${url}/m/model.json?key=1`);
    expect(weightBytes(loaded)).to.deep.equal(weightBytes(model));
    expect(requests.every((request) => request.startsWith('/m/') && request.endsWith('?key=1'))).to.equal(
      true,
    );
    loaded.dispose();
    model.dispose();
  });

  it('says what the server answered', async () => {
    const error = await failure(loadLayersModel(`${url}/model.json`));
    expect(error).to.include({name: 'FileError', code: 'http-status'});
    expect(error.message).to.include('404');
  });

  it('says that a server cannot be reached', async () => {
    expect((await failure(loadLayersModel('http://127.0.0.1:1/model.json'))).code).to.equal('unreachable');
  });

  for (const [what, change, code] of [
    ['a web page', () => '<html></html>', 'malformed-json'],
    ['weights longer than the manifest says', cutManifest, 'weights-mismatch'],
    ['weights shorter than the manifest says', extendManifest, 'weights-mismatch'],
    ['weights of another shape', (text: string) => text.replace('[4,3]', '[3,4]'), 'weights-mismatch'],
    [
      'an encoded way out of the folder',
      (text: string) => text.replace(/"model-weights/, '"%2e%2e/model-weights'),
      'unsafe-path',
    ],
    [
      'weights whose checksum is another',
      (text: string) => text.replace(/"sha256":\["[0-9a-f]{64}/, `"sha256":["${'0'.repeat(64)}`),
      'checksum-mismatch',
    ],
  ] as const) {
    it(`rejects ${what}`, async () => {
      const model = smallModel();
      await saveLayersModel(model, at());
      writeFileSync(at('model.json'), change(readFileSync(at('model.json'), 'utf8')));
      expect((await failure(loadLayersModel(`${url}/m/model.json`))).code).to.equal(code);
      model.dispose();
    });
  }
});
