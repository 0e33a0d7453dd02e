import {expect} from 'chai';
import * as tf from '@tensorflow/tfjs';
import {makeSparsifying, maskingLayers} from '../../../lib/model/dense-layers.js';
import {MaskedInputs} from '../../../lib/language/decoding/masked-inputs.js';
import {disposeModels, withoutLeaks} from '../../support/backends.js';

const {layers} = tf;

describe('MaskedInputs', () => {
  before(() => tf.setBackend('cpu'));

  withoutLeaks(() => {
    let model: tf.LayersModel;
    let watched: MaskedInputs;
    /** Two layers read the input, a third what one of them gives: all kernels are the identity. */
    beforeEach(() => {
      const identity = (name: string) =>
        layers.dense({name, units: 4, useBias: false, kernelInitializer: 'identity'});
      const input = tf.input({shape: [4]});
      const [a, b] = ['a', 'b'].map((name) => identity(name).apply(input) as tf.SymbolicTensor);
      const c = identity('c').apply(a) as tf.SymbolicTensor;
      model = tf.model({inputs: input, outputs: [b, c]});
      makeSparsifying(model, new Set(['a', 'b', 'c']));
      setThresholds({a: 2, b: 2, c: 3});
      watched = new MaskedInputs(model);
    });
    afterEach(() => {
      watched.dispose();
      disposeModels(model);
    });

    function setThresholds(thresholds: Record<string, number>): void {
      for (const [path, layer] of maskingLayers(model)) layer.setThreshold(thresholds[path]);
    }

    /** What the layers b and c give for rows of numbers. */
    function run(rows: number[][], {dense = false, counting = true} = {}): number[][] {
      return watched.during({dense, counting}, () =>
        tf.tidy(() => (model.predict(tf.tensor2d(rows)) as tf.Tensor[]).map((y) => [...y.dataSync()])),
      );
    }

    const counts = () => Object.fromEntries(watched.counts());

    it('counts what each threshold masks, a value equal to it too', () => {
      expect(run([[1, -2, 3, -4]])).to.deep.equal([
        [0, 0, 3, -4],
        [0, 0, 0, -4],
      ]);
      expect(counts()).to.deep.equal({
        a: {masked: 2, total: 4},
        b: {masked: 2, total: 4},
        c: {masked: 3, total: 4},
      });
    });

    it('adds up over calls until it is reset', () => {
      run([[1, 2, 3, 4]]);
      run([
        [0, 0, 0, 5],
        [5, 5, 5, 5],
      ]);
      expect(counts()).to.deep.include({
        a: {masked: 5, total: 12},
        c: {masked: 3 + 3, total: 12},
      });
      const before = watched.counts();
      watched.reset();
      expect(counts()).to.deep.equal({
        a: {masked: 0, total: 0},
        b: {masked: 0, total: 0},
        c: {masked: 0, total: 0},
      });
      expect(before.get('a'), 'what was given before').to.deep.equal({masked: 5, total: 12});
    });

    it('counts layers of one input apart where their thresholds differ', () => {
      setThresholds({a: 1, b: 3, c: -Infinity});
      run([[1, 2, 3, 4]]);
      expect(counts()).to.deep.equal({
        a: {masked: 1, total: 4},
        b: {masked: 3, total: 4},
        c: {masked: 0, total: 4},
      });
    });

    it('follows thresholds that are set anew', () => {
      run([[1, 2, 3, 4]]);
      watched.reset();
      setThresholds({a: 3, b: 1, c: -Infinity});
      run([[1, 2, 3, 4]]);
      expect(counts()).to.deep.include({
        a: {masked: 3, total: 4},
        b: {masked: 1, total: 4},
        c: {masked: 0, total: 4},
      });
    });

    it('takes the thresholds away while it is to be dense, and counts no masked value then', () => {
      const rows = [[1, -2, 3, -4]];
      expect(run(rows, {dense: true})).to.deep.equal([rows[0], rows[0]]);
      expect(counts()).to.deep.include({a: {masked: 0, total: 4}, c: {masked: 0, total: 4}});
      run(rows, {dense: true}); // with the same tensor
      expect(run(rows, {counting: false})[0], 'and back').to.deep.equal([0, 0, 3, -4]);
    });

    it('counts nothing unless it is to, and leaves no hook behind', () => {
      run([[1, 2, 3, 4]], {counting: false});
      expect(counts()).to.deep.include({a: {masked: 0, total: 0}});
      run([[1, 2, 3, 4]]);
      tf.tidy(() => void model.predict(tf.tensor2d([[1, 2, 3, 4]])));
      expect(counts()).to.deep.include({a: {masked: 2, total: 4}});
    });

    it('leaves hooks of others alone where it counts nothing', () => {
      let calls = 0;
      maskingLayers(model)
        .get('a')!
        .setCallHook(() => calls++);
      run([[1, 2, 3, 4]], {counting: false});
      tf.tidy(() => void model.predict(tf.ones([1, 4])));
      expect(calls).to.equal(2);
      maskingLayers(model).get('a')!.clearCallHook();
    });

    it('puts thresholds back and takes its hooks away after a failure', () => {
      const failing = () =>
        watched.during({dense: true, counting: true}, () => {
          throw new Error('it failed');
        });
      expect(failing).to.throw('it failed');
      expect(run([[1, 2, 3, 4]], {counting: false})[0]).to.deep.equal([0, 0, 3, 4]);
      expect(counts()).to.deep.include({a: {masked: 0, total: 0}});
    });

    it('runs a model without sparsified layers as it is', () => {
      const plain = tf.sequential({layers: [layers.dense({units: 1, inputShape: [2]})]});
      const none = new MaskedInputs(plain);
      expect(none.during({dense: true, counting: true}, () => 7)).to.equal(7);
      expect([...none.counts()]).to.deep.equal([]);
      none.dispose();
      plain.dispose();
    });

    it('makes its threshold again after it was disposed', () => {
      run([[1, 2, 3, 4]], {dense: true});
      watched.dispose();
      watched.dispose();
      expect(run([[1, 2, 3, 4]], {dense: true})[0]).to.deep.equal([1, 2, 3, 4]);
    });
  });
});
