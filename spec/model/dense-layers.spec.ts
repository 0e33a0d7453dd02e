/** @file Which layers of a model are Dense, sparsifying and sparsified, what is said of them, and of models that are of no use. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {compressWeights, inspectWeights} from '../../lib/compress.js';
import {
  SPARSIFIABLE_TYPES,
  checkModel,
  checkUsable,
  denseLayers,
  ensureBuilt,
  graphOf,
  isMasking,
  makeSparsifying,
  sparsifyingDenseLayers,
  maskingLayers,
} from '../../lib/model/dense-layers.js';
import {runSteps, stepsOf} from '../../lib/model/graph-steps.js';
import {countWeights, inspect, reportDense} from '../../lib/model/inspect.js';
import {probabilityOf} from '../../lib/model/probability.js';
import {disposeModels, withoutLeaks} from '../support/backends.js';
import {failure} from '../support/io/files.js';

/** Two Dense layers with an activation between. */
function chain(): tf.LayersModel {
  return tf.sequential({
    layers: [
      tf.layers.dense({name: 'a', units: 3, inputShape: [2]}),
      tf.layers.reLU({name: 'r'}),
      tf.layers.dense({name: 'b', units: 4, useBias: false}),
    ],
  });
}

const pathsOf = (layers: Iterable<[string, unknown]>) => [...layers].map(([path]) => path);

describe('Dense layers of a model', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));

    it('are what can be sparsified', () => {
      expect([...SPARSIFIABLE_TYPES]).to.deep.equal(['Dense']);
    });

    it('become sparsifying at the paths that are named, until that is undone', () => {
      const model = chain();
      expect(denseLayers(model).map(({path}) => path)).to.deep.equal(['a', 'b']);
      expect(pathsOf(sparsifyingDenseLayers(model))).to.deep.equal([]);
      const undo = makeSparsifying(model, new Set(['b', 'r']));
      const again = makeSparsifying(model, new Set(['b']));
      expect(pathsOf(sparsifyingDenseLayers(model))).to.deep.equal(['b']);
      expect(pathsOf(maskingLayers(model))).to.deep.equal(['b']);
      expect(graphOf(model).nodes.map(({name, type}) => `${name} ${type}`)).to.deep.equal([
        'a Dense',
        'r ReLU',
        'b Dense',
      ]);
      again(); // made nothing
      expect(pathsOf(sparsifyingDenseLayers(model))).to.deep.equal(['b']);
      undo();
      expect(pathsOf(sparsifyingDenseLayers(model))).to.deep.equal([]);
      disposeModels(model);
    });

    it('count as sparsified if they mask or were made to, and not for INT8 alone', async () => {
      const model = await compressWeights(chain(), {inPlace: true});
      const [a, b] = sparsifyingDenseLayers(model).values();
      expect(pathsOf(sparsifyingDenseLayers(model))).to.deep.equal(['a', 'b']);
      expect([a, b].map(isMasking)).to.deep.equal([false, false]);
      a.targetSparsity = 0.5;
      b.setThreshold(1);
      expect(pathsOf(maskingLayers(model))).to.deep.equal(['a', 'b']);
      a.targetSparsity = null;
      expect(pathsOf(maskingLayers(model))).to.deep.equal(['b']);
      disposeModels(model);
      const plain = chain();
      expect(denseLayers(plain).map(({layer}) => isMasking(layer))).to.deep.equal([false, false]);
      makeSparsifying(plain, new Set(['a']));
      expect(denseLayers(plain).map(({layer}) => isMasking(layer))).to.deep.equal([true, false]);
      disposeModels(plain);
    });

    it('are reported with sizes, share of the weights, target, and threshold', async () => {
      const model = chain();
      makeSparsifying(model, new Set(['a']));
      const [a] = sparsifyingDenseLayers(model).values();
      a.targetSparsity = 0.4;
      a.setThreshold(0.25, 0.5);
      // Kernels of 6 and 12 weights, a bias of 3, and the threshold.
      expect(countWeights(model)).to.equal(22);
      const [first, second] = inspect(model);
      expect(first).to.deep.equal({
        ...{path: 'a', inputSize: 2, units: 3, weightShare: 6 / 22, format: 'float32', bytes: 24},
        ...{sparsified: true, target: 0.4, reached: 0.5, threshold: 0.25},
      });
      const float = {path: 'b', inputSize: 3, units: 4, weightShare: 12 / 22, format: 'float32', bytes: 48};
      const none = {sparsified: false, target: null, reached: null, threshold: null};
      expect(second).to.deep.equal({...float, ...none});
      expect(reportDense(model)).to.deep.equal([first, second]);
      await compressWeights(model, {inPlace: true});
      // INT8 counts as the weights that it stands for; the second layer has a threshold now too.
      expect(countWeights(model)).to.equal(23);
      expect(inspect(model)[1]).to.deep.equal({
        ...{...float, ...none, format: 'int8_asym'},
        ...{weightShare: 12 / 23, bytes: 3 * 4 + 4 * 8},
      });
      expect(
        inspectWeights(model).map(({path, type, weight, shape, format, bytes}) => [
          path,
          type,
          weight,
          shape,
          format,
          bytes,
        ]),
      ) //
        .to.deep.equal([
          ['a', 'Dense', 'kernel', [2, 3], 'int8_asym', 2 * 4 + 3 * 8],
          ['b', 'Dense', 'kernel', [3, 4], 'int8_asym', 3 * 4 + 4 * 8],
        ]);
      disposeModels(model);
    });
  }));

