import {spawn, spawnSync} from 'node:child_process';
import {once} from 'node:events';
import {existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, utimesSync} from 'node:fs';
import {fileURLToPath} from 'node:url';

import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';

import {fileSystem} from '../../../lib/io/model/file-system.js';
import {loadLayersModel, saveLayersModel} from '../../../lib/io/model/model-files.js';
import {checkForLeaks} from '../../support/backends.js';
import {finished} from '../../support/child.js';
import {constantModel, distinctWeights} from '../../support/io/constant-model.js';
import {failure, temporaryFolder, write} from '../../support/io/files.js';
import {SHARDS_OF_OLD, type FullDiskResult} from '../../support/io/full-disk-result.js';
import {killDuringSaves} from '../../support/io/kills.js';

/** `npm run bench -- killed-saves` does 200. */
const KILLS = 30;

/** How a process gets mounts of its own, where it may: as root, or in a user namespace. */
const OWN_MOUNTS =
  [
    ['unshare', '-m'],
    ['unshare', '-rm'],
  ].find(
    ([head, ...args]) => spawnSync(head, [...args, 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt']).status === 0,
  ) ?? [];

/** Places that are too small for the model: by a limit on files, and where that is allowed, a disk of 4 MB. */
const FULL_DISKS = [
  // In blocks of 512 bytes: the old model's shards fit, the new one's do not.
  {what: 'a limit on the size of files', shell: () => 'ulimit -f 4000', code: 'file-too-large'},
  {
    what: 'a disk that is full',
    shell: (folder: string) => `mount -t tmpfs -o size=4m tmpfs '${folder}'`,
    code: 'disk-full',
  },
].filter(({code}) => code !== 'disk-full' || OWN_MOUNTS.length > 0);

/** A text that is a model.json with one Dense layer, with `change` made to its JSON. */
function modelJson(change: (json: Record<string, unknown>) => void = () => undefined): string {
  const json = {
    format: 'layers-model',
    modelTopology: {class_name: 'Sequential', config: {layers: []}},
    weightsManifest: [{paths: ['w.bin'], weights: [{name: 'w', shape: [2, 2], dtype: 'float32'}]}],
  };
  change(json);
  return JSON.stringify(json);
}

function withEntry(entry: object): string {
  return modelJson(
    (json) => (json['weightsManifest'] = [{paths: ['w.bin'], weights: [{name: 'w', ...entry}]}]),
  );
}

function withPath(path: string): string {
  return modelJson((json) => (json['weightsManifest'] = [{paths: [path], weights: []}]));
}

describe('fileSystem', () => {
  const at = temporaryFolder();
  checkForLeaks();

  describe('load', () => {
    it('gives the artifacts, the weights as the shards they lie in', async () => {
      write(at('model.json'), modelJson());
      write(at('w.bin'), new Uint8Array(16).fill(7));
      const {weightSpecs, weightData, modelTopology} = await fileSystem(at()).load();
      expect(weightSpecs).to.deep.equal([{name: 'w', shape: [2, 2], dtype: 'float32'}]);
      expect([...new Uint8Array(tf.io.CompositeArrayBuffer.join(weightData))]).to.deep.equal(
        Array(16).fill(7),
      );
      expect(modelTopology).to.have.property('class_name', 'Sequential');
    });

    const hostile: readonly (readonly [what: string, text: string, code: string])[] = [
      ['a file that is cut off', modelJson().slice(0, 80), 'malformed-json'],
      ['JSON that is no object', '[1]', 'not-a-model'],
      ['JSON without a topology', '{"weightsManifest": []}', 'not-a-model'],
      ['metadata that is no object', modelJson((json) => (json['userDefinedMetadata'] = 'x')), 'not-a-model'],
      ['a GraphModel by its format', modelJson((json) => (json['format'] = 'graph-model')), 'graph-model'],
      ['a GraphModel by its nodes', modelJson((json) => (json['modelTopology'] = {node: []})), 'graph-model'],
      ['a __proto__ key', modelJson().replace('"layers"', '"__proto__":{"x":1},"layers"'), 'forbidden-key'],
      ['a constructor key', modelJson().replace('"layers"', '"constructor":{},"layers"'), 'forbidden-key'],
      ['endless nesting', modelJson().replace('[]', '['.repeat(5000) + ']'.repeat(5000)), 'malformed-json'],
      ['a model without weights', modelJson((json) => delete json['weightsManifest']), 'malformed-manifest'],
      ['a group without paths', modelJson((json) => (json['weightsManifest'] = [{}])), 'malformed-manifest'],
      ['a negative dimension', withEntry({shape: [-1], dtype: 'float32'}), 'malformed-manifest'],
      ['a dimension that is no integer', withEntry({shape: [1.5], dtype: 'float32'}), 'malformed-manifest'],
      [
        'a shape beyond counting',
        withEntry({shape: [2 ** 40, 2 ** 40], dtype: 'float32'}),
        'malformed-manifest',
      ],
      ['an unknown dtype', withEntry({shape: [4], dtype: 'toString'}), 'malformed-manifest'],
      [
        'an unknown quantization',
        withEntry({shape: [4], dtype: 'float32', quantization: {dtype: 'x'}}),
        'malformed-manifest',
      ],
      ['a shape larger than the weights', withEntry({shape: [1e9], dtype: 'float32'}), 'weights-mismatch'],
      ['a shape smaller than the weights', withEntry({shape: [3], dtype: 'float32'}), 'weights-mismatch'],
      ['a shard that is missing', withPath('no.bin'), 'missing-shard'],
      ['a shard in the parent folder', withPath('../w.bin'), 'unsafe-path'],
      ['a shard by absolute path', withPath('/etc/passwd'), 'unsafe-path'],
      ['a shard by a Windows path', withPath('C:\\w.bin'), 'unsafe-path'],
      ['a shard by URL', withPath('http://host/w.bin'), 'unsafe-path'],
      ['a shard that hides its way out', withPath('a/../../w.bin'), 'unsafe-path'],
      ['a shard without a name', withPath(''), 'unsafe-path'],
      ['a shard in a folder without a name', withPath('a//w.bin'), 'unsafe-path'],
      ['a shard by backslashes', withPath('..\\\\w.bin'), 'unsafe-path'],
      ['a shard with a zero in its name', withPath('w.bin\u0000.png'), 'unsafe-path'],
      [
        'a shape whose bytes are beyond counting',
        withEntry({shape: [2 ** 51], dtype: 'float32'}),
        'malformed-manifest',
      ],
      [
        'two weights of one name',
        modelJson((json) => {
          const [group] = json['weightsManifest'] as {weights: unknown[]}[];
          group.weights.push(group.weights[0]);
        }),
        'malformed-manifest',
      ],
      [
        'nesting of 300 levels',
        modelJson().replace('[]', '['.repeat(300) + ']'.repeat(300)),
        'malformed-json',
      ],
    ];
    for (const [what, text, code] of hostile) {
      it(`rejects ${what}`, async () => {
        write(at('model.json'), text);
        write(at('w.bin'), new Uint8Array(16));
        const error = await failure(fileSystem(at()).load());
        expect(error).to.include({name: 'FileError', code});
        expect(error.message).to.include(at('model.json'));
      });
    }

    it('takes nesting of 200 levels', async () => {
      write(at('model.json'), modelJson().replace('[]', '['.repeat(200) + ']'.repeat(200)));
      write(at('w.bin'), new Uint8Array(16));
      expect(await fileSystem(at()).load()).to.have.property('modelTopology');
    });

    it('rejects a model.json that only weights could make so large, before it is read', async () => {
      write(at('model.json'), '');
      truncateSync(at('model.json'), 256 * 1024 ** 2 + 1);
      const error = await failure(fileSystem(at()).load());
      expect(error.code).to.equal('too-large');
      expect(error.message).to.include(`${256 * 1024 ** 2}`);
    });

    it('rejects a path that does not exist', async () => {
      expect((await failure(fileSystem(at('none')).load())).code).to.equal('missing-file');
    });

    it('rejects weights that were cut off', async () => {
      const {model} = constantModel();
      await saveLayersModel(model, at());
      const [shard] = readdirSync(at()).filter((name) => name.endsWith('.bin'));
      truncateSync(at(shard), 100);
      const error = await failure(loadLayersModel(at()));
      expect(error.code).to.equal('weights-mismatch');
      expect(error.message).to.include(shard);
      model.dispose();
    });
  });

  describe('save', () => {
    it('writes shards of at most the size that was asked for', async () => {
      const {model} = constantModel();
      await model.save(fileSystem(at(), {maxShardBytes: 100_000}));
      const sizes = readdirSync(at())
        .filter((name) => name.endsWith('.bin'))
        .map((name) => readFileSync(at(name)).byteLength);
      expect(Math.max(...sizes)).to.equal(100_000);
      model.dispose();
    });

    it('leaves only the new model, even where the old one had other shards', async () => {
      const {model, fill} = constantModel();
      for (const value of [1, 2]) {
        fill(value);
        await saveLayersModel(model, at(), {maxShardBytes: value * 300_000});
      }
      const loaded = await loadLayersModel(at());
      expect(distinctWeights(loaded)).to.deep.equal([2]);
      const {weightsManifest} = JSON.parse(readFileSync(at('model.json'), 'utf8')) as tf.io.ModelJSON;
      const paths = new Set(weightsManifest.flatMap(({paths: all}) => all));
      expect(readdirSync(at()).sort()).to.deep.equal([...paths, 'model.json'].sort());
      for (const each of [model, loaded]) each.dispose();
    });

    it('keeps the old model when the new one fails half-way', async () => {
      const {model, fill} = constantModel();
      fill(1);
      await saveLayersModel(model, at());
      const before = readdirSync(at());
      const short = fileSystem(at()).save({
        modelTopology: {class_name: 'Sequential'},
        weightSpecs: [{name: 'w', shape: [100], dtype: 'float32'}],
        weightData: new ArrayBuffer(16),
      });
      expect((await failure(short)).code).to.equal('weights-mismatch');
      expect(readdirSync(at())).to.deep.equal(before);
      const loaded = await loadLayersModel(at());
      expect(distinctWeights(loaded)).to.deep.equal([1]);
      for (const each of [model, loaded]) each.dispose();
    });

    it('leaves no folder that it made for a model that it could not write, but one that was there', async () => {
      const broken = {
        modelTopology: {class_name: 'Sequential'},
        weightSpecs: [{name: 'w', shape: [100], dtype: 'float32' as const}],
        weightData: new ArrayBuffer(16),
      };
      await failure(fileSystem(at('made')).save(broken));
      expect(readdirSync(at())).to.deep.equal([]);
      mkdirSync(at('there'));
      await failure(fileSystem(at('there')).save(broken));
      expect(readdirSync(at('there'))).to.deep.equal([]);
    });

    it('writes nothing that it would refuse to read', async () => {
      const twice = {name: 'w', shape: [1], dtype: 'float32' as const};
      const save = fileSystem(at()).save({
        modelTopology: {class_name: 'Sequential'},
        weightSpecs: [twice, twice],
        weightData: new ArrayBuffer(8),
      });
      expect((await failure(save)).code).to.equal('malformed-manifest');
      expect(readdirSync(at())).to.deep.equal([]);
    });

    it('replaces no file that holds no model', async () => {
      const {model} = constantModel();
      write(at('model.json'), '{"name": "mine"}');
      expect((await failure(model.save(fileSystem(at())))).code).to.equal('not-a-model');
      expect(readdirSync(at())).to.deep.equal(['model.json']);
      model.dispose();
    });

    it('says how much it wrote', async () => {
      const {model} = constantModel();
      const {modelArtifactsInfo: info} = await model.save(fileSystem(at()));
      expect(info.weightDataBytes).to.equal(4 * model.countParams());
      const {weightsManifest, modelTopology} = JSON.parse(
        readFileSync(at('model.json'), 'utf8'),
      ) as tf.io.ModelJSON;
      expect(info.weightSpecsBytes).to.equal(JSON.stringify(weightsManifest[0].weights).length);
      expect(info.modelTopologyBytes).to.equal(JSON.stringify(modelTopology).length);
      model.dispose();
    });

    it('removes weights that no model names once they are a minute old, and no others', async () => {
      const {model} = constantModel();
      write(at('model-weights-0123456789abcdef.bin'), 'recent');
      write(at('other-weights-0123456789abcdef.bin'), 'of another model');
      const {now} = Date;
      Date.now = () => now() + 61_000;
      try {
        await saveLayersModel(model, at());
      } finally {
        Date.now = now;
      }
      expect(existsSync(at('model-weights-0123456789abcdef.bin'))).to.equal(false);
      expect(existsSync(at('other-weights-0123456789abcdef.bin'))).to.equal(true);
      model.dispose();
    });

    it('leaves nothing but the old model where the process ends itself in between', async () => {
      const {model} = constantModel();
      await saveLayersModel(model, at());
      model.dispose();
      const before = readdirSync(at());
      const program = fileURLToPath(new URL('../../support/io/exiting-save.ts', import.meta.url));
      const {code, stderr} = await finished(spawn(process.execPath, ['--import', 'tsx', program, at()]));
      expect(code, stderr).to.equal(3);
      expect(readdirSync(at())).to.deep.equal(before);
    });

    it('leaves what a process of another user is about to save', async () => {
      const {model} = constantModel();
      mkdirSync(at('.model-saving-4000000-0a0b0c0d'));
      const own = Object.getOwnPropertyDescriptor(process, 'kill')!;
      const value = () => {
        throw Object.assign(new Error('not permitted'), {code: 'EPERM'});
      };
      Object.defineProperty(process, 'kill', {...own, value});
      try {
        await saveLayersModel(model, at());
      } finally {
        Object.defineProperty(process, 'kill', own);
      }
      expect(existsSync(at('.model-saving-4000000-0a0b0c0d'))).to.equal(true);
      model.dispose();
    });

    it('removes what ended processes left', async () => {
      const {model} = constantModel();
      const ended = spawn(process.execPath, ['--version'], {stdio: 'ignore'});
      await once(ended, 'exit');
      mkdirSync(at(`.model-saving-${ended.pid}-0a0b0c0d`));
      mkdirSync(at(`.model-saving-${process.pid}-0a0b0c0d`));
      await saveLayersModel(model, at());
      const hidden = readdirSync(at()).filter((name) => name.startsWith('.'));
      expect(hidden).to.deep.equal([`.model-saving-${process.pid}-0a0b0c0d`]);
      model.dispose();
    });

    it('keeps weights that another process may just have moved there', async () => {
      const {model} = constantModel();
      write(at('model-weights-0123456789abcdef.bin'), 'recent');
      utimesSync(at('model-weights-0123456789abcdef.bin'), 0, 0); // the change time stays that of now
      await saveLayersModel(model, at());
      expect(existsSync(at('model-weights-0123456789abcdef.bin'))).to.equal(true);
      model.dispose();
    });

    it('leaves the old or the new model, whole, wherever it is killed', async function () {
      this.timeout(120_000);
      const {failures, saves} = await killDuringSaves(at('m'), {kills: KILLS, seed: 7});
      expect(failures).to.deep.equal([]);
      expect(saves, 'kills during different saves').to.be.greaterThan(3);
    });

    for (const {what, shell, code} of FULL_DISKS) {
      it(`leaves the old model on ${what}`, async function () {
        this.timeout(60_000);
        mkdirSync(at('disk'));
        const program = fileURLToPath(new URL('../../support/io/full-disk.ts', import.meta.url));
        const command = `${shell(at('disk'))} && exec "$0" --import tsx "$1" "$2"`;
        const [head, ...args] = code === 'disk-full' ? [...OWN_MOUNTS, 'sh'] : ['sh'];
        const child = spawn(head, [...args, '-c', command, process.execPath, program, at('disk/m')]);
        const {stdout, stderr} = await finished(child);
        expect(stderr).to.equal('');
        const {errors, found, files} = JSON.parse(stdout) as FullDiskResult;
        expect(errors.map((error) => error.code)).to.deep.equal([code, code]);
        expect(errors[0].message).to.include(at('disk/m/model.json'));
        expect(found, 'the value of all weights').to.deep.equal([1]);
        expect(files, 'nothing but the old model').to.have.length(1 + SHARDS_OF_OLD);
      });
    }
  });
});
