import {join} from 'node:path';
import {expect} from 'chai';
import {attachMetadata} from '../../lib/language/config/saved-metadata.js';
import {loadLanguageModel} from '../../lib/language/load-language-model.js';
import type {Generation} from '../../lib/language/decoding/generate.js';
import type {Prompt} from '../../lib/language/prompt.js';
import {fileURLToPath} from 'node:url';
import '../support/backends.js';
import {modelFolder, saveSumModel, serving, type Serving} from '../support/serving.js';

/** Random weights and a byte-level vocabulary; the text means nothing, and is always the same. */
const TINY = fileURLToPath(new URL('../fixtures/tiny/llama3-gqa-rope/model-f32.gguf', import.meta.url));
const TEMPLATE = "{% for m in messages %}{{ m.role + ':' + m.content + ';' }}{% endfor %}";
const MESSAGES = [{role: 'user', content: 'ab'}];

/** Keys and values of a token: 3 layers, 2 key heads of 16, float32. */
const BYTES_PER_TOKEN = 768;

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

interface Chunk {
  readonly choices: readonly {
    readonly index: number;
    readonly text?: string;
    readonly delta?: {readonly content?: string};
    readonly finish_reason: string | null;
  }[];
  readonly usage?: {readonly total_tokens: number} | null;
  readonly error?: object;
}

