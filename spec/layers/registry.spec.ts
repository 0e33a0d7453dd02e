/** @file Sparsified models in a process that has only registered the layers, and registrations that end. */
import {spawnSync} from 'node:child_process';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {fileSystem} from '../../lib/io/model/file-system.js';
import {registerLayers, withLayers} from '../../lib/layers/registry.js';
import {SparsifyingDense} from '../../lib/layers/sparsifying-dense.js';
import {sparsifyActivations} from '../../lib/sparsify.js';
import {withoutLeaks} from '../support/backends.js';
import {MLP3, mlp3} from '../support/mlp3.js';
import {quietly} from '../support/child.js';

const CHILD = `
  import * as tf from '@tensorflow/tfjs';
  import {registerLayers} from './lib/index.js';
  import {fileSystem} from './lib/io/model/file-system.js';
  await tf.setBackend('cpu');
  registerLayers();
  const model = await tf.loadLayersModel(fileSystem(process.argv[1]));
  const output = model.predict(tf.tensor2d(JSON.parse(process.argv[2])));
  console.log(JSON.stringify({output: [...output.dataSync()], targets: model.layers.map((l) => l.targetSparsity)}));
`;

describe('registerLayers', () =>
  withoutLeaks(() => {
    let folder: string;
    before(() => tf.setBackend('cpu'));
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'sparsify-registry-'));
    });
    afterEach(() => rmSync(folder, {recursive: true}));

    it('is all that a new process needs to load what model.save wrote', async () => {
      const model = mlp3();
      const sparse = await sparsifyActivations(model, MLP3.calibration_batches, {
        targetSparsityByScope: {fc1: 0.3, fc3: 0.9},
      });
      await sparse.save(fileSystem(folder));
      const expected = tf.tidy(() => [
        ...(sparse.predict(tf.tensor2d(MLP3.test_input)) as tf.Tensor).dataSync(),
      ]);
      sparse.dispose();
      model.dispose();
      const args = [
        '--import',
        'tsx',
        '--input-type=module',
        '-e',
        CHILD,
        folder,
        JSON.stringify(MLP3.test_input),
      ];
      const {stdout, stderr} = spawnSync(process.execPath, args, {encoding: 'utf8', env: quietly()});
      const result = JSON.parse(stdout.trim().split('\n').at(-1) || '{}') as {
        output: number[];
        targets: number[];
      };
      expect(result.output, stderr).to.deep.equal(expected);
      expect(result.targets).to.deep.equal([0.3, null, 0.9]);
    });

    it('changes nothing when called again', () => {
      registerLayers();
      registerLayers();
      const {classNameMap} = tf.serialization.SerializationMap.getMap();
      expect(classNameMap.SparsifyingDense[0]).to.equal(SparsifyingDense);
    });
  }));

describe('withLayers', () => {
  /** A layer of a name that another library might use too. */
  class Twin extends tf.layers.Layer {
    static className = 'Twin';
  }
  class OtherTwin extends tf.layers.Layer {
    static className = 'Twin';
  }

  const registered = () => tf.serialization.SerializationMap.getMap().classNameMap.Twin?.[0] as unknown;

  it('registers for one piece of work and restores what was there before', async () => {
    expect(registered()).to.equal(undefined);
    await withLayers([Twin], async () => {
      expect(registered()).to.equal(Twin);
      await withLayers([OtherTwin], () => expect(registered()).to.equal(OtherTwin));
      expect(registered()).to.equal(Twin);
    });
    expect(registered()).to.equal(undefined);
  });

  it('restores it when the work fails, and gives what the work gives', async () => {
    const failure = await withLayers([Twin], () => {
      throw new Error('no');
    }).catch((error: unknown) => error);
    expect(failure).to.have.property('message', 'no');
    expect(registered()).to.equal(undefined);
    expect(await withLayers([], () => 7)).to.equal(7);
  });
});
