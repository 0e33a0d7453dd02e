/** @file Models of any depth: nothing may recurse over the layers, which would overflow the stack. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {compressWeights, inspect, sparsifyActivations} from '../../lib/index.js';
import {checkActivations, topologyOf} from '../../lib/model/savable.js';
import {cloneModel} from '../../lib/model/clone.js';
import {graphOf} from '../../lib/model/dense-layers.js';
import {stepsOf} from '../../lib/model/graph-steps.js';
import {disposeModels, withoutLeaks} from '../support/backends.js';

/** Layers one after the other that pass on the positive part. */
function chain(length: number): tf.LayersModel {
  const x = tf.input({shape: [2], name: 'x'});
  let hidden = x;
  for (let i = 0; i < length; i++) {
    const layer = tf.layers.dense({units: 2, name: `d${i}`, kernelInitializer: 'identity', useBias: false});
    hidden = layer.apply(hidden) as tf.SymbolicTensor;
  }
  return tf.model({inputs: x, outputs: hidden});
}

const valuesOf = (model: tf.LayersModel) =>
  tf.tidy(() => [...(model.predict(tf.tensor2d([3, 5], [1, 2])) as tf.Tensor).dataSync()]);

describe('deep models', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));

    it('are copied, walked and described: a chain of 1,200 layers', async function () {
      this.timeout(240_000);
      const model = chain(1200);
      const copy = cloneModel(model);
      disposeModels(model);
      expect(valuesOf(copy)).to.deep.equal([3, 5]);
      expect(inspect(copy)).to.have.length(1200);
      expect(stepsOf(copy).map(({layer}) => layer.name)).to.deep.equal(
        copy.layers.slice(1).map(({name}) => name),
      );
      expect(graphOf(copy).edges).to.have.length(1200);
      checkActivations(copy);
      expect(topologyOf(copy)).to.have.nested.property('config.layers').with.length(1201);
      await compressWeights(copy, {inPlace: true});
      expect(valuesOf(copy)).to.deep.equal([3, 5]);
      const x = tf.tensor2d([3, 5], [1, 2]);
      const sparse = await sparsifyActivations(copy, [x], {targetSparsityByScope: {d1199: 0.5}});
      expect(valuesOf(sparse)).to.deep.equal([0, 5]);
      disposeModels(sparse, copy);
      x.dispose();
    });

    it('are copied where TensorFlow.js can still make them: fields that refer to one another 100,000 deep', () => {
      const model = tf.sequential({layers: [tf.layers.dense({units: 1, name: 'only', inputShape: [1]})]});
      interface Link {
        next?: Link;
      }
      const first: Link = {};
      let last = first;
      for (let i = 0; i < 100_000; i++) last = last.next = {};
      Object.assign(model.layers[0], {first});
      const copy = cloneModel(model);
      let length = 0;
      for (
        let link = (copy.layers[0] as unknown as {first: Link}).first;
        link.next !== undefined;
        link = link.next
      ) {
        length++;
      }
      expect(length).to.equal(100_000);
      expect((copy.layers[0] as unknown as {first: Link}).first).to.not.equal(first);
      expect(inspect(copy).map(({path}) => path)).to.deep.equal(['only']);
      disposeModels(copy, model);
    });

    it('are copied when models nest in models: 60 deep', () => {
      let model = tf.sequential({
        layers: [tf.layers.dense({units: 2, name: 'd', inputShape: [2]})],
      }) as tf.LayersModel;
      for (let i = 0; i < 60; i++) {
        const x = tf.input({shape: [2]});
        model = tf.model({inputs: x, outputs: model.apply(x) as tf.SymbolicTensor, name: `m${i}`});
      }
      const expected = valuesOf(model);
      const copy = cloneModel(model);
      expect(valuesOf(copy)).to.deep.equal(expected);
      const [{path}] = inspect(copy);
      expect(path.split('/')).to.have.length(61);
      disposeModels(copy, model);
    });
  }));
