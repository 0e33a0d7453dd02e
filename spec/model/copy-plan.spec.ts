/** @file Copies of custom layers whose state fields do not show: equal, or refused with a way out that works. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {allocateSparsity, compressWeights, decompressWeights, sparsifyActivations} from '../../lib/index.js';
import type {SparsifyError} from '../../lib/errors.js';
import {cloneModel} from '../../lib/model/clone.js';
import {denseLayers} from '../../lib/model/dense-layers.js';
import {heldLayers} from '../../lib/model/walk.js';
import {rawValue, type Layer} from '../../lib/tfjs.js';
import {disposeModels, onEveryBackend} from '../support/backends.js';
import {normals} from '../support/normals.js';
import {
  ArrowLayer,
  ArrowScale,
  ForgetfulScale,
  HelpedLayer,
  InheritedSecret,
  Lambda,
  ListedSecret,
  ListedWeakSecret,
  MarkedScale,
  PickySecret,
  PrivateScale,
  Secret,
  WeakNote,
  WeakSecret,
} from '../support/model/hidden-state.js';

/** A custom layer on [n, 6], then a Dense. */
function modelOf(layer: Layer): tf.LayersModel {
  const x = tf.input({shape: [6], name: 'x'});
  const hidden = layer.apply(x) as tf.SymbolicTensor;
  return tf.model({
    inputs: x,
    outputs: tf.layers.dense({units: 2, name: 'out'}).apply(hidden) as tf.SymbolicTensor,
  });
}

function outputs(model: tf.LayersModel): number[] {
  return tf.tidy(() => [...(model.predict(tf.tensor2d(normals(30, 3), [5, 6])) as tf.Tensor).dataSync()]);
}

function disposeAll(model: tf.LayersModel, layer: Layer): void {
  const secrets = (layer as Layer & {secrets?: tf.LayerVariable[]}).secrets ?? [];
  disposeModels(model);
  for (const variable of secrets) if (!rawValue(variable).isDisposed) variable.dispose();
}

const HALF = {targetSparsityByScope: {out: 0.5}};
const batches = () => [1, 2].map((seed) => tf.tensor2d(normals(60, seed), [10, 6]));

