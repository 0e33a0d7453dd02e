import {mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {
  TargetScope,
  compressWeights,
  inspect,
  measureSparsity,
  retarget,
  sparsifyActivations,
  statisticsOf,
} from '../../../lib/index.js';
import {SparsifyError} from '../../../lib/errors.js';
import {loadLayersModel} from '../../../lib/io/model-files.js';
import {
  PROJECTIONS,
  compareWithDense,
  languageModelOf,
  loadLanguageModel,
  type GeneratedToken,
  type LanguageModel,
} from '../../../models/llama/index.js';
import {seededRandom} from '../../../lib/stats/seeded-random.js';
import {BACKENDS} from '../../backends.js';
import {urlOf} from '../../child.js';

const TINY = fileURLToPath(urlOf('spec/fixtures/tiny'));

interface Expected {
  readonly input_ids: readonly (readonly number[])[];
  readonly greedy_ids: readonly number[];
}

function expectedOf(name: string): Expected {
  return JSON.parse(readFileSync(join(TINY, name, 'expected.json'), 'utf8')) as Expected;
}

async function code(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
  } catch (error) {
    if (error instanceof SparsifyError) return error.code;
    if (error instanceof Error) return error.name;
  }
  return 'nothing';
}

/** Ids without control tokens, which would end a text. */
function randomIds(count: number, seed: number): number[] {
  const uniform = seededRandom(seed);
  return Array.from({length: count}, () => 32 + Math.floor(90 * uniform()));
}

const text = (length: number, seed: number) => String.fromCharCode(...randomIds(length, seed));

/** A short WikiText of two articles. */
const WIKI = [
  '\n = First = \n\n It @-@ is , all in all , " an article " .\n',
  '\n = Second = \n\n Another one , of 1 @,@ 000 words ; no more .\n',
].join('\n');

