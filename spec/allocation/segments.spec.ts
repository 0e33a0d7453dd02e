import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {blocksOf} from '../../lib/allocation/segments.js';
import {ensureBuilt} from '../../lib/model/dense-layers.js';
import {runSteps, stepsOf} from '../../lib/model/graph-steps.js';
import {buildModel} from '../../lib/language/index.js';
import {parseConfig} from '../../lib/language/config/parse-config.js';
import {checkForLeaks, disposeModels} from '../support/backends.js';

const dense = (name: string, units = 4) => tf.layers.dense({name, units});

/** Names of what blocks end with. */
function endsOf(model: tf.LayersModel): string[] {
  ensureBuilt(model);
  const blocks = blocksOf(stepsOf(model), model.inputs, model.outputs);
  return blocks.map(({to}) => to.map(({sourceLayer}) => sourceLayer.name).join());
}

describe('blocksOf', () => {
  checkForLeaks();

  it('takes a chain of layers as one block that ends with the output', () => {
    const model = tf.sequential({
      layers: [tf.layers.dense({name: 'a', units: 4, inputShape: [3]}), dense('b'), dense('c')],
    });
    expect(endsOf(model)).to.deep.equal(['c']);
    disposeModels(model);
  });

  it('ends one at each add of residual branches', () => {
    const x = tf.input({shape: [4]});
    const branch = (name: string, from: tf.SymbolicTensor) =>
      tf.layers
        .add({name: `${name}.add`})
        .apply([from, dense(name).apply(from) as tf.SymbolicTensor]) as tf.SymbolicTensor;
    const model = tf.model({
      inputs: x,
      outputs: dense('out').apply(branch('b', branch('a', x))) as tf.SymbolicTensor,
    });
    expect(endsOf(model)).to.deep.equal(['a.add', 'b.add', 'out']);
    disposeModels(model);
  });

  it('does not end one where a skip connection goes past, nor within the calls of a shared layer', () => {
    const x = tf.input({shape: [4]});
    const shared = dense('shared');
    const add = (name: string, ...from: tf.SymbolicTensor[]) =>
      tf.layers.add({name}).apply(from) as tf.SymbolicTensor;
    const a = add('a', x, shared.apply(x) as tf.SymbolicTensor);
    const b = add('b', a, shared.apply(a) as tf.SymbolicTensor);
    const c = add('c', b, x);
    const model = tf.model({inputs: x, outputs: dense('out').apply(c) as tf.SymbolicTensor});
    expect(endsOf(model)).to.deep.equal(['c', 'out']);
    disposeModels(model);
  });

  /** Branches that are added to what they read: of a Dense layer, or of one and a ReLU or a softmax. */
  function residual(kinds: readonly ('A' | 'B' | 'C')[]): tf.LayersModel {
    const x = tf.input({shape: [4]});
    let stream = x;
    for (const [i, kind] of kinds.entries()) {
      let branch = dense(`dense_${i}`).apply(stream) as tf.SymbolicTensor;
      if (kind === 'B') branch = tf.layers.reLU().apply(branch) as tf.SymbolicTensor;
      if (kind === 'C') branch = tf.layers.softmax().apply(branch) as tf.SymbolicTensor;
      stream = tf.layers.add({name: `add_${i}`}).apply([stream, branch]) as tf.SymbolicTensor;
    }
    return tf.model({inputs: x, outputs: dense('out').apply(stream) as tf.SymbolicTensor});
  }

  for (const [kinds, ends] of [
    ['AAAA', [0, 1, 2, 3]],
    ['ABABAB', [1, 3, 5]],
    ['ABBABBA', [2, 5]],
    ['BCBCBC', [1, 3, 5]],
    // The first and the output's are not looked at: what repeats is between.
    ['BABABA', [1, 3, 5]],
    // Nothing repeats.
    ['AABB', [0, 1, 2, 3]],
    ['AAABB', [0, 1, 2, 3, 4]],
  ] as const) {
    it(`takes what repeats in ${[...kinds].join(', ')} as one`, () => {
      const model = residual([...kinds] as ('A' | 'B' | 'C')[]);
      expect(endsOf(model)).to.deep.equal([...ends.map((i) => `add_${i}`), 'out']);
      disposeModels(model);
    });
  }

  it('starts each where the one before ends, and ends the last with all outputs', () => {
    const x = tf.input({shape: [4]});
    const a = tf.layers.add({name: 'a'}).apply([x, dense('one').apply(x) as tf.SymbolicTensor]);
    const outputs = ['p', 'q'].map((name) => dense(name).apply(a) as tf.SymbolicTensor);
    const model = tf.model({inputs: x, outputs});
    const blocks = blocksOf(stepsOf(model), model.inputs, model.outputs);
    const names = (tensors: readonly tf.SymbolicTensor[]) => tensors.map(({sourceLayer}) => sourceLayer.name);
    expect(
      blocks.map(({from, to, steps}) => [from, to].map(names).concat([steps.map(({layer}) => layer.name)])),
    )
      .to //
      .deep.equal([
        [[x.sourceLayer.name], ['a'], ['one', 'a']],
        [['a'], ['p', 'q'], ['p', 'q']],
      ]);
    disposeModels(model);
  });

  it('takes all between two calls of a layer as one, also of the layer that joins', () => {
    const x = tf.input({shape: [4]});
    const add = (name: string, ...from: tf.SymbolicTensor[]) =>
      tf.layers.add({name}).apply(from) as tf.SymbolicTensor;
    const shared = dense('shared');
    const a = add('a', x, shared.apply(x) as tf.SymbolicTensor);
    const b = add('b', a, dense('own').apply(a) as tf.SymbolicTensor);
    const c = add('c', b, shared.apply(b) as tf.SymbolicTensor);
    const d = add('d', c, dense('last').apply(c) as tf.SymbolicTensor);
    const model = tf.model({inputs: x, outputs: dense('out').apply(d) as tf.SymbolicTensor});
    expect(endsOf(model)).to.deep.equal(['c', 'd', 'out']);
    const join = tf.layers.add({name: 'join'});
    const first = join.apply([x, dense('e').apply(x) as tf.SymbolicTensor]) as tf.SymbolicTensor;
    const second = join.apply([first, dense('f').apply(first) as tf.SymbolicTensor]) as tf.SymbolicTensor;
    const other = tf.model({inputs: x, outputs: dense('end').apply(second) as tf.SymbolicTensor});
    expect(endsOf(other)).to.deep.equal(['join', 'end']);
    disposeModels(model, other);
  });

  it('takes no notice of outputs that nobody reads; a layer of several outputs is no join', () => {
    const x = tf.input({shape: [3, 4]});
    const states = (name: string) =>
      tf.layers.lstm({
        name,
        units: 4,
        returnSequences: true,
        returnState: true,
        recurrentInitializer: 'zeros',
      });
    const [y] = states('first').apply(x) as tf.SymbolicTensor[];
    const a = tf.layers.add({name: 'a'}).apply([y, dense('one').apply(y) as tf.SymbolicTensor]);
    const model = tf.model({inputs: x, outputs: dense('out').apply(a) as tf.SymbolicTensor});
    expect(endsOf(model)).to.deep.equal(['a', 'out']);
    const [z, ...state] = states('second').apply(x) as tf.SymbolicTensor[];
    const [last] = states('third').apply([z, ...state]) as tf.SymbolicTensor[];
    const other = tf.model({inputs: x, outputs: dense('end').apply(last) as tf.SymbolicTensor});
    expect(endsOf(other)).to.deep.equal(['end']);
    disposeModels(model, other);
  });

  it('takes attention and feed-forward part of a decoder as one', () => {
    const model = buildModel(
      parseConfig({
        ...{model_type: 'llama', vocab_size: 11, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 3},
        ...{num_attention_heads: 2, num_key_value_heads: 1, rms_norm_eps: 1e-5, max_position_embeddings: 16},
      }),
    );
    expect(endsOf(model)).to.deep.equal([...[0, 1, 2].map((i) => `model.layers.${i}.mlp.add`), 'lm_head']);
    disposeModels(model);
  });
});

describe('runSteps', () => {
  checkForLeaks();

  it('computes a tensor of the graph from another, and nothing above it', () => {
    const x = tf.input({shape: [2]});
    const a = dense('a', 3).apply(x) as tf.SymbolicTensor;
    const b = tf.layers.reLU({name: 'b'}).apply(a) as tf.SymbolicTensor;
    const model = tf.model({inputs: x, outputs: b});
    let calls = 0;
    model.getLayer('a').setCallHook(() => calls++);
    const value = tf.tensor2d([[-1, 0, 2]]);
    const [result] = runSteps(new Map([[a, value]]), [b]);
    expect([...result.dataSync()]).to.deep.equal([0, 0, 2]);
    expect(calls).to.equal(0);
    tf.dispose([value, result]);
    disposeModels(model);
  });
});
