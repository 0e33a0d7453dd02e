import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {compareWithDense, type LanguageModel} from '../../lib/language/index.js';
import {makeSparsifying, maskingLayers} from '../../lib/model/dense-layers.js';
import {WIKI, loadTiny} from '../support/language/tiny-language-models.js';
import {rejection} from '../support/rejection.js';

describe('compareWithDense', () => {
  let lm: LanguageModel;
  let sparse: LanguageModel;
  before(async () => {
    [lm, sparse] = [await loadTiny(), await loadTiny()];
    const paths = sparse.model.layers.map(({name}) => name).filter((name) => name.endsWith('down_proj'));
    makeSparsifying(sparse.model, new Set(paths));
    for (const layer of maskingLayers(sparse.model).values()) layer.setThreshold(0.1);
  });
  after(() => {
    sparse.dispose();
    lm.dispose();
  });

  /** Divergence from the dense model and agreement with it, over the scored tokens of windows. */
  function expected(options: {
    contextLength: number;
    windows?: number;
  }): [divergence: number, agreement: number] {
    const sums = tf.tidy(() => {
      let [kl, same, tokens] = [0, 0, 0];
      for (const {tokens: fed, scored} of lm.windows(WIKI, options)) {
        const input = tf.tensor2d([[...fed]], undefined, 'int32');
        const [p, q] = [lm, sparse].map(({model}) => {
          const logits = tf.squeeze<tf.Tensor2D>(model.predict(input) as tf.Tensor, [0]);
          return tf.logSoftmax(logits.slice(fed.length - scored));
        });
        kl += tf.sum(tf.mul(tf.exp(p), tf.sub(p, q))).dataSync()[0];
        same += tf.sum(tf.cast(tf.equal(tf.argMax(p, -1), tf.argMax(q, -1)), 'int32')).dataSync()[0];
        tokens += scored;
      }
      return [kl / tokens, same / tokens];
    });
    return [sums[0], sums[1]];
  }

  it('scores each token once in windows that repeat their context', async () => {
    const options = {contextLength: 24};
    const windows = lm.windows(WIKI, options);
    expect(windows.some(({tokens, scored}) => scored < tokens.length)).to.equal(true);
    const done: unknown[] = [];
    const {modes, tokens, words, sparsity} = await compareWithDense(sparse, WIKI, {
      ...options,
      onProgress: (progress) => done.push(progress),
    });
    const [dense, masked] = [await lm.perplexity(WIKI, options), await sparse.perplexity(WIKI, options)];
    expect([tokens, words]).to.deep.equal([dense.tokens, dense.words]);
    for (const [i, alone] of [dense, masked].entries()) {
      expect(modes[i].wordPerplexity / alone.wordPerplexity).to.be.closeTo(1, 1e-3);
      expect(modes[i].tokenPerplexity / alone.tokenPerplexity).to.be.closeTo(1, 1e-4);
    }
    const [divergence, agreement] = expected(options);
    expect(agreement, 'they differ').to.be.within(0.01, 0.99);
    expect(modes[1].divergence / divergence).to.be.closeTo(1, 1e-3);
    expect(modes[1].agreement).to.be.closeTo(agreement, 1e-6);
    expect(modes[0]).to.deep.include({mode: 'fp32', sparsity: 0, agreement: 1, divergence: 0});
    expect(modes[1].sparsity).to.equal(sparsity!.mean);
    expect(sparsity!.mean).to.be.within(0.01, 0.99);
    expect(done).to.deep.equal(windows.map((_, i) => ({done: i + 1, total: windows.length})));
  });

  it('takes a sparse baseline as it is', async () => {
    const options = {contextLength: 24, windows: 2};
    const {modes, sparsity} = await compareWithDense(lm, WIKI, {...options, baseline: sparse});
    expect(modes.map(({mode}) => mode)).to.deep.equal(['sparse_activation', 'fp32']);
    const alone = await sparse.perplexity(WIKI, options);
    expect(modes[0].tokenPerplexity / alone.tokenPerplexity).to.be.closeTo(1, 1e-4);
    expect(modes[0].sparsity).to.be.closeTo(alone.sparsity!.mean, 1e-9);
    expect(modes[1].sparsity).to.equal(0);
    expect(sparsity).to.equal(null);
  });

  it('finds nothing between a model and itself', async () => {
    const options = {contextLength: 24, windows: 2, baseline: lm};
    const {modes} = await compareWithDense([lm, lm], WIKI, options);
    for (const mode of modes) {
      expect(mode.divergence).to.be.closeTo(0, 1e-5);
      expect(mode).to.deep.include({...modes[0], divergence: mode.divergence});
    }
  });

  it('stops between two windows', async () => {
    const controller = new AbortController();
    const done: number[] = [];
    const work = compareWithDense(sparse, WIKI, {
      contextLength: 24,
      signal: controller.signal,
      onProgress: (progress) => {
        done.push(progress.done);
        controller.abort(new Error('enough'));
      },
    });
    expect(await work.catch(String)).to.equal('Error: enough');
    expect(done).to.deep.equal([1]);
  });

  it('refuses what cannot be compared, and says what to do', async () => {
    const dense = await rejection(() => compareWithDense(lm, WIKI), 'not-sparsified');
    expect(dense.message).to.equal(
      'the model has no sparsified layer and there is no baseline, so there is nothing to compare: sparsify it first ' +
        'with sparsifyActivations, or give another model as the baseline',
    );
    const other = Object.create(lm, {config: {value: {...lm.config, vocabularySize: 300}}}) as LanguageModel;
    const error = await rejection(() => compareWithDense(other, WIKI, {baseline: lm}), 'different-models');
    expect(error.message).to.equal(
      'the baseline has 256 tokens in its vocabulary, the model 300: compare models of one tokenizer',
    );
    expect(error.data).to.deep.equal({sizes: [256, 300]});
    const wrong = {baseline: lm.model} as object;
    expect((await rejection(() => compareWithDense(lm, WIKI, wrong), 'bad-option')).message).to.include(
      'a LanguageModel',
    );
  });
});