describe('the OpenAI-style API', function () {
  this.timeout(120_000);
  const folder = modelFolder();
  let served: Serving;
  /** What the model generates in this process. */
  let generate: (prompt: Prompt, maxTokens: number) => Promise<Generation>;
  let dispose: () => void;
  before(async () => {
    const lm = await loadLanguageModel(TINY);
    const {source} = lm.tokenizer!;
    const tokenizer = {...source, config: {...source.config, chat_template: TEMPLATE}};
    attachMetadata(lm.model, {config: lm.config, tokenizer});
    const chat = lm.withModel(lm.model);
    await chat.save(join(folder.path, 'tiny'));
    generate = (prompt, maxTokens) => chat.generate(prompt, {maxTokens});
    dispose = () => chat.dispose();
    await saveSumModel(join(folder.path, 'sum'), 1);
    served = await serving({
      models: ['tiny', 'sum'].map((name) => ({name, path: join(folder.path, name)})),
      pool: {cacheBytes: 2 ** 20},
    });
  });
  after(async () => {
    dispose();
    await served.server.close();
  });

  const stream = async (path: string, body: object): Promise<{chunks: Chunk[]; isDone: boolean}> => {
    const {status, headers, json} = await served.post(path, {...body, stream: true});
    expect(status, JSON.stringify(json)).to.equal(200);
    expect(headers.get('content-type')).to.equal('text/event-stream; charset=utf-8');
    const events = (json as string).split('\n\n').filter((event) => event !== '');
    const data = events.map((event) => event.replace(/^data: /, ''));
    const isDone = data.at(-1) === '[DONE]';
    return {
      isDone,
      chunks: data.filter((text) => text !== '[DONE]').map((text) => JSON.parse(text) as Chunk),
    };
  };

  it('lists the models', async () => {
    const {json} = await served.get('/v1/models');
    expect((json as {data: {id: string}[]}).data.map(({id}) => id)).to.deep.equal(['tiny', 'sum']);
    expect((await served.get('/v1/models/tiny')).json).to.include({id: 'tiny', object: 'model'});
  });

  it('answers a chat as the model does in this process', async () => {
    const expected = await generate(MESSAGES, 8);
    const body = {model: 'tiny', messages: MESSAGES, max_tokens: 8, temperature: 0};
    const {json} = await served.post('/v1/chat/completions', body);
    const {promptTokens, tokens, finishReason} = expected;
    expect(json).to.deep.include({
      object: 'chat.completion',
      usage: {
        prompt_tokens: promptTokens,
        completion_tokens: tokens.length,
        total_tokens: promptTokens + tokens.length,
      },
    });
    expect(json).to.have.nested.property('choices[0].message.content', expected.text);
    expect(json).to.have.nested.property('choices[0].finish_reason', finishReason);
  });

  it('streams the same text, with usage if it is asked for', async () => {
    const expected = await generate(MESSAGES, 8);
    const {chunks, isDone} = await stream('/v1/chat/completions', {
      ...{model: 'tiny', messages: MESSAGES, max_completion_tokens: 8, temperature: 0},
      stream_options: {include_usage: true},
    });
    const text = chunks.map(({choices}) => choices[0]?.delta?.content ?? '').join('');
    expect(text).to.equal(expected.text);
    expect(isDone).to.equal(true);
    expect(chunks.at(-1)!.usage!.total_tokens).to.equal(expected.promptTokens + expected.tokens.length);
    expect(chunks.at(-2)!.choices[0].finish_reason).to.equal(expected.finishReason);
  });

  it('completes several prompts, text and ids, several times each', async () => {
    const expected = [await generate('ab', 4), await generate([5, 6, 7], 4)];
    const body = {model: 'tiny', prompt: ['ab', [5, 6, 7]], n: 2, max_tokens: 4, temperature: 0};
    const {json} = await served.post('/v1/completions', body);
    const texts = (json as {choices: {text: string}[]}).choices.map(({text}) => text);
    expect(texts).to.deep.equal([0, 0, 1, 1].map((i) => expected[i].text));
  });

  it('gives the same for the same seed', async () => {
    const body = {model: 'tiny', prompt: 'ab', max_tokens: 8, temperature: 1, top_p: 0.9, seed: 5};
    const texts = await Promise.all(
      [5, 5, 6].map(async (seed) => {
        const {json} = await served.post('/v1/completions', {...body, seed});
        return (json as {choices: {text: string}[]}).choices[0].text;
      }),
    );
    expect(texts[0]).to.equal(texts[1]);
    expect(texts[0]).to.not.equal(texts[2]);
  });

  it('ends the text before a stop string', async () => {
    const {text} = await generate('ab', 8);
    const stop = text.slice(2, 4);
    const body = {model: 'tiny', prompt: 'ab', max_tokens: 8, temperature: 0, stop: [stop]};
    const {json} = await served.post('/v1/completions', body);
    expect(json).to.have.nested.property('choices[0].text', text.slice(0, text.indexOf(stop)));
    expect(json).to.have.nested.property('choices[0].finish_reason', 'stop');
  });

  it('answers eight chats at a time as one after another', async () => {
    const contents = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
    const bodies = contents.map((content) => ({
      ...{model: 'tiny', messages: [{role: 'user', content}], max_tokens: 8, temperature: 0},
    }));
    const ask = async (body: object) => {
      const {json} = await served.post('/v1/chat/completions', body);
      return (json as {choices: {message: {content: string}}[]}).choices[0].message.content;
    };
    const together = await Promise.all(bodies.map(ask));
    const alone: string[] = [];
    for (const body of bodies) alone.push(await ask(body));
    expect(together).to.deep.equal(alone);
  });

  it('stops generating when the client goes away, and keeps what was computed by then', async () => {
    const fresh = await serving({models: [{name: 'tiny', path: join(folder.path, 'tiny')}]});
    const cached = async () => Math.max(...(await fresh.metric('sparsify_cache_bytes')).values());
    const controller = new AbortController();
    // Greedily more than a hundred tokens follow this prompt; with the first the client goes away.
    const body = {model: 'tiny', prompt: 'ab', max_tokens: 10_000, temperature: 0, stream: true};
    const response = await fetch(`${fresh.url}/v1/completions`, {
      method: 'POST',
      headers: {'content-type': 'application/json'},
      body: JSON.stringify(body),
      signal: controller.signal,
    });
    await response.body!.getReader().read();
    controller.abort();
    await sleep(2500); // a worker tells once a second what it holds
    while ((await cached()) > 100 * BYTES_PER_TOKEN); // or what it has promised, while it goes on
    expect(await fresh.metric('sparsify_tokens_total')).to.deep.equal(new Map()); // nothing was completed
    await fresh.server.close();
  });

  it('draws from the one likeliest token for top_k 1 and min_p 1', async () => {
    const {text} = await generate('ab', 8);
    const body = {model: 'tiny', prompt: 'ab', max_tokens: 8, temperature: 2, seed: 5};
    const drawn = async (change: object) => {
      const {json} = await served.post('/v1/completions', {...body, ...change});
      return (json as {choices: {text: string}[]}).choices[0].text;
    };
    expect(await drawn({top_k: 1})).to.equal(text);
    expect(await drawn({min_p: 1})).to.equal(text);
    const free = await drawn({});
    expect(free).not.to.equal(text);
    for (const all of [{top_k: 0}, {top_k: -1}, {min_p: 0}, {top_k: null}])
      expect(await drawn(all)).to.equal(free);
  });

  it('takes seeds of 64 bits, and draws differently for each and for each choice', async () => {
    const ask = async (seed: string, n = 1) => {
      const body = `{"model":"tiny","prompt":"ab","max_tokens":8,"temperature":2,"n":${n},"seed":${seed}}`;
      const {status, json} = await served.post('/v1/completions', body);
      expect(status, JSON.stringify(json)).to.equal(200);
      return (json as {choices: {text: string}[]}).choices.map(({text}) => text);
    };
    const seeds = ['9223372036854775807', '-9223372036854775808', '8034562987123456789', '4294967301', '5'];
    const texts: string[] = [];
    for (const seed of seeds) texts.push(...(await ask(seed)));
    expect(new Set(texts).size).to.equal(seeds.length);
    expect(await ask(seeds[0])).to.deep.equal([texts[0]]);
    expect(new Set(await ask(seeds[0], 3)).size).to.equal(3);
    expect(new Set(await ask('9007199254740991', 2)).size).to.equal(2);
  });

  it('understands an answer as clients send it back', async () => {
    const {text} = await generate(
      [
        ...MESSAGES,
        {role: 'assistant', content: 'cd'},
        {role: 'user', content: 'e'},
        {role: 'assistant', content: ''},
      ],
      4,
    );
    const back = {
      content: 'cd',
      refusal: null,
      annotations: [],
      audio: null,
      function_call: null,
      tool_calls: null,
    };
    const parts = {content: [{type: 'text', text: 'c'}, {type: 'refusal', refusal: 'd'}]}; // prettier-ignore
    for (const answer of [back, parts, {content: null, refusal: 'cd'}, {refusal: 'cd', tool_calls: []}]) {
      for (const none of [{content: null}, {}, {content: []}]) {
        const user = {role: 'user', content: [{type: 'text', text: 'e'}]};
        const messages = [...MESSAGES, {role: 'assistant', ...answer}, user, {role: 'assistant', ...none}];
        const body = {model: 'tiny', messages, max_tokens: 4, temperature: 0};
        const {json} = await served.post('/v1/chat/completions', body);
        expect(json).to.have.nested.property('choices[0].message.content', text);
      }
    }
  });

  it('gives up the other choices when one cannot be made', async () => {
    const counted = async () =>
      (await served.metric('sparsify_tokens_total')).get('model="tiny",kind="completion"');
    const running = async () =>
      ((await served.get('/status')).json as {models: {versions: {running: number}[]}[]}).models[0]
        .versions[0].running;
    for (const stream of [false, true]) {
      const before = await counted();
      const body = {model: 'tiny', prompt: ['ab', [1, 10_000]], max_tokens: 10_000, stream};
      const {json} = await served.post('/v1/completions', body);
      expect(JSON.stringify(json)).to.contain('10000 is no token id');
      while ((await running()) > 0);
      expect(await counted()).to.equal(before); // the other one was not generated to its end
    }
  });

  for (const [what, change, status, code] of [
    ['an unknown model', {model: 'tinny'}, 404, 'unknown_model'],
    ['a model of another kind', {model: 'sum'}, 400, 'not_a_language_model'],
    ['no messages', {messages: []}, 400, 'bad_request'],
    ['a message without content', {messages: [{role: 'user'}]}, 400, 'bad_request'],
    ['an image', {messages: [{role: 'user', content: [{type: 'image_url'}]}]}, 400, 'bad_request'],
    ['a temperature below 0', {temperature: -1}, 400, 'bad_request'],
    ['top_p 0', {top_p: 0}, 400, 'bad_request'],
    ['no tokens', {max_tokens: 0}, 400, 'bad_request'],
    ['an empty stop string', {stop: ''}, 400, 'bad_request'],
    ['an empty stop string among others', {stop: ['a', '']}, 400, 'bad_request'],
    ['tools', {tools: [{type: 'function'}]}, 400, 'unsupported_parameter'],
    ['log probabilities', {logprobs: true}, 400, 'unsupported_parameter'],
    ['a field that nobody knows', {max_token: 4}, 400, 'unknown_parameter'],
    [
      'a prompt beyond the context',
      {messages: [{role: 'user', content: 'x'.repeat(5000)}]},
      400,
      'prompt_too_long',
    ],
  ] as const) {
    for (const isStreamed of [false, true]) {
      it(`refuses ${what} with ${status}${isStreamed ? ', streamed' : ''}`, async () => {
        const body = {model: 'tiny', messages: MESSAGES, max_tokens: 4, stream: isStreamed, ...change};
        const answer = await served.post('/v1/chat/completions', body);
        expect(answer.status, JSON.stringify(answer.json)).to.equal(status);
        expect(answer.json).to.have.nested.property('error.code', code);
        expect(answer.json).to.have.nested.property('error.type', 'invalid_request_error');
      });
    }
  }
});