describe('a language model', () => {
  /** With a byte-level tokenizer. */
  let lm: LanguageModel;
  /** Without tokenizer. */
  let ids: LanguageModel;
  const {input_ids, greedy_ids} = expectedOf('llama3-gqa-rope');

  before(async () => {
    await tf.setBackend(BACKENDS[BACKENDS.length - 1]);
    lm = await loadLanguageModel(join(TINY, 'llama3-gqa-rope', 'model-f32.gguf'));
    ids = await loadLanguageModel(join(TINY, 'llama3-gqa-rope'));
    // The kept cache is memory too: start with one.
    await lm.generate([1], {maxTokens: 1});
    await ids.generate([1], {maxTokens: 1});
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
      const prompt = randomIds(contextLength - 3, 1);
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
      const next = [...prompt, ...first.tokens, ...randomIds(4, 2)];
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
      expect(await code(() => work)).to.equal('AbortError');
      expect(seen).to.equal(3);
      expect((await ids.generate(input_ids[0], {maxTokens: 24})).tokens).to.deep.equal(greedy_ids);
    });

    it('before the prompt when it is aborted already', async () => {
      const signal = AbortSignal.abort();
      expect(await code(() => ids.generate([1], {signal}))).to.equal('AbortError');
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
    ['prompt-too-long', (lm) => lm.generate(randomIds(512, 1))],
    ['prompt-too-long', (lm) => lm.score(randomIds(513, 1))],
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
      expect(await code(() => work(lm))).to.equal(expected));
  }

  it('without tokenizer refuses text, and says so', async () => {
    for (const work of [
      () => ids.generate('Hello'),
      () => ids.perplexity(WIKI),
      () => ids.generate([1], {stop: 'x'}),
    ]) {
      expect(await code(work)).to.equal('no-tokenizer');
    }
    expect(() => ids.dataset('some text')).to.throw(SparsifyError, 'tokenizer');
  });

  describe('scores', () => {
    it('each token after those before it, as the logits say', async () => {
      const sequence = input_ids[0];
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
      expect(await code(() => work)).to.equal('AbortError');
    });
  });

  describe('sparsified', () => {
    let sparse: LanguageModel;
    let folder: string;
    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-llama-'));
      const data = lm.dataset(text(1024, 1), {sequenceLength: 32, sequences: 8, batchSize: 2});
      const model = await sparsifyActivations(lm.model, data, {
        targetSparsityByScope: [
          [new TargetScope({patterns: [PROJECTIONS.gateUp]}), 0.3],
          [new TargetScope({patterns: [PROJECTIONS.down]}), 0.5],
        ],
        saveStatistics: true,
      });
      sparse = lm.withModel(model);
      await sparse.generate([1], {maxTokens: 1});
    });
    after(() => {
      sparse.dispose();
      rmSync(folder, {recursive: true});
    });

    it('masks what it should, as measureSparsity sees it', async () => {
      const {sparsity} = await sparse.perplexity(text(120, 7), {contextLength: 64, protocol: 'token'});
      const windows = sparse.windows(text(120, 7), {contextLength: 64, protocol: 'token'});
      const batches = windows.map(({tokens}) => [[...tokens]]);
      const measured = await measureSparsity(
        sparse.model,
        batches.map((batch) => batch),
      );
      expect(sparsity!.layers.map(({path}) => path)).to.deep.equal(measured.map(({path}) => path));
      for (const [i, {actual}] of measured.entries()) {
        // An input within rounding of its threshold may fall on either side: a few of thousands.
        expect(sparsity!.layers[i].actual).to.be.closeTo(actual, 2e-3);
      }
      expect(sparsity!.groups.map(({group, layers}) => [group, layers])).to.have.deep.members([
        ['gate_proj', lm.config.layers],
        ['up_proj', lm.config.layers],
        ['down_proj', lm.config.layers],
      ]);
      expect(sparsity!.mean).to.be.within(0.3, 0.5);
    });

    it('is the dense model where asked for', async () => {
      const options = {contextLength: 64, protocol: 'token'} as const;
      const dense = await lm.perplexity(text(120, 7), options);
      const off = await sparse.perplexity(text(120, 7), {...options, dense: true});
      expect(off.tokenPerplexity).to.be.closeTo(dense.tokenPerplexity, 1e-4 * dense.tokenPerplexity);
      expect(off.sparsity).to.equal(null);
      const on = await sparse.perplexity(text(120, 7), options);
      expect(on.tokenPerplexity).to.not.be.closeTo(dense.tokenPerplexity, 1e-3 * dense.tokenPerplexity);
    });

    it('is compared with the dense model over the same windows', async () => {
      const options = {contextLength: 48, protocol: 'token'} as const;
      const passage = text(47, 7);
      const {modes, sparsity, tokens} = await compareWithDense(sparse, passage, options);
      const {divergence, agreement} = modes[1];
      expect(modes.map(({mode}) => mode)).to.deep.equal(['fp32', 'sparse_activation']);
      expect([modes[0].divergence, modes[0].agreement, modes[0].sparsity]).to.deep.equal([0, 1, 0]);
      const {tokenPerplexity: dense} = await lm.perplexity(passage, options);
      const alone = await sparse.perplexity(passage, options);
      expect(modes[0].tokenPerplexity / dense).to.be.closeTo(1, 1e-4);
      expect(modes[1].tokenPerplexity / alone.tokenPerplexity).to.be.closeTo(1, 1e-4);
      expect(sparsity).to.deep.equal(alone.sparsity);
      expect(tokens).to.equal(47);

      const [{tokens: fed}] = sparse.windows(passage, options);
      const [kl, same] = tf.tidy(() => {
        const input = tf.tensor2d([[...fed]], undefined, 'int32');
        const [p, q] = [lm, sparse].map(({model}) => tf.logSoftmax(model.predict(input) as tf.Tensor));
        const agreeing = tf.equal(tf.argMax(p, -1), tf.argMax(q, -1));
        return [
          tf.mean(tf.sum(tf.mul(tf.exp(p), tf.sub(p, q)), -1)),
          tf.mean(tf.cast(agreeing, 'float32')),
        ].map((value) => value.dataSync()[0]);
      });
      expect(divergence / kl).to.be.closeTo(1, 1e-3);
      expect(agreement).to.be.closeTo(same, 1e-6);
      const againstBaseline = await compareWithDense(sparse, passage, {...options, baseline: lm});
      expect(againstBaseline.modes[1].divergence / divergence).to.be.closeTo(1, 1e-3);
      expect(await code(() => compareWithDense(lm, passage, options))).to.equal('not-sparsified');
    });

    it('is put beside INT8 and sparse in one table, as NNCF has it', async () => {
      const options = {contextLength: 48, protocol: 'token'} as const;
      const passage = text(47, 7);
      const int8 = sparse.withModel(await compressWeights(sparse.model));
      const {modes, sparsity} = await compareWithDense([sparse, int8], passage, {...options, baseline: lm});
      expect(modes.map(({mode}) => mode)).to.deep.equal([
        'fp32',
        'sparse_activation',
        'int8_asym + sparse_activation',
      ]);
      const alone = await int8.perplexity(passage, options);
      expect(modes[2].tokenPerplexity / alone.tokenPerplexity).to.be.closeTo(1, 1e-4);
      expect(sparsity).to.deep.equal(alone.sparsity);
      expect(modes[1].tokenPerplexity).to.not.equal(modes[2].tokenPerplexity);
      int8.dispose();
    });

    it('computes the prompt dense, or, on request, sparse but for its first tokens', async () => {
      const prompt = randomIds(40, 9);
      const first = async (model: LanguageModel, prefill?: 'sparse' | 'dense' | number) => {
        return (await model.generate(prompt, {maxTokens: 1, prefill})).tokens[0];
      };
      const dense = await first(lm, 'sparse');
      expect(await first(sparse, 'dense')).to.equal(dense);
      expect(await first(sparse)).to.equal(dense);
      expect(await first(sparse, prompt.length)).to.equal(dense);
      expect(await first(sparse, 0)).to.equal(await first(sparse, 'sparse'));
      const all = await sparse.generate(prompt, {maxTokens: 12, prefill: 1000});
      expect(all.tokens).to.deep.equal((await lm.generate(prompt, {maxTokens: 12})).tokens);
    });

    it('sees thresholds that change between calls', async () => {
      const prompt = input_ids[0];
      const before = await sparse.generate(prompt, {maxTokens: 12});
      const targets = new Map(inspect(sparse.model).map(({path, target}) => [path, target]));
      retarget(sparse.model, {[PROJECTIONS.gateUp]: 0.95, [PROJECTIONS.down]: 0.95});
      const changed = await sparse.generate(prompt, {maxTokens: 12});
      expect(changed.tokens).to.not.deep.equal(before.tokens);
      retarget(sparse.model, {[PROJECTIONS.gateUp]: 0.3, [PROJECTIONS.down]: 0.5});
      expect(new Map(inspect(sparse.model).map(({path, target}) => [path, target]))).to.deep.equal(targets);
    });

    it('is saved and loaded whole', async () => {
      await sparse.save(folder);
      const loaded = await loadLanguageModel(folder);
      expect(loaded.config).to.deep.equal(sparse.config);
      expect(loaded.tokenizer!.source).to.deep.equal(sparse.tokenizer!.source);
      expect(inspect(loaded.model)).to.deep.equal(inspect(sparse.model));
      expect(statisticsOf(loaded.model).toJSON()).to.deep.equal(statisticsOf(sparse.model).toJSON());
      const expected = await sparse.generate('Hello', {maxTokens: 20});
      expect((await loaded.generate('Hello', {maxTokens: 20})).text).to.equal(expected.text);
      loaded.dispose();
    });

    it('is a plain LayersModel for whoever loads the model.json', async () => {
      await sparse.save(folder);
      const model = await loadLayersModel(join(folder, 'model.json'));
      const input = tf.tensor2d([[...input_ids[0]]], undefined, 'int32');
      const [got, expected] = [model, sparse.model].map((each) =>
        (each.predict(input) as tf.Tensor).dataSync(),
      );
      expect(got).to.deep.equal(expected);
      input.dispose();
      model.dispose();
    });
  });

  it('leaves no tensor behind', async () => {
    const before = tf.memory().numTensors;
    const loaded = await loadLanguageModel(join(TINY, 'mixtral-moe'));
    await loaded.generate([1, 2, 3], {maxTokens: 5});
    await loaded.score([1, 2, 3]);
    loaded.dispose();
    expect(tf.memory().numTensors).to.equal(before);
  });
});
