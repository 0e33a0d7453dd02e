import {expect} from 'chai';
import Fastify, {type FastifyInstance} from 'fastify';
import {readBodies} from '../../lib/serve/bodies.js';
import type {Dispatcher} from '../../lib/serve/dispatcher.js';
import {ServeError} from '../../lib/serve/http-errors.js';
import type {GenerationRequest} from '../../lib/serve/messages.js';
import {Metrics} from '../../lib/serve/metrics.js';
import {openAi} from '../../lib/serve/protocols/openai.js';
import type {ModelVersion, Repository} from '../../lib/serve/model-repository.js';
import type {Generation} from '../../lib/language/decoding/generate.js';

/** What a generation is to do: give pieces of text and end, or fail after them. */
interface Script {
  readonly pieces: readonly string[];
  readonly error?: Error;
}

const version = (model: string, isLanguageModel: boolean) =>
  ({model, version: 3, created: 1234, info: {isLanguageModel}}) as unknown as ModelVersion;
const VERSIONS: Readonly<Record<string, ModelVersion>> = {
  lm: version('lm', true),
  sum: version('sum', false),
};
const MESSAGES = [{role: 'user', content: 'Hello'}];

describe('an answer in the form of OpenAI', () => {
  let fastify: FastifyInstance;
  let metrics: Metrics;
  /** What was asked of the dispatcher. */
  let asked: {
    readonly version: ModelVersion;
    readonly request: GenerationRequest;
    readonly signal: AbortSignal;
  }[];
  let scripts: Script[];
  beforeEach(async () => {
    asked = [];
    scripts = [];
    metrics = new Metrics({queues: () => new Map(), workers: () => [], isReady: () => true});
    fastify = Fastify();
    fastify.decorateRequest('servedModel', '');
    fastify.removeAllContentTypeParsers();
    readBodies(fastify, 1e6);
    const repository = {
      names: Object.keys(VERSIONS),
      all: (name: string) => (name === 'sum' ? [] : [VERSIONS[name]]),
      choose: (name: string) => {
        if (Object.hasOwn(VERSIONS, name)) return VERSIONS[name];
        throw new ServeError(404, 'unknown-model', `no ${name}`);
      },
    } as unknown as Repository;
    const dispatcher = {
      generate: async (
        version: ModelVersion,
        request: GenerationRequest,
        onText: (text: string) => void,
        {signal}: {signal: AbortSignal},
      ): Promise<Generation> => {
        const number = asked.length;
        asked.push({version, request, signal});
        const {pieces, error} = scripts[number] ?? {pieces: ['a', 'b']};
        for (const piece of pieces) {
          await new Promise((resolve) => setImmediate(resolve));
          onText(piece);
        }
        if (error !== undefined) throw error;
        return {
          ...{
            text: pieces.join(''),
            tokens: pieces.map((_, i) => i),
            finishReason: number % 2 === 0 ? 'stop' : 'length',
          },
          ...{promptTokens: 10 + number, timeToFirstTokenMs: 1, tokensPerSecond: 1},
        };
      },
    } as unknown as Dispatcher;
    await fastify.register((scope) => openAi(scope, {repository, dispatcher, metrics}));
  });
  afterEach(() => fastify.close());

  const post = async (path: string, body: object) => {
    const {
      statusCode,
      headers,
      body: text,
    } = await fastify.inject({method: 'POST', url: path, payload: JSON.stringify(body)});
    return {status: statusCode, headers, text};
  };
  const chat = (body: object) => post('/v1/chat/completions', {model: 'lm', messages: MESSAGES, ...body});
  const complete = (body: object) => post('/v1/completions', {model: 'lm', prompt: 'Hello', ...body});
  /** The events of a stream without what differs from answer to answer. */
  const eventsOf = (text: string) =>
    text
      .split('\n\n')
      .slice(0, -1)
      .map((event) => {
        expect(event.slice(0, 6)).to.equal('data: ');
        if (event === 'data: [DONE]') return 'done';
        const {id: _id, created: _created, ...rest} = JSON.parse(event.slice(6)) as Record<string, unknown>;
        return rest;
      });

  it('lists the models, and when each was made', async () => {
    const {body} = await fastify.inject('/v1/models');
    expect(JSON.parse(body)).to.deep.equal({
      object: 'list',
      data: [
        {id: 'lm', object: 'model', created: 1234, owned_by: 'tfjs-sparsify'},
        {id: 'sum', object: 'model', created: 0, owned_by: 'tfjs-sparsify'},
      ],
    });
  });

  it('holds the choices of a chat and their tokens', async () => {
    const before = Math.floor(Date.now() / 1000);
    const {status, headers, text} = await chat({n: 2});
    expect(status).to.equal(200);
    expect(headers['content-type']).to.contain('application/json');
    const {id, created, ...rest} = JSON.parse(text) as {id: string; created: number};
    expect(id).to.match(/^chatcmpl-[0-9a-f-]{36}$/);
    expect(created).to.be.within(before, Math.floor(Date.now() / 1000));
    const message = {role: 'assistant', content: 'ab', refusal: null};
    expect(rest).to.deep.equal({
      model: 'lm',
      system_fingerprint: 'lm@3',
      object: 'chat.completion',
      choices: [
        {index: 0, message, logprobs: null, finish_reason: 'stop'},
        {index: 1, message, logprobs: null, finish_reason: 'length'},
      ],
      usage: {prompt_tokens: 21, completion_tokens: 4, total_tokens: 25},
    });
  });

  it('holds the choices of a completion', async () => {
    const {headers, text} = await complete({});
    expect(headers['content-type']).to.contain('application/json');
    const {id, created: _created, ...rest} = JSON.parse(text) as {id: string; created: number};
    expect(id).to.match(/^cmpl-[0-9a-f-]{36}$/);
    expect(rest).to.deep.equal({
      model: 'lm',
      system_fingerprint: 'lm@3',
      object: 'text_completion',
      choices: [{index: 0, text: 'ab', logprobs: null, finish_reason: 'stop'}],
      usage: {prompt_tokens: 10, completion_tokens: 2, total_tokens: 12},
    });
  });

  const head = {model: 'lm', system_fingerprint: 'lm@3'};
  it('comes as events of a chat', async () => {
    scripts = [{pieces: ['a', '', 'b']}];
    const {status, headers, text} = await chat({stream: true});
    expect(status).to.equal(200);
    expect(headers['content-type']).to.equal('text/event-stream; charset=utf-8');
    expect(headers['cache-control']).to.equal('no-cache');
    const chunk = (delta: object, reason: string | null = null) => ({
      ...{...head, object: 'chat.completion.chunk'},
      choices: [{index: 0, delta, logprobs: null, finish_reason: reason}],
    });
    expect(eventsOf(text)).to.deep.equal([
      chunk({role: 'assistant', content: ''}),
      chunk({content: 'a'}),
      chunk({content: 'b'}),
      chunk({}, 'stop'),
      'done',
    ]);
  });

  it('comes as events of a completion with each choice by its number, and its tokens if asked for', async () => {
    const {text} = await complete({stream: true, n: 2, stream_options: {include_usage: true}});
    const chunk = (index: number, text: string, reason: string | null = null) => ({
      ...{...head, object: 'text_completion', usage: null},
      choices: [{index, text, logprobs: null, finish_reason: reason}],
    });
    const events = eventsOf(text);
    expect(events.slice(0, 2)).to.deep.equal([chunk(0, ''), chunk(1, '')]);
    const ofChoice = (index: number) =>
      events
        .slice(2, -2)
        .filter((event) => (event as {choices: {index: number}[]}).choices[0].index === index);
    expect(ofChoice(0)).to.deep.equal([chunk(0, 'a'), chunk(0, 'b'), chunk(0, '', 'stop')]);
    expect(ofChoice(1)).to.deep.equal([chunk(1, 'a'), chunk(1, 'b'), chunk(1, '', 'length')]);
    expect(events.slice(-2)).to.deep.equal([
      {
        ...{...head, object: 'text_completion', choices: []},
        usage: {prompt_tokens: 21, completion_tokens: 4, total_tokens: 25},
      },
      'done',
    ]);
  });

  it('ends with an error and without [DONE] where the generation breaks off', async () => {
    scripts = [{pieces: ['a'], error: new Error('worker died')}];
    const {status, text} = await chat({stream: true});
    expect(status).to.equal(200); // it is out by then
    const events = eventsOf(text);
    expect(events.at(-1)).to.deep.equal({
      error: {message: 'worker died', type: 'server_error', param: null, code: 'stream_broken'},
    });
    expect(asked[0].signal.aborted).to.equal(true);
  });

  it('is the error alone where nothing has come by then, whole or streamed', async () => {
    for (const stream of [false, true]) {
      scripts = [];
      scripts[asked.length] = {pieces: [], error: new ServeError(503, 'worker-gone', 'gone', 1)};
      const {status, headers, text} = await chat({stream});
      expect([status, headers['retry-after']]).to.deep.equal([503, '1']);
      expect(JSON.parse(text)).to.deep.equal({
        error: {message: 'gone', type: 'server_error', param: null, code: 'worker_gone'},
      });
    }
  });

  it('gives the other choices up where one fails', async () => {
    scripts = [
      {pieces: ['a', 'b', 'c', 'd']},
      {pieces: [], error: new ServeError(400, 'empty-prompt', 'empty')},
    ];
    expect((await chat({n: 2})).status).to.equal(400);
    expect(asked.map(({signal}) => signal.aborted)).to.deep.equal([true, true]);
  });

  for (const [status, code, type] of [
    [400, 'some-thing-wrong', 'invalid_request_error'],
    [401, 'invalid-api-key', 'authentication_error'],
    [429, 'queue-full', 'rate_limit_error'],
    [499, 'gone', 'invalid_request_error'],
    [500, 'broken', 'server_error'],
    [504, 'deadline', 'server_error'],
  ] as const) {
    it(`names an error with status ${status} ${type}`, async () => {
      scripts = [{pieces: [], error: new ServeError(status, code, 'why', undefined, 'messages.0')}];
      const answer = await chat({});
      expect(answer.status).to.equal(status);
      expect(JSON.parse(answer.text)).to.deep.equal({
        error: {message: 'why', type, param: 'messages.0', code: code.replaceAll('-', '_')},
      });
    });
  }

  it('refuses a model that is no language model, and one that is unknown', async () => {
    const wrong = await complete({model: 'sum'});
    expect(wrong.status).to.equal(400);
    const {error} = JSON.parse(wrong.text) as {error: {message: string; code: string}};
    expect(error.code).to.equal('not_a_language_model');
    expect(error.message).to.contain('"sum" is no language model').and.contain('/v1/models/sum:predict');
    expect((await chat({model: 'nothing'})).status).to.equal(404);
    expect(asked).to.deep.equal([]);
  });

  it('counts the tokens of prompts and of answers', async () => {
    await chat({n: 2});
    const {text} = await metrics.text();
    expect(text).to.contain('sparsify_tokens_total{model="lm",kind="prompt"} 21');
    expect(text).to.contain('sparsify_tokens_total{model="lm",kind="completion"} 4');
  });

  it('tells the log and the metrics which model was asked', async () => {
    const served: string[] = [];
    fastify.addHook('onResponse', (request, _reply, done) => {
      served.push(request.servedModel);
      done();
    });
    await chat({});
    await chat({model: 'nothing'});
    expect(served).to.deep.equal(['lm', '']);
  });

  describe('is drawn', () => {
    const requestsOf = async (asking: Promise<{status: number; text: string}>) => {
      const {status, text} = await asking;
      expect(status, text).to.equal(200);
      return asked.map(({request}) => request);
    };
    const plain = {temperature: 1, topP: 1, stop: []};

    it('as the API has it by default', async () => {
      expect(await requestsOf(chat({}))).to.deep.equal([{...plain, prompt: MESSAGES}]);
      expect(asked[0].version).to.equal(VERSIONS.lm);
      asked = [];
      expect(await requestsOf(complete({}))).to.deep.equal([{...plain, prompt: 'Hello', maxTokens: 16}]);
    });

    for (const [body, expected] of [
      [{temperature: 0}, {temperature: 0}],
      [{temperature: null, top_p: null, stop: null, seed: null, min_p: null, top_k: null, n: null}, {}],
      [{top_p: 0.5}, {topP: 0.5}],
      [{top_k: 5}, {topK: 5}],
      [{top_k: 1}, {topK: 1}],
      [{top_k: 0}, {}],
      [{top_k: -1}, {}],
      [{min_p: 0}, {minP: 0}],
      [{min_p: 0.25}, {minP: 0.25}],
      [{stop: 'x'}, {stop: ['x']}],
      [{stop: ['x', 'y']}, {stop: ['x', 'y']}],
      [{sparse: false}, {dense: true}],
      [{sparse: true}, {}],
      [{max_tokens: 7}, {maxTokens: 7}],
      [{max_completion_tokens: 8}, {maxTokens: 8}],
      [{max_tokens: 7, max_completion_tokens: 8}, {maxTokens: 8}],
      [{max_tokens: 7, max_completion_tokens: null}, {maxTokens: 7}],
      [{max_tokens: null}, {}],
      [{seed: 0}, {seed: 0}],
      [{seed: -1}, {seed: -1}],
      [{seed: -(2 ** 31)}, {seed: -(2 ** 31)}],
      [{seed: 2 ** 32 - 1}, {seed: 2 ** 32 - 1}],
      [{seed: 2 ** 32}, {seed: 1}], // 1 above, 0 below
      [{seed: 3 * 2 ** 32 + 5}, {seed: 6}], // 3 xor 5
      [{seed: -(2 ** 31) - 1}, {seed: 0x7fffffff}], // all ones above, twice, and 7fffffff below
    ] as const) {
      it(`by ${JSON.stringify(body)}`, async () => {
        expect(await requestsOf(chat(body))).to.deep.equal([{...plain, prompt: MESSAGES, ...expected}]);
      });
    }

    it('for each choice by a seed of its own', async () => {
      const requests = await requestsOf(chat({n: 3, seed: 5}));
      expect(requests.map(({seed}) => seed)).to.deep.equal([5, 6, 7]);
      asked = [];
      expect((await requestsOf(chat({n: 2}))).map(({seed}) => seed)).to.deep.equal([undefined, undefined]);
    });

    for (const [prompt, expected] of [
      ['a', ['a']],
      [[1, 2], [[1, 2]]],
      [
        ['a', 'b'],
        ['a', 'b'],
      ],
      [
        [[1, 2], [3]],
        [[1, 2], [3]],
      ],
      [
        ['a', [3]],
        ['a', [3]],
      ],
    ] as const) {
      it(`from each prompt of ${JSON.stringify(prompt)}`, async () => {
        const requests = await requestsOf(complete({prompt}));
        expect(requests.map((request) => request.prompt)).to.deep.equal(expected);
      });
    }

    it('several times from each prompt', async () => {
      const requests = await requestsOf(complete({prompt: ['a', 'b'], n: 2, max_tokens: 3}));
      expect(requests.map(({prompt, maxTokens}) => [prompt, maxTokens])).to.deep.equal(
        ['a', 'a', 'b', 'b'].map((prompt) => [prompt, 3]),
      );
    });
  });
});
