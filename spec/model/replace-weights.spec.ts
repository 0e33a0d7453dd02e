/** @file Layers that become INT8 in place and float32 again: their weights, in order, and what hangs on them. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {ModelError} from '../../lib/errors.js';
import {compressibleWeights, type PlacedWeight} from '../../lib/model/compressible.js';
import {makeSparsifying, sparsifyingDenseLayers} from '../../lib/model/dense-layers.js';
import {
  dequantizeLayers,
  quantizeWeight,
  replaceWeight,
  unfilledWeight,
} from '../../lib/model/replace-weights.js';
import {forgetVariables, trainAll} from '../../lib/model/training-state.js';
import {trainingOf, asContainer} from '../../lib/tfjs.js';
import {disposeModels, withoutLeaks} from '../support/backends.js';
import {failure} from '../support/io/files.js';

const floats = ({variable}: PlacedWeight) => variable.read().dataSync() as Float32Array;
/** One layer after the other. */
function chain(shape: number[], layers: tf.layers.Layer[]): tf.LayersModel {
  const inputs = tf.input({shape});
  const outputs = layers.reduce((tensor, layer) => layer.apply(tensor) as tf.SymbolicTensor, inputs);
  return tf.model({inputs, outputs});
}

/** The layers of a chain. */
const layersOf = (model: tf.LayersModel) => model.layers.slice(1);

const namesOf = (weights: readonly tf.LayerVariable[]) => weights.map(({originalName}) => originalName);

/** Makes all weights that can be INT8 so. */
function compress(model: tf.LayersModel): void {
  for (const placed of compressibleWeights(model)) {
    replaceWeight(placed, quantizeWeight(placed, floats(placed), {int8: 'asym'}));
  }
}

