import {fileURLToPath} from 'node:url';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {makeSparsifying, maskingLayers} from '../../lib/model/dense-layers.js';
import type {GenerationRequest} from '../../lib/serve/messages.js';
import {TextGeneration} from '../../lib/serve/worker/text-generation.js';
import type {LanguageModel} from '../../lib/language/language-model.js';
import {loadLanguageModel} from '../../lib/language/load-language-model.js';
import '../support/backends.js';

const TINY = fileURLToPath(new URL('../fixtures/tiny/llama3-gqa-rope/model-f32.gguf', import.meta.url));
const PROMPT = [1, 2, 3, 4, 5];
const {signal: never} = new AbortController();

describe('the generations of a language model', function () {
  this.timeout(120_000);
  let lm: LanguageModel;
  let bytesPerToken: number;
  let generation: TextGeneration;
  before(async () => {
    await tf.setBackend('cpu');
    lm = await loadLanguageModel(TINY);
    const {layers, keyHeads, headSize} = lm.config;
    bytesPerToken = layers * 2 * keyHeads * headSize * 4;
  });
  after(() => lm.dispose());
  beforeEach(() => {
    generation = new TextGeneration(lm, 2 ** 24, 2);
  });
  afterEach(() => generation.dispose());

  const request = (change: Partial<GenerationRequest> = {}): GenerationRequest => ({
    ...{prompt: PROMPT, maxTokens: 6, temperature: 0, topP: 1, stop: []},
    ...change,
  });
  const run = (
    change: Partial<GenerationRequest> = {},
    onText: (text: string) => void = () => {},
    signal = never,
  ) => generation.generate(request(change), onText, signal);

  it('give what the model gives, piece by piece, and the same again from the cache', async () => {
    const expected = await lm.generate(PROMPT, {maxTokens: 6});
    for (const _ of ['computed', 'from the cache']) {
      const pieces: string[] = [];
      const {text, tokens, promptTokens, finishReason} = await run({}, (piece) => pieces.push(piece));
      expect({text, tokens, promptTokens, finishReason}).to.deep.equal({
        ...{text: expected.text, tokens: expected.tokens},
        ...{promptTokens: PROMPT.length, finishReason: expected.finishReason},
      });
      expect(pieces.join('')).to.equal(expected.text);
    }
  });

  it('give at a time what they give alone', async () => {
    const prompts = [[1], [2, 3], [4, 5, 6], [7]];
    const alone: (readonly number[])[] = [];
    for (const prompt of prompts) alone.push((await run({prompt})).tokens);
    const together = await Promise.all(prompts.map(async (prompt) => (await run({prompt})).tokens));
    expect(together).to.deep.equal(alone);
  });

  it('are as long as was asked for, or as the context, and no longer', async () => {
    expect((await run({maxTokens: 1})).tokens).to.have.length(1);
    const prompt = new Array<number>(lm.config.contextLength - 3).fill(1);
    const all = await run({prompt, maxTokens: undefined});
    expect(all.finishReason).to.equal('length');
    expect(all.tokens).to.have.length(3);
    expect((await run({prompt, maxTokens: 10})).tokens).to.deep.equal(all.tokens);
    expect((await run({prompt, maxTokens: 2})).tokens).to.deep.equal(all.tokens.slice(0, 2));
  });

  it('draw from what topK, topP and minP leave, and end before a stop string', async () => {
    const greedy = await run();
    for (const narrow of [{topK: 1}, {topP: 1e-9}, {minP: 1}]) {
      expect((await run({temperature: 2, seed: 1, ...narrow})).tokens).to.deep.equal(greedy.tokens);
    }
    expect((await run({temperature: 2, seed: 1})).tokens).not.to.deep.equal(greedy.tokens);
    const stop = greedy.text.slice(1, 3);
    expect((await run({stop: [stop]})).text).to.equal(greedy.text.slice(0, greedy.text.indexOf(stop)));
  });

  it('stop when the signal comes, and hold what was computed by then', async () => {
    const controller = new AbortController();
    let pieces = 0;
    const onText = () => {
      if (++pieces === 2) controller.abort(new Error('gone'));
    };
    const stopped = await run({maxTokens: 50}, onText, controller.signal).catch(
      (error: Error) => error.message,
    );
    expect(stopped).to.equal('gone');
    expect(pieces).to.equal(2);
    // The prompt and the first token; the second was chosen, and nothing after it.
    expect(generation.cacheBytes).to.equal((PROMPT.length + 1) * bytesPerToken);
    expect((await run()).tokens).to.deep.equal((await lm.generate(PROMPT, {maxTokens: 6})).tokens);
  });

  it('leave the others alone when one stops', async () => {
    const alone = (await run({prompt: [7]})).tokens;
    const controller = new AbortController();
    const stopped = run({maxTokens: 50}, () => controller.abort(), controller.signal).catch(() => 'stopped');
    const other = run({prompt: [7]});
    expect(await stopped).to.equal('stopped');
    expect((await other).tokens).to.deep.equal(alone);
  });

  it('free their session when a prompt is wrong or there is no room for it', async () => {
    const code = (change: Partial<GenerationRequest>) =>
      run(change).catch((error: {code: string}) => error.code);
    expect(await code({prompt: []})).to.equal('empty-prompt');
    expect(await code({prompt: [1e6]})).to.equal('bad-token');
    expect(await code({prompt: new Array<number>(lm.config.contextLength).fill(1)})).to.equal(
      'prompt-too-long',
    );
    const small = new TextGeneration(lm, 10 * bytesPerToken, 1);
    const refused = await small
      .generate(request({maxTokens: 6}), () => {}, never)
      .catch((error: unknown) => error);
    expect(refused).to.have.property('code', 'cache-too-small');
    expect((await small.generate(request({maxTokens: 5}), () => {}, never)).tokens).to.have.length(5);
    small.dispose();
    expect(small.cacheBytes).to.equal(0);
  });

  it('leave no tensor behind', async () => {
    const before = tf.memory().numTensors;
    await Promise.all([run(), run({prompt: [9]}), run({prompt: [8]})]);
    generation.dispose();
    expect(tf.memory().numTensors).to.equal(before);
  });

  it('have no actual sparsity while no layer is sparsified', async () => {
    await run();
    expect(generation.sparsity()).to.equal(null);
  });

  it('count what sparse ones masked after their prompts, and nothing of dense ones', async () => {
    const sparse = await loadLanguageModel(TINY);
    makeSparsifying(sparse.model, new Set(['model.layers.0.mlp.up_proj']));
    for (const layer of maskingLayers(sparse.model).values()) layer.setThreshold(1e9);
    const own = new TextGeneration(sparse, 2 ** 24, 2);
    await own.generate(request({dense: true}), () => {}, never);
    expect(own.sparsity()!.mean).to.satisfy((mean: number) => Number.isNaN(mean) || mean === 0);
    await own.generate(request(), () => {}, never);
    const {mean, layers} = own.sparsity()!;
    expect(mean).to.equal(1); // all of every generated token, none of it from the dense prompt
    expect(layers.map(({path, actual}) => [path, actual])).to.deep.equal([['model.layers.0.mlp.up_proj', 1]]);
    own.dispose();
    sparse.dispose();
  });
});
