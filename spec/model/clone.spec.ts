/** @file Copies of models that share the weights' memory, over every topology. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {cloneModel} from '../../lib/model/clone.js';
import {denseLayers, makeSparsifying} from '../../lib/model/dense-layers.js';
import {walkModel} from '../../lib/model/walk.js';
import {asContainer, callsOf, isContainer} from '../../lib/tfjs.js';
import {disposeModels, onEveryBackend} from '../support/backends.js';
import {TOPOLOGIES} from '../support/model/topologies.js';

/** All outputs of a model on a batch, in one array. */
function outputs(model: tf.LayersModel, batch: tf.Tensor[]): number[] {
  return tf.tidy(() =>
    [model.predict(batch.length === 1 ? batch[0] : batch)].flat().flatMap((y) => [...y.dataSync()]),
  );
}

describe('cloneModel', () => {
  onEveryBackend(() => {
    for (const {name, build, batch, paths} of TOPOLOGIES) {
      describe(name, () => {
        let model: tf.LayersModel;
        let x: tf.Tensor[];
        beforeEach(() => {
          model = build();
          x = batch(1);
        });
        afterEach(() => tf.dispose(x));

        it('finds the Dense layers by path', () => {
          expect(denseLayers(model).map(({path}) => path)).to.deep.equal(paths);
          disposeModels(model);
        });

        it('computes the same, shares memory, and outlives the original', () => {
          const expected = outputs(model, x);
          const buffers = tf.memory().numDataBuffers;
          const copy = cloneModel(model);
          expect(tf.memory().numDataBuffers, 'data buffers').to.equal(buffers);
          expect(outputs(copy, x)).to.deep.equal(expected);
          expect(copy.layers.map(({name}) => name)).to.deep.equal(model.layers.map(({name}) => name));
          disposeModels(model);
          expect(outputs(copy, x)).to.deep.equal(expected);
          const weights = copy.weights.length;
          // Each layer's weights go at the last of the calls that its models make, and are counted once.
          expect(copy.dispose()).to.deep.equal({refCountAfterDispose: 0, numDisposedVariables: weights});
          const built = walkModel(asContainer(copy)).layers.filter(
            ({holder, layer}) => (holder === null || isContainer(holder)) && layer.weights.length > 0,
          );
          for (const {layer} of built) expect(() => layer.dispose()).to.throw('already disposed');
        });

        it('has calls and layers with ids of its own', () => {
          const copy = cloneModel(model);
          const idsOf = (one: tf.LayersModel) => {
            const layers = walkModel(asContainer(one)).layers.map(({layer}) => layer);
            return [
              ...layers.map(({id}) => `layer ${id}`),
              ...layers.flatMap(callsOf).map(({id}) => `call ${id}`),
            ];
          };
          const [own, original] = [idsOf(copy), new Set(idsOf(model))];
          expect(own.filter((id) => original.has(id))).to.deep.equal([]);
          expect(new Set(own).size).to.equal(own.length);
          copy.dispose();
          disposeModels(model);
        });

        it('leaves the original as it was when the copy changes', () => {
          const expected = outputs(model, x);
          const copy = cloneModel(model);
          const undo = makeSparsifying(copy, new Set(paths));
          expect(outputs(copy, x)).to.have.length(expected.length);
          expect(denseLayers(model).every(({layer}) => layer.getClassName() === 'Dense')).to.equal(true);
          expect(denseLayers(copy).every(({layer}) => layer.getClassName() === 'SparsifyingDense')).to.equal(
            true,
          );
          for (const {layer} of denseLayers(copy)) {
            tf.tidy(() => void layer.kernel!.write(tf.zerosLike(layer.kernel!.read())));
          }
          expect(outputs(copy, x)).to.not.deep.equal(expected);
          expect(outputs(model, x)).to.deep.equal(expected);
          undo();
          expect(denseLayers(copy).every(({layer}) => layer.getClassName() === 'Dense')).to.equal(true);
          copy.dispose();
          disposeModels(model);
        });
      });
    }

    it('keeps what compile set, with an optimizer of its own', async () => {
      const model = TOPOLOGIES[0].build();
      model.compile({optimizer: 'adam', loss: 'meanSquaredError', metrics: ['accuracy']});
      const [x, y] = [tf.ones([4, 8]), tf.ones([4, 4])];
      await model.fit(x, y, {epochs: 1, verbose: 0});
      const copy = cloneModel(model);
      const before = outputs(model, [x]);
      const losses = [model, copy].map((m) => {
        const results = m.evaluate(x, y) as tf.Scalar[];
        const [loss] = results[0].dataSync();
        tf.dispose(results);
        return loss;
      });
      expect(losses[1]).to.be.closeTo(losses[0], 1e-6);
      await copy.fit(x, y, {epochs: 2, verbose: 0});
      expect(outputs(model, [x]), 'training the copy').to.deep.equal(before);
      expect(outputs(copy, [x])).to.not.deep.equal(before);
      copy.dispose();
      model.dispose();
      tf.dispose([x, y]);
    });
  });
});