describe('layers made INT8 in place', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));

    /** A separable convolution of two such weights, between one that is masked and one that is not. */
    function build(): tf.LayersModel {
      const l2 = tf.regularizers.l2({l2: 1});
      const model = chain(
        [3, 3, 2],
        [
          tf.layers.dense({name: 'masked', units: 2}),
          tf.layers.separableConv2d({
            ...{name: 'conv', filters: 3, kernelSize: 2, biasRegularizer: l2, biasInitializer: 'ones'},
            ...{depthwiseRegularizer: l2, depthwiseInitializer: 'ones'},
            ...{pointwiseConstraint: tf.constraints.nonNeg(), pointwiseInitializer: 'ones'},
          }),
          tf.layers.dense({name: 'plain', units: 2, kernelConstraint: tf.constraints.unitNorm({axis: 0})}),
        ],
      );
      makeSparsifying(model, new Set(['masked']));
      sparsifyingDenseLayers(model).get('masked')!.targetSparsity = 0.5;
      return model;
    }
    const losses = (model: tf.LayersModel) =>
      tf.tidy(() => model.calculateLosses().map((loss) => loss.dataSync()[0]));

    it('have the three parts of each weight, none trained, and are stock again afterwards with all there was', () => {
      const model = build();
      const before = namesOf(model.weights);
      const trained = namesOf(model.trainableWeights);
      const values = model.weights.map((weight) => [...weight.read().dataSync()]);
      expect(losses(model)).to.deep.equal([2 * 2 * 2, 3]); // ones: of the depthwise kernel, then of the bias
      compress(model);
      expect(layersOf(model).map((layer) => layer.getClassName())).to.deep.equal([
        'SparsifyingDense',
        'Int8SeparableConv2D',
        'SparsifyingDense',
      ]);
      expect(layersOf(model).map((layer) => (layer as {compression?: unknown}).compression)).to.deep.equal(
        Array(3).fill({int8: 'asym'}),
      );
      expect(namesOf(model.trainableWeights).every((name) => name.endsWith('bias'))).to.equal(true);
      const parts = (name: string) => ['int8', 'scale', 'zero_point'].map((part) => `${name}_${part}`);
      expect(namesOf(layersOf(model)[1].nonTrainableWeights)).to.deep.equal([
        ...parts('conv/pointwise_kernel'),
        ...parts('conv/depthwise_kernel'),
      ]);
      expect(namesOf(layersOf(model)[0].nonTrainableWeights)).to.deep.equal([
        ...parts('masked/kernel'),
        'masked/threshold',
      ]);
      expect(losses(model)).to.deep.equal([3]);

      dequantizeLayers(model);
      expect(layersOf(model).map((layer) => layer.getClassName())).to.deep.equal([
        'SparsifyingDense',
        'SeparableConv2D',
        'Dense',
      ]);
      expect(layersOf(model).map((layer) => (layer as {compression?: unknown}).compression)).to.deep.equal([
        null,
        undefined,
        undefined,
      ]);
      expect(namesOf(model.weights)).to.deep.equal(before);
      expect(namesOf(model.trainableWeights)).to.deep.equal(trained);
      model.weights.forEach((weight, i) => {
        const [, reach] = [0, Math.max(...values[i].map(Math.abs))];
        weight
          .read()
          .dataSync()
          .forEach((value, j) => {
            if (Number.isFinite(values[i][j])) expect(value).to.be.closeTo(values[i][j], reach / 100);
          });
      });
      const [depthwise, bias] = losses(model);
      expect(bias).to.equal(3);
      expect(depthwise).to.be.closeTo(8, 0.02);
      expect(losses(model)).to.have.length(2);
      // A constraint holds again: what is written is made to fit.
      const [, pointwise] = layersOf(model)[1].trainableWeights;
      tf.tidy(() => void pointwise.write(tf.fill(pointwise.shape as number[], -1)));
      expect(new Set(pointwise.read().dataSync())).to.deep.equal(new Set([0]));
      disposeModels(model);
    });

    it('stay frozen where they were', () => {
      const model = build();
      layersOf(model)[1].trainable = false;
      compress(model);
      dequantizeLayers(model);
      expect(namesOf(model.trainableWeights).filter((name) => name.startsWith('conv'))).to.deep.equal([]);
      expect(layersOf(model)[1].weights.map(({trainable}) => trainable)).to.deep.equal([false, false, false]);
      disposeModels(model);
    });

    it('are left alone if there is none', () => {
      const model = build();
      const weights = [...model.weights];
      dequantizeLayers(model);
      expect(model.weights).to.deep.equal(weights);
      disposeModels(model);
    });

    it('say which layer holds what INT8 cannot', async () => {
      const model = build();
      const [placed] = compressibleWeights(model);
      const values = floats(placed).slice();
      values[1] = NaN;
      for (const isTransposed of [false, true]) {
        const error = await failure(() => quantizeWeight(placed, values, {int8: 'asym'}, isTransposed));
        expect(error).to.be.instanceOf(ModelError);
        expect(error.code).to.equal('not-finite');
        expect(error.message).to.equal(
          'layer "masked": the weight "masked/kernel" holds NaN, which INT8 cannot: mend the model, or leave the layer out ' +
            'with ignoredScope',
        );
        expect(error.data).to.deep.equal({name: 'masked/kernel', value: NaN, path: 'masked'});
        expect(error.cause).to.be.instanceOf(ModelError);
      }
      disposeModels(model);
    });

    it('can be made of zeros first, of the same shape and name', () => {
      const model = build();
      for (const placed of compressibleWeights(model)) {
        const zeros = unfilledWeight(placed, {int8: 'sym'});
        expect(zeros).to.deep.include({
          ...{originalName: placed.variable.originalName, mode: 'int8_sym', layout: placed.weight.layout},
          shape: placed.variable.shape,
        });
        expect(new Set(tf.tidy(() => zeros.read().dataSync()))).to.deep.equal(new Set([0]));
        for (const part of zeros.list()) part.dispose();
      }
      disposeModels(model);
    });

    it('take the transpose of a kernel too', () => {
      const model = build();
      const [placed] = compressibleWeights(model);
      const kernel = floats(placed); // [2, 2]
      const transposed = Float32Array.of(kernel[0], kernel[2], kernel[1], kernel[3]);
      const [one, other] = [
        quantizeWeight(placed, kernel, {int8: 'asym'}),
        quantizeWeight(placed, transposed, {int8: 'asym'}, true),
      ];
      const read = (weight: typeof one) => tf.tidy(() => [...weight.read().dataSync()]);
      expect(read(other)).to.deep.equal(read(one));
      for (const part of [...one.list(), ...other.list()]) part.dispose();
      disposeModels(model);
    });
  }));