describe('a model that is of no use', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));
    const NO_MODEL =
      'the model is not a tf.LayersModel of this copy of TensorFlow.js; load it with tf.loadLayersModel (a graph model ' +
      'cannot be sparsified), and see that @tensorflow/tfjs is installed once: npm ls @tensorflow/tfjs';

    for (const [what, value] of [
      ['text', 'model.json'],
      ['a function', () => 0],
      ['an object', {predict: () => 0, layers: []}],
    ] as const) {
      it(`is ${what}`, async () => {
        for (const check of [checkUsable, checkModel]) {
          const error = await failure(() => check(value as unknown as tf.LayersModel));
          expect(error.code).to.equal('not-a-layers-model');
          expect(error.message).to.equal(NO_MODEL);
        }
      });
    }

    it('has no input shape', async () => {
      const model = tf.sequential();
      for (const check of [ensureBuilt, checkUsable, checkModel]) {
        const error = await failure(() => check(model));
        expect(error.code).to.equal('not-built');
        expect(error.message).to.equal(
          'the model has no input shape yet; give its first layer an inputShape or call model.build() first',
        );
      }
    });

    it('is disposed, which names the layer', async () => {
      const model = chain();
      checkModel(model);
      expect(model.built).to.equal(true);
      model.dispose();
      for (const check of [checkUsable, checkModel]) {
        const error = await failure(() => check(model));
        expect(error.code).to.equal('disposed');
        expect(error.message).to.equal('the model is disposed: the weights of "a" are gone; load it anew');
        expect(error.data).to.deep.equal({path: 'a'});
      }
    });

    it('has no Dense layer, which names the types that it has once', async () => {
      const model = tf.sequential({
        layers: [tf.layers.flatten({inputShape: [2, 2]}), tf.layers.reLU(), tf.layers.reLU()],
      });
      checkUsable(model);
      const error = await failure(() => checkModel(model));
      expect(error.code).to.equal('no-dense-layers');
      expect(error.message).to.equal(
        'the model has no Dense layer to sparsify; its layers are of the types Flatten, ReLU',
      );
      expect(error.data).to.deep.equal({types: ['Flatten', 'ReLU']});
      expect(reportDense(model)).to.deep.equal([]);
      disposeModels(model);
    });
  }));

describe('probabilityOf', () => {
  const dense = (activation: 'softmax' | 'sigmoid' | 'relu') => tf.layers.dense({units: 1, activation});
  const nested = (layer: tf.layers.Layer) => {
    const x = tf.input({shape: [1]});
    return tf.model({inputs: x, outputs: layer.apply(x) as tf.SymbolicTensor}) as unknown as tf.layers.Layer;
  };
  for (const [what, layer, expected] of [
    ['a Dense with softmax', dense('softmax'), 'softmax'],
    ['a Dense with sigmoid', dense('sigmoid'), 'sigmoid'],
    ['a Dense with relu', dense('relu'), null],
    ['a Dense without', tf.layers.dense({units: 1}), null],
    ['an activation', tf.layers.activation({activation: 'softmax'}), 'softmax'],
    ['a Softmax', tf.layers.softmax(), 'softmax'],
    ['an add', tf.layers.add(), null],
  ] as const) {
    it(`is ${expected ?? 'none'} of ${what}`, () => {
      expect(probabilityOf(layer)).to.equal(expected);
    });
  }

  it('is that of the last layer of a nested model', () => {
    const [soft, linear] = [nested(nested(tf.layers.softmax())), nested(tf.layers.reLU())];
    expect(probabilityOf(soft)).to.equal('softmax');
    expect(probabilityOf(linear)).to.equal(null);
  });
});

describe('stepsOf', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));

    it('gives calls after those that they read, each once, without inputs and what no output needs', () => {
      const x = tf.input({shape: [2], name: 'x'});
      const shared = tf.layers.dense({name: 'shared', units: 2});
      const once = shared.apply(x) as tf.SymbolicTensor;
      const twice = shared.apply(once) as tf.SymbolicTensor;
      const sum = tf.layers.add({name: 'sum'}).apply([twice, x, once]) as tf.SymbolicTensor;
      const unused = tf.layers.dense({name: 'unused', units: 2});
      unused.apply(once);
      const model = tf.model({inputs: x, outputs: [sum, once]});
      const steps = stepsOf(model);
      expect(steps.map(({layer}) => layer.name)).to.deep.equal(['shared', 'shared', 'sum']);
      expect(steps.map(({inputs}) => inputs.map(({id}) => id))).to.deep.equal([
        [x.id],
        [once.id],
        [twice.id, x.id, once.id],
      ]);
      expect(steps.map(({outputs}) => outputs.map(({id}) => id))).to.deep.equal([
        [once.id],
        [twice.id],
        [sum.id],
      ]);
      const given = tf.ones([1, 2]);
      const results = runSteps(new Map([[x, given]]), [x, x]);
      expect(results.map((result) => [...result.dataSync()])).to.deep.equal([
        [1, 1],
        [1, 1],
      ]);
      tf.dispose(results); // the given tensor is left to the caller
      expect(given.isDisposed).to.equal(false);
      given.dispose();
      disposeModels(model);
      for (const weight of unused.weights) weight.dispose();
    });
  }));
