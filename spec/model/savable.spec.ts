/** @file Activations that are layers, as Keras writes `activation=ReLU(6)`: computed, saved and loaded with their settings. */
import {existsSync} from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {
  compressWeights,
  decompressWeights,
  registerLayers,
  sparsifyActivations,
  type SparsifyingDense,
} from '../../lib/index.js';
import {fileSystem, loadLayersModel, saveLayersModel} from '../../lib/node.js';
import {disposeModels, onEveryBackend} from '../support/backends.js';
import {failure, temporaryFolder} from '../support/io/files.js';
import {normals} from '../support/normals.js';

type Activation = string | {class_name: string; config: Record<string, unknown>};

/** A Dense, a convolution and an LSTM with the activation, on [n, 5, 6]. */
function build(activation: Activation): Promise<tf.LayersModel> {
  const layers = [
    {class_name: 'Dense', config: {name: 'd', units: 8, activation, batch_input_shape: [null, 5, 6]}},
    {class_name: 'Conv1D', config: {name: 'c', filters: 8, kernel_size: [2], activation}},
    {class_name: 'LSTM', config: {name: 'l', units: 4, activation, recurrent_activation: activation}},
  ];
  const modelTopology = {class_name: 'Sequential', keras_version: '2.7.0', config: {name: 's', layers}};
  return tf.models.modelFromJSON({modelTopology} as unknown as tf.io.ModelJSON);
}

/** A Dense with the activation, on [n, 5, 6]. */
function buildDense(activation: Activation): Promise<tf.LayersModel> {
  const config = {name: 'd', units: 3, activation, batch_input_shape: [null, 5, 6]};
  const modelTopology = {
    class_name: 'Sequential',
    config: {name: 's', layers: [{class_name: 'Dense', config}]},
  };
  return tf.models.modelFromJSON({modelTopology} as unknown as tf.io.ModelJSON);
}

const ACTIVATIONS: Record<string, [Activation, (z: number) => number]> = {
  'ReLU with a maximum': [
    {class_name: 'ReLU', config: {max_value: 0.25}},
    (z) => Math.min(Math.max(z, 0), 0.25),
  ],
  'plain ReLU': [{class_name: 'ReLU', config: {}}, (z) => Math.max(z, 0)],
  LeakyReLU: [{class_name: 'LeakyReLU', config: {alpha: 0.5}}, (z) => (z < 0 ? 0.5 * z : z)],
  ThresholdedReLU: [{class_name: 'ThresholdedReLU', config: {theta: 0.5}}, (z) => (z > 0.5 ? z : 0)],
  'hard_sigmoid by name': ['hard_sigmoid', (z) => Math.min(Math.max(0.2 * z + 0.5, 0), 1)],
};

const valuesOf = (model: tf.LayersModel, x: tf.Tensor) =>
  tf.tidy(() => [...(model.predict(x) as tf.Tensor).dataSync()]);

/** Not what the activation of that name is. */
class Tanh extends tf.layers.Layer {
  static className = 'tanh';

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.mul(Array.isArray(inputs) ? inputs[0] : inputs, 3);
  }
}

describe('activations that are layers', () => {
  onEveryBackend(() => {
    const file = temporaryFolder();
    let x: tf.Tensor;
    beforeEach(() => {
      registerLayers();
      x = tf.tensor3d(normals(4 * 5 * 6, 3), [4, 5, 6]);
    });
    afterEach(() => {
      x.dispose();
    });

    for (const [name, [activation, scalar]] of Object.entries(ACTIVATIONS)) {
      it(`compute the same sparsified, compressed, saved and loaded: ${name}`, async () => {
        const model = await build(activation);
        const sparse = await sparsifyActivations(model, [x], {targetSparsityByScope: {'.*': 0.3}});
        const small = await compressWeights(model);
        const float = decompressWeights(small);
        for (const made of [model, sparse, small, float]) {
          await saveLayersModel(made, file('model'));
          const loaded = await loadLayersModel(file('model'));
          expect(valuesOf(loaded, x)).to.deep.equal(valuesOf(made, x));
          disposeModels(loaded);
        }
        disposeModels(float, small, sparse, model);
      });

      it(`are what the name says: ${name}`, async () => {
        const model = await build(activation);
        const [layer] = model.layers;
        const sparse = await sparsifyActivations(model, [x], {targetSparsityByScope: {d: 0}});
        (sparse.layers[0] as SparsifyingDense).setThreshold(-Infinity);
        const first = tf.model({
          inputs: sparse.inputs,
          outputs: sparse.layers[0].output,
        });
        const linear = tf.tidy(() => [
          ...tf.matMul(x.reshape([20, 6]), layer.weights[0].read() as tf.Tensor2D).dataSync(),
        ]);
        valuesOf(first, x).forEach((value, i) => expect(value).to.be.closeTo(scalar(linear[i]), 1e-5));
        disposeModels(sparse, model);
      });
    }

    it('go through model.save of a sparsified Dense too', async () => {
      const model = await buildDense(ACTIVATIONS.LeakyReLU[0]);
      const sparse = await sparsifyActivations(model, [x], {targetSparsityByScope: {d: 0.3}});
      await sparse.save(fileSystem(file('model')));
      const loaded = await tf.loadLayersModel(fileSystem(file('model')));
      expect(valuesOf(loaded, x)).to.deep.equal(valuesOf(sparse, x));
      disposeModels(loaded, sparse, model);
    });

    it('are applied, whatever they are called: a layer named like an activation that is computed along', async () => {
      const {classNameMap} = tf.serialization.SerializationMap.getMap();
      const stock = classNameMap.tanh;
      (classNameMap as Record<string, unknown>).tanh = [
        Tanh,
        (Tanh as unknown as {fromConfig: unknown}).fromConfig,
      ];
      const model = await buildDense('tanh').finally(() => (classNameMap.tanh = stock));
      const small = await compressWeights(model);
      const expected = valuesOf(model, x);
      valuesOf(small, x).forEach((value, i) => expect(value).to.be.closeTo(expected[i], 0.1));
      expect(Math.max(...expected), 'this one does not end at 1').to.be.above(1);
      disposeModels(small, model);
    });

    it('refuse to be saved before anything is written where that would lose them', async () => {
      const trained = await build({class_name: 'PReLU', config: {}});
      valuesOf(trained, x); // makes its weights
      const stock = await buildDense({class_name: 'ReLU', config: {}});
      const target = file('none');
      for (const save of [() => saveLayersModel(trained, target), () => stock.save(fileSystem(target))]) {
        const error = await failure(save);
        expect(error.code).to.equal('unsavable-activation');
        expect(error.message).to.match(/"d"|"[cl]"/);
        expect(existsSync(target)).to.equal(false);
      }
      disposeModels(trained, stock);
    });
  });
});