describe('what is trained of a compiled model', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));

    /** Trained once by Adam, which keeps two moments of each of its four variables. */
    async function trained() {
      const model = chain(
        [2],
        [tf.layers.dense({name: 'a', units: 2}), tf.layers.dense({name: 'b', units: 1})],
      );
      model.compile({optimizer: 'adam', loss: 'meanSquaredError'});
      const [x, y] = [tf.ones([2, 2]), tf.ones([2, 1])];
      await model.fit(x, y, {epochs: 1, verbose: 0});
      tf.dispose([x, y]);
      const optimizer = model.optimizer as unknown as Record<string, {variable: tf.Variable}[]>;
      const moments = () => [optimizer.accumulatedFirstMoment, optimizer.accumulatedSecondMoment];
      const collected = () => namesOf(trainingOf(asContainer(model)).collectedTrainableWeights!);
      return {model, moments, collected};
    }

    it('is all but what is gone, and what the optimizer remembers of the rest', async () => {
      const {model, moments, collected} = await trained();
      expect(collected()).to.deep.equal(['a/kernel', 'a/bias', 'b/kernel', 'b/bias']);
      const [first, second] = moments().map((list) => list.map(({variable}) => variable));
      const gone = new Set([layersOf(model)[0].weights[0], layersOf(model)[1].weights[1]]);
      forgetVariables(model, gone);
      expect(collected()).to.deep.equal(['a/bias', 'b/kernel']);
      expect(moments().map((list) => list.map(({variable}) => variable))).to.deep.equal([
        [first[1], first[2]],
        [second[1], second[2]],
      ]);
      for (const list of [first, second]) {
        expect(list.map(({isDisposed}) => isDisposed)).to.deep.equal([true, false, false, true]);
      }
      forgetVariables(model, new Set());
      expect(collected()).to.deep.equal(['a/bias', 'b/kernel']);

      trainAll(model);
      expect(collected()).to.deep.equal(['a/kernel', 'a/bias', 'b/kernel', 'b/bias']);
      expect(moments()).to.deep.equal([[], []]);
      for (const list of [first, second]) {
        expect(list.every(({isDisposed}) => isDisposed)).to.equal(true);
      }
      model.dispose();
    });

    it('is that of the model inside a Sequential, which compiles it', () => {
      const model = tf.sequential({
        layers: [
          tf.layers.dense({name: 'a', units: 2, inputShape: [2]}),
          tf.layers.dense({name: 'b', units: 1}),
        ],
      });
      model.compile({optimizer: 'sgd', loss: 'meanSquaredError'});
      const {model: inner} = model as unknown as {model: tf.LayersModel};
      const collected = () => trainingOf(asContainer(inner)).collectedTrainableWeights;
      trainAll(model);
      expect(namesOf(collected()!)).to.deep.equal(['a/kernel', 'a/bias', 'b/kernel', 'b/bias']);
      forgetVariables(model, new Set([model.layers[0].weights[0]]));
      expect(namesOf(collected()!)).to.deep.equal(['a/bias', 'b/kernel', 'b/bias']);
      disposeModels(model);
    });

    it('leaves lists of the optimizer alone that hold something else', async () => {
      const {model} = await trained();
      const others = [
        [1, 2, 3, 4],
        [null, null, null, null],
        [model.layers[1].weights[0]],
        [{variable: 1}, {variable: 2}, {variable: 3}, {variable: 4}],
      ];
      Object.assign(model.optimizer, {
        others0: others[0],
        others1: others[1],
        others2: others[2],
        others3: others[3],
      });
      const before = others.map((list) => [...list]);
      forgetVariables(model, new Set([layersOf(model)[0].weights[0]]));
      trainAll(model);
      expect(others).to.deep.equal(before);
      model.dispose();
    });

    it('is nothing of a model that is not compiled, and that of models inside', async () => {
      const {model: inner, collected} = await trained();
      const outer = chain([2], [inner, tf.layers.reLU()]);
      forgetVariables(outer, new Set([layersOf(inner)[0].weights[0]]));
      expect(collected()).to.deep.equal(['a/bias', 'b/kernel', 'b/bias']);
      expect(trainingOf(asContainer(outer)).collectedTrainableWeights).to.equal(undefined);
      trainAll(outer);
      expect(collected()).to.have.length(4);
      inner.optimizer.dispose();
      disposeModels(outer);
    });
  }));