describe('copies of layers with hidden state', () => {
  onEveryBackend(() => {
    const copied: [string, () => Layer][] = [
      ['#private number', () => new PrivateScale({factor: 3})],
      ['Dense in a #private field with listed weights', () => new ListedSecret({})],
      ['Dense in a weak map with listed weights', () => new ListedWeakSecret({})],
      ['mark in a weak set', () => new MarkedScale()],
      ['function made for the object', () => new ArrowLayer({})],
      ['weight read by a function made for the object', () => new ArrowScale({})],
      ['weak map that only the configuration reads', () => new WeakNote({note: 'x'})],
      ['given function', () => new Lambda({f: (x) => tf.square(x)})],
      ['#private number in a wrapper', () => wrapped(new PrivateScale({factor: 3}))],
    ];
    for (const [name, make] of copied) {
      it(`computes the same by itself: ${name}`, () => {
        const layer = make();
        const model = modelOf(layer);
        const expected = outputs(model);
        const names = model.weights.map(({originalName}) => originalName);
        const copy = cloneModel(model);
        expect(outputs(copy)).to.deep.equal(expected);
        expect(copy.weights.map(({originalName}) => originalName)).to.deep.equal(names);
        expect(copy.layers[1].getConfig()).to.deep.equal(layer.getConfig());
        const [, own] = copy.layers;
        const inside = [own, ...heldLayers(own)].flatMap(({weights}) => weights);
        for (const variable of inside) tf.tidy(() => void variable.write(tf.zerosLike(variable.read())));
        if (inside.length > 0) expect(outputs(copy), 'its own weights count').to.not.deep.equal(expected);
        for (const variable of copy.weights)
          tf.tidy(() => void variable.write(tf.zerosLike(variable.read())));
        expect(outputs(model), 'the original when the copy changes').to.deep.equal(expected);
        copy.dispose();
        expect(outputs(model), 'the original after the copy').to.deep.equal(expected);
        const second = cloneModel(model);
        disposeAll(model, layer);
        expect(outputs(second), 'a copy after the original').to.deep.equal(expected);
        const third = cloneModel(second);
        second.dispose();
        expect(outputs(third), 'a copy of a copy').to.deep.equal(expected);
        third.dispose();
      });
    }

    it('keeps which weights are trained', () => {
      const layer = new ListedSecret({});
      const model = modelOf(layer);
      layer.weights[0].trainable = false;
      const copy = cloneModel(model);
      const trained = (one: tf.LayersModel) => one.trainableWeights.map(({originalName}) => originalName);
      expect(trained(copy)).to.deep.equal(trained(model)).and.to.have.length(3);
      disposeModels(copy, model);
    });

    it('refuses what it cannot try out', () => {
      const layer = new PickySecret({name: 'picky'});
      const model = modelOf(layer);
      expect(() => cloneModel(model))
        .to.throw('"picky"')
        .with.property('code', 'cannot-copy');
      disposeAll(model, layer);
    });

    it('sparsifies the Dense that a function of the object calls', async () => {
      const model = modelOf(new ArrowLayer({name: 'arrow'}));
      const data = batches();
      const sparse = await sparsifyActivations(model, data, {targetSparsityByScope: {'arrow/arrow': 0.5}});
      expect(outputs(sparse)).to.not.deep.equal(outputs(model));
      expect(denseLayers(sparse).map(({path, layer}) => [path, layer.getClassName()])).to.deep.equal([
        ['arrow/arrow', 'SparsifyingDense'],
        ['out', 'Dense'],
      ]);
      disposeModels(sparse, model);
      tf.dispose(data);
    });

    const refused: [string, () => Layer][] = [
      ['Dense in a #private field', () => new Secret({name: 'odd'})],
      ['Dense in an inherited #private field', () => new InheritedSecret({name: 'odd'})],
      ['Dense in a weak map', () => new WeakSecret({name: 'odd'})],
      ['#private number that its configuration lacks', () => new ForgetfulScale({factor: 3, name: 'odd'})],
      ["Dense in a helper's #private field", () => new HelpedLayer({name: 'odd'})],
    ];
    for (const [name, make] of refused) {
      it(`refuses before anything is built, and works in place: ${name}`, async () => {
        const layer = make();
        const model = modelOf(layer);
        const expected = outputs(model);
        const data = batches();
        const before = tf.memory();
        const calls = [
          () => sparsifyActivations(model, data, HALF),
          () => compressWeights(model),
          () => Promise.resolve().then(() => decompressWeights(model)),
          () => allocateSparsity(model, data, {target: 0.5}),
        ];
        for (const call of calls) {
          const error: unknown = await call().catch((reason: unknown) => reason);
          expect(error).to.have.property('code', 'cannot-copy');
          expect((error as SparsifyError).message)
            .to.include('"odd"')
            .and.to.include('inPlace: true');
        }
        expect(tf.memory().numTensors).to.equal(before.numTensors);
        expect(tf.memory().numBytes).to.equal(before.numBytes);
        expect(outputs(model)).to.deep.equal(expected);
        await compressWeights(model, {inPlace: true});
        decompressWeights(model, {inPlace: true});
        outputs(model).forEach((value, i) => expect(value).to.be.closeTo(expected[i], 0.05));
        await sparsifyActivations(model, data, {...HALF, inPlace: true});
        expect(outputs(model)).to.not.deep.equal(expected);
        disposeAll(model, layer);
        tf.dispose(data);
      });
    }

    it('leaves the states of a recurrent layer with a cell of its own as they were', () => {
      const cell = new SecretCell({});
      const rnn = tf.layers.rnn({cell, stateful: true, batchInputShape: [2, 3, 6]});
      const [model, twin] = [
        rnn,
        tf.layers.rnn({cell: new SecretCell({}), stateful: true, batchInputShape: [2, 3, 6]}),
      ].map((layer) => tf.sequential({layers: [layer]}));
      const x = tf.tensor3d(normals(36, 1), [2, 3, 6]);
      const step = (one: tf.LayersModel) => tf.tidy(() => [...(one.predict(x) as tf.Tensor).dataSync()]);
      expect(step(model)).to.deep.equal(step(twin));
      const copy = cloneModel(model);
      const expected = step(twin);
      expect(step(copy), 'the copy goes on').to.deep.equal(expected);
      expect(step(model), 'the original goes on').to.deep.equal(expected);
      for (const one of [model, twin]) one.resetStates();
      copy.dispose();
      for (const one of [model, twin]) {
        tf.dispose((one.layers[0] as unknown as {states_: tf.Tensor[]}).states_);
        one.dispose();
      }
      x.dispose();
    });
  });
});

/** The state plus the sum of the inputs, times a private number. */
class SecretCell extends tf.layers.RNNCell {
  static className = 'SpecSecretCell';
  stateSize = 6;
  readonly #factor = 0.5;

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor[] {
    const [x, state] = inputs as tf.Tensor[];
    const next = tf.mul(tf.add(x, state), this.#factor);
    return [next, tf.clone(next)];
  }
}

function wrapped(layer: Layer): Layer {
  return new Twice({layer});
}

/** A custom layer that calls another one, as wrappers do. */
class Twice extends tf.layers.Layer {
  static className = 'SpecTwice';
  private readonly layer: Layer;

  constructor(args: {layer: Layer}) {
    super({});
    this.layer = args.layer;
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return this.layer.apply(this.layer.apply(inputs)) as tf.Tensor;
  }
}
