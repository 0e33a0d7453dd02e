import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {type LanguageModel} from '../../lib/language/index.js';
import {expectedOf} from '../support/language/tiny-checkpoints.js';
import {
  TINY_LANGUAGE_MODEL,
  WIKI,
  failureCode,
  loadTiny,
  loadTinyWithoutTokenizer,
} from '../support/language/tiny-language-models.js';

describe('a language model scores', () => {
  let lm: LanguageModel;
  before(async () => {
    lm = await loadTiny();
  });
  after(() => lm.dispose());

  it('each token after those before it, as the logits say', async () => {
    const ids = await loadTinyWithoutTokenizer();
    const sequence = expectedOf(TINY_LANGUAGE_MODEL).input_ids[0];
    const scores = await ids.score(sequence);
    const expected = tf.tidy(() => {
      const logits = ids.model.predict(tf.tensor2d([[...sequence]], undefined, 'int32')) as tf.Tensor3D;
      const chosen = tf.oneHot(tf.tensor1d(sequence.slice(1), 'int32'), 256);
      const rows = tf.logSoftmax(logits.squeeze([0]).slice(0, sequence.length - 1));
      return tf.sum(tf.mul(rows, chosen), 1).dataSync();
    });
    expect(scores).to.have.length(sequence.length - 1);
    // Logits reach 8, and two summation orders differ by 2e-5 of that.
    for (const [i, score] of scores.entries()) expect(score).to.be.closeTo(expected[i], 4e-4);
    ids.dispose();
  });

  it('a text, every token once in the word protocol', async () => {
    const {tokens, words, wordPerplexity, tokenPerplexity, sparsity} = await lm.perplexity(WIKI, {
      contextLength: 16,
    });
    // The text has an empty part at both ends, and so has each of its two articles.
    expect(words).to.equal(WIKI.split(/\s+/).length + 2);
    const likelihoods = [words * Math.log(wordPerplexity), tokens * Math.log(tokenPerplexity)];
    expect(likelihoods[0] / likelihoods[1]).to.be.closeTo(1, 1e-9);
    expect(sparsity).to.equal(null);
    const windows = lm.windows(WIKI, {contextLength: 16});
    expect(windows.reduce((sum, {scored}) => sum + scored, 0)).to.equal(tokens);
  });

  it('a text as the windows say', async () => {
    const options = {protocol: 'token', contextLength: 21, windows: 2} as const;
    const {tokens, tokenPerplexity} = await lm.perplexity(WIKI, options);
    let sum = 0;
    for (const window of lm.windows(WIKI, options)) {
      const [first] = window.tokens;
      expect(first).to.equal(lm.config.bosTokenId);
      for (const score of await lm.score([first, ...window.targets])) sum += score;
    }
    expect(tokens).to.equal(40);
    expect(tokenPerplexity).to.be.closeTo(Math.exp(-sum / tokens), 1e-3 * tokenPerplexity);
  });

  it('with progress, and until it is aborted', async () => {
    const seen: number[] = [];
    await lm.perplexity(WIKI, {contextLength: 16, windows: 3, onProgress: ({done}) => seen.push(done)});
    expect(seen).to.deep.equal([1, 2, 3]);
    const controller = new AbortController();
    const work = lm.perplexity(WIKI, {
      contextLength: 16,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    expect(await failureCode(() => work)).to.equal('AbortError');
  });
});
