import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {SparsifyError} from '../../lib/errors.js';
import {
  languageModelOf,
  loadLanguageModel,
  type GeneratedToken,
  type LanguageModel,
} from '../../lib/language/index.js';
import {expectedOf, tinyFolder} from '../support/language/tiny-checkpoints.js';
import {
  TINY_LANGUAGE_MODEL,
  WIKI,
  failureCode,
  loadTiny,
  loadTinyWithoutTokenizer,
  printableIds,
} from '../support/language/tiny-language-models.js';

describe('a language model', () => {
  let lm: LanguageModel;
  let ids: LanguageModel;
  const {input_ids, greedy_ids} = expectedOf(TINY_LANGUAGE_MODEL);

  before(async () => {
    lm = await loadTiny();
    ids = await loadTinyWithoutTokenizer();
  });
  after(() => {
    lm.dispose();
    ids.dispose();
  });

  describe('generates', () => {
    it('the reference continuation, greedy', async () => {
      for (const model of [ids, lm]) {
        const result = await model.generate(input_ids[0], {maxTokens: greedy_ids.length});
        expect(result.tokens).to.deep.equal(greedy_ids);
        expect(result).to.include({finishReason: 'length', promptTokens: 40});
        expect(result.timeToFirstTokenMs).to.be.above(0);
        expect(result.tokensPerSecond).to.be.above(0);
      }
    });

    it('token by token, in the same order', async () => {
      const seen: GeneratedToken[] = [];
      const stream = ids.stream(input_ids[0], {maxTokens: 5, onToken: (token) => seen.push(token)});
      const streamed: GeneratedToken[] = [];
      for await (const token of stream) streamed.push(token);
      expect(streamed.map(({id}) => id)).to.deep.equal(greedy_ids.slice(0, 5));
      expect(seen).to.deep.equal(streamed);
    });

    it('text whose pieces join to the whole', async () => {
      const pieces: string[] = [];
      const result = await lm.generate('Hello', {
        maxTokens: 60,
        temperature: 2,
        seed: 3,
        onToken: ({text}) => pieces.push(text),
      });
      expect(pieces.join('')).to.equal(result.text);
      const whole = lm.tokenizer!.decode(result.tokens, {skipSpecialTokens: true});
      expect(result.text).to.equal(whole);
    });

    it('the same with the same seed, whatever was generated between', async () => {
      const options = {maxTokens: 20, temperature: 1, topP: 0.9, topK: 50, seed: 5};
      const first = await lm.generate('abc', options);
      await lm.generate('abx', {maxTokens: 3});
      expect((await lm.generate('abc', options)).tokens).to.deep.equal(first.tokens);
      expect((await lm.generate('abc', {...options, seed: 6})).tokens).to.not.deep.equal(first.tokens);
    });

    it('up to a stop string, across tokens', async () => {
      const options = {maxTokens: 60, temperature: 2, seed: 3};
      const {text: whole} = await lm.generate('Hello', options);
      const stop = whole.slice(7, 10);
      const stopped = await lm.generate('Hello', {...options, stop});
      expect(stopped.text).to.equal(whole.slice(0, whole.indexOf(stop)));
      expect(stopped.finishReason).to.equal('stop');
      expect(stopped.tokens.length).to.be.below(60);
    });

    it('up to an end token', async () => {
      const metadata = ids.model.getUserDefinedMetadata() as Record<string, {config: object}>;
      const entry = metadata['tfjs-sparsify-llama'];
      ids.model.setUserDefinedMetadata({
        'tfjs-sparsify-llama': {...entry, config: {...entry.config, eosTokenIds: [greedy_ids[3]]}},
      });
      const other = languageModelOf(ids.model);
      ids.model.setUserDefinedMetadata(metadata);
      const result = await other.generate(input_ids[0], {maxTokens: 24});
      expect(result.tokens).to.deep.equal(greedy_ids.slice(0, greedy_ids.indexOf(greedy_ids[3])));
      expect(result.finishReason).to.equal('stop');
    });

    it('until the context is full', async () => {
      const {contextLength} = ids.config;
      const prompt = printableIds(contextLength - 3, 1);
      const result = await ids.generate(prompt, {maxTokens: 100});
      expect(result.tokens.length).to.be.at.most(3);
    });

    it('several at once, each as if alone', async () => {
      const prompts = [input_ids[0], input_ids[1], input_ids[0].slice(0, 7)];
      const alone = [];
      for (const prompt of prompts) alone.push((await ids.generate(prompt, {maxTokens: 12})).tokens);
      const together = await Promise.all(prompts.map((prompt) => ids.generate(prompt, {maxTokens: 12})));
      expect(together.map(({tokens}) => tokens)).to.deep.equal(alone);
    });

    it('on from the tokens that it holds already', async () => {
      const prompt = input_ids[0];
      const first = await ids.generate(prompt, {maxTokens: 5});
      const next = [...prompt, ...first.tokens, ...printableIds(4, 2)];
      const continued = await ids.generate(next, {maxTokens: 8});
      await ids.generate([3], {maxTokens: 1}); // drops the cache
      expect((await ids.generate(next, {maxTokens: 8})).tokens).to.deep.equal(continued.tokens);
    });
  });

  describe('stops', () => {
    it('between two tokens when it is aborted, and is usable after', async () => {
      const controller = new AbortController();
      let seen = 0;
      const work = ids.generate(input_ids[0], {
        maxTokens: 400,
        signal: controller.signal,
        onToken: () => {
          if (++seen === 3) controller.abort();
        },
      });
      expect(await failureCode(() => work)).to.equal('AbortError');
      expect(seen).to.equal(3);
      expect((await ids.generate(input_ids[0], {maxTokens: 24})).tokens).to.deep.equal(greedy_ids);
    });

    it('before the prompt when it is aborted already', async () => {
      const signal = AbortSignal.abort();
      expect(await failureCode(() => ids.generate([1], {signal}))).to.equal('AbortError');
    });

    it('when the loop over it is left', async () => {
      for await (const {id} of ids.stream(input_ids[0])) {
        expect(id).to.equal(greedy_ids[0]);
        break;
      }
    });
  });

  const refusals: readonly (readonly [string, (lm: LanguageModel) => Promise<unknown>])[] = [
    ['empty-prompt', (lm) => lm.generate([])],
    ['empty-prompt', (lm) => lm.generate('')],
    ['empty-prompt', (lm) => lm.score([1])],
    ['bad-token', (lm) => lm.generate([256])],
    ['bad-token', (lm) => lm.generate([-1])],
    ['bad-token', (lm) => lm.score([0, 1.5])],
    ['prompt-too-long', (lm) => lm.generate(printableIds(512, 1))],
    ['prompt-too-long', (lm) => lm.score(printableIds(513, 1))],
    ['bad-option', (lm) => lm.generate([1], {maxTokens: 0})],
    ['bad-option', (lm) => lm.generate([1], {temperature: -1})],
    ['bad-option', (lm) => lm.generate([1], {stop: ''})],
    ['bad-option', (lm) => lm.generate([1], {prefill: -1})],
    ['bad-option', (lm) => lm.perplexity(WIKI, {contextLength: 1})],
    ['bad-option', (lm) => lm.perplexity(WIKI, {contextLength: 513})],
    ['bad-option', (lm) => lm.perplexity(WIKI, {windows: 0})],
    ['empty', (lm) => lm.perplexity('')],
    ['no-chat-template', (lm) => lm.generate([{role: 'user', content: 'Hello'}])],
  ];
  for (const [i, [expected, work]] of refusals.entries()) {
    it(`refuses wrong use (${i + 1}) with ${expected}`, async () =>
      expect(await failureCode(() => work(lm))).to.equal(expected));
  }

  it('without tokenizer refuses text, and says so', async () => {
    for (const work of [
      () => ids.generate('Hello'),
      () => ids.perplexity(WIKI),
      () => ids.generate([1], {stop: 'x'}),
    ]) {
      expect(await failureCode(work)).to.equal('no-tokenizer');
    }
    expect(() => ids.dataset('some text')).to.throw(SparsifyError, 'tokenizer');
  });

  it('leaves no tensor behind', async () => {
    const before = tf.memory().numTensors;
    const loaded = await loadLanguageModel(tinyFolder('mixtral-moe'));
    await loaded.generate([1, 2, 3], {maxTokens: 5});
    await loaded.score([1, 2, 3]);
    loaded.dispose();
    expect(tf.memory().numTensors).to.equal(before);
  });
});
