import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {DatasetError} from '../../../lib/errors.js';
import {createGraphDecoder} from '../../../lib/language/decoding/graph-decoder.js';
import {perplexitiesOf, scoreWindows, windowsOf} from '../../../lib/language/evaluation/perplexity.js';
import {disposeModels} from '../../support/backends.js';
import {fullForward, randomModel, sparsifyEverything} from '../../support/language/loaded-models.js';
import {randomIds, smallConfigs} from '../../support/language/random-checkpoint.js';

/** One id a character. */
const encode = (text: string) => Array.from(text, (character) => character.charCodeAt(0) - 87);
const BOS = 1;

describe('windows of a text', () => {
  const documents = [
    {text: 'abcde', words: 10},
    {text: 'fgh', words: 6},
  ];

  it('in the word protocol score each document on its own, its words by the share of its tokens', () => {
    const windows = windowsOf(documents, encode, BOS, {protocol: 'word', contextLength: 3});
    expect(windows).to.deep.equal([
      {tokens: [1, 10, 11], targets: [10, 11, 12], scored: 3, words: 6},
      {tokens: [11, 12, 13], targets: [12, 13, 14], scored: 2, words: 4},
      {tokens: [1, 15, 16], targets: [15, 16, 17], scored: 3, words: 6},
    ]);
  });

  it('in the token protocol put the documents in a row, the words of each spread over its tokens', () => {
    const windows = windowsOf(documents, encode, BOS, {protocol: 'token', contextLength: 4});
    expect(windows).to.deep.equal([
      {tokens: [1, 10, 11], targets: [10, 11, 12], scored: 3, words: 6},
      {tokens: [1, 13, 14], targets: [13, 14, 15], scored: 3, words: 6}, // 2 tokens of 2 words each, 1 of 2
      {tokens: [1, 16], targets: [16, 17], scored: 2, words: 4},
    ]);
  });

  it('are no more than are wanted', () => {
    for (const protocol of ['word', 'token'] as const) {
      const all = windowsOf(documents, encode, BOS, {protocol, contextLength: 3});
      for (const windows of [1, 2]) {
        expect(windowsOf(documents, encode, BOS, {protocol, contextLength: 3, windows})).to.deep.equal(
          all.slice(0, windows),
        );
      }
    }
  });

  it('of nothing are an error', () => {
    for (const protocol of ['word', 'token'] as const) {
      expect(() => windowsOf([{text: '', words: 1}], encode, BOS, {protocol, contextLength: 3}))
        .to.throw(DatasetError)
        .with.property('code', 'empty');
    }
  });

  it('give exp of minus the mean log likelihood, per word and per token', () => {
    expect(perplexitiesOf({logLikelihood: -12, tokens: 6, words: 4})).to.deep.equal({
      wordPerplexity: Math.exp(3),
      tokenPerplexity: Math.exp(2),
    });
  });
});

describe('scoring windows', () => {
  const config = smallConfigs().get('qwen2')!;
  let model: tf.LayersModel;
  before(async () => {
    await tf.setBackend('cpu');
    model = await randomModel(config);
    sparsifyEverything(model);
  });
  after(() => disposeModels(model));

  /** Log likelihoods of the last `scored` targets, from the logits of the whole window. */
  const likelihood = (tokens: readonly number[], targets: readonly number[], scored: number) => {
    const logits = fullForward(model, tokens);
    let sum = 0;
    for (let i = targets.length - scored; i < targets.length; i++) {
      const row = logits.subarray(i * config.vocabularySize, (i + 1) * config.vocabularySize);
      const most = Math.max(...row);
      sum += row[targets[i]] - most - Math.log(row.reduce((all, value) => all + Math.exp(value - most), 0));
    }
    return sum;
  };

  const ids = randomIds(21, config.vocabularySize, 4);
  const text = String.fromCharCode(...ids);
  const windows = windowsOf([{text, words: 7}], (one) => Array.from(one, (c) => c.charCodeAt(0)), BOS, {
    protocol: 'word',
    contextLength: 8,
  });

  it('counts what is to be scored, and not the context before it', async () => {
    expect(windows.map(({tokens, scored}) => [tokens.length, scored])).to.deep.equal([
      [8, 8],
      [8, 8],
      [8, 5],
    ]);
    const decoder = createGraphDecoder(model, config);
    const progress: object[] = [];
    const got = await scoreWindows(decoder, windows, {onProgress: (one) => progress.push({...one})});
    const expected = windows.reduce((sum, one) => sum + likelihood(one.tokens, one.targets, one.scored), 0);
    expect(got.logLikelihood).to.be.closeTo(expected, 1e-3); // 21 scores near 5, float32
    expect(got.tokens).to.equal(21);
    expect(got.words).to.be.closeTo(7, 1e-9);
    expect(progress).to.deep.equal([1, 2, 3].map((done) => ({done, total: 3})));
    expect(decoder.length).to.equal(0);
    decoder.dispose();
  });

  it('computes dense on demand, as without thresholds', async () => {
    const decoder = createGraphDecoder(model, config);
    const sparse = await scoreWindows(decoder, windows.slice(2));
    const dense = await scoreWindows(decoder, windows.slice(2), {dense: true});
    const counts = [...decoder.counts().values()];
    decoder.dispose();
    const plain = await randomModel(config);
    const other = createGraphDecoder(plain, config);
    const expected = await scoreWindows(other, windows.slice(2));
    other.dispose();
    disposeModels(plain);
    expect(dense.logLikelihood).to.be.closeTo(expected.logLikelihood, 1e-3);
    expect(Math.abs(sparse.logLikelihood - expected.logLikelihood)).to.be.above(0.05);
    expect(counts.some(({masked}) => masked > 0)).to.equal(true);
  });

  it('computes long windows in pieces, and stops between two of them', async () => {
    const long = randomIds(600, config.vocabularySize, 5);
    const [window] = windowsOf([{text: 'x', words: 1}], () => long, BOS, {
      protocol: 'word',
      contextLength: 600,
    });
    const decoder = createGraphDecoder(model, config);
    const {logLikelihood} = await scoreWindows(decoder, [window]);
    expect(logLikelihood).to.be.closeTo(likelihood(window.tokens, window.targets, 600), 0.05);
    const controller = new AbortController();
    const aborted = scoreWindows(decoder, [window], {signal: controller.signal});
    controller.abort(new Error('enough'));
    let reason: unknown;
    await aborted.catch((error: unknown) => (reason = error));
    expect(reason).to.have.property('message', 'enough');
    expect(decoder.length).to.equal(512); // one piece was computed
    decoder.dispose();
  });
});
