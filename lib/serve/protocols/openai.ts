/**
 * @file OpenAI-style endpoints for language models: chat completions, completions and the list of models, whole or
 * streamed. What a model here cannot do (tools, log probabilities, penalties, images) is refused, never ignored
 * (openai-fields.ts, chat-messages.ts).
 */
import {randomUUID} from 'node:crypto';
import {Readable} from 'node:stream';
import type {FastifyInstance, FastifyReply, FastifyRequest} from 'fastify';
import type {Generation} from '../../language/decoding/generate.js';
import {badRequest, type ServeError} from '../http-errors.js';
import type {GenerationRequest, LoadedInfo} from '../messages.js';
import type {ModelVersion} from '../model-repository.js';
import {clientSignal, errorHandler, parseJson, type Services} from '../request.js';
import {chatMessages} from './chat-messages.js';
import {checkChat, checkCompletion, type SamplingBody} from './openai-fields.js';
import {TextEvents} from './text-events.js';
import {openAiModel} from './tensorflow-serving.js';

/** The API's own default of completions. */
const COMPLETION_TOKENS = 16;

/** One answer to write. */
interface Asked {
  readonly kind: 'chat' | 'text';
  readonly version: ModelVersion;
  /** One for each choice. */
  readonly requests: readonly GenerationRequest[];
  readonly body: SamplingBody;
}

/** Adds the routes. */
export function openAi(fastify: FastifyInstance, services: Services): void {
  fastify.setErrorHandler(errorHandler(openAiError));

  fastify.get('/v1/models', () => ({
    object: 'list',
    data: services.repository.names.map((name) => openAiModel(name, services.repository.all(name))),
  }));

  fastify.post('/v1/chat/completions', (request, reply) => {
    const body = checkChat(parseJson(request.body));
    const messages = chatMessages(body.messages);
    const version = languageModel(services, body.model, request);
    const maxTokens = body.max_completion_tokens ?? body.max_tokens ?? undefined;
    const requests = repeated(generation(body, messages, maxTokens), body);
    return answer(services, {kind: 'chat', version, requests, body}, request, reply);
  });

  fastify.post('/v1/completions', (request, reply) => {
    const body = checkCompletion(parseJson(request.body));
    const version = languageModel(services, body.model, request);
    const prompts = promptsOf(body.prompt);
    const maxTokens = body.max_tokens ?? COMPLETION_TOKENS;
    const requests = prompts.flatMap((prompt) => repeated(generation(body, prompt, maxTokens), body));
    return answer(services, {kind: 'text', version, requests, body}, request, reply);
  });
}

/** Errors as OpenAI's clients read them. */
function openAiError({message, code, status, field}: ServeError): object {
  const types: Readonly<Record<number, string>> = {401: 'authentication_error', 429: 'rate_limit_error'};
  const type = types[status] ?? (status < 500 ? 'invalid_request_error' : 'server_error');
  return {error: {message, type, param: field ?? null, code: code.replaceAll('-', '_')}};
}

function languageModel(
  {repository}: Services,
  name: string,
  request: FastifyRequest,
): ModelVersion & {readonly info: LoadedInfo} {
  const version = repository.choose(name);
  request.servedModel = name;
  if (version.info.isLanguageModel) return version;
  throw badRequest(
    `"${name}" is no language model: ask it with POST /v1/models/${name}:predict`,
    'not-a-language-model',
  );
}

function generation(
  {temperature, top_p: topP, top_k: topK, min_p: minP, seed, stop, sparse}: SamplingBody,
  prompt: GenerationRequest['prompt'],
  maxTokens: number | undefined,
): GenerationRequest {
  return {
    prompt,
    temperature: temperature ?? 1,
    topP: topP ?? 1,
    stop: [stop ?? []].flat(),
    ...(maxTokens === undefined ? {} : {maxTokens}),
    ...(typeof topK === 'number' && topK >= 1 ? {topK} : {}),
    ...(typeof minP === 'number' ? {minP} : {}),
    ...(typeof seed === 'number' ? {seed: drawingSeed(seed)} : {}),
    ...(sparse === false ? {dense: true} : {}),
  };
}

/** As many as `n` says; with a seed each has its own, or all would be the same. */
function repeated(request: GenerationRequest, {n}: SamplingBody): GenerationRequest[] {
  return Array.from({length: n ?? 1}, (_, i) =>
    request.seed === undefined ? request : {...request, seed: request.seed + i},
  );
}

/**
 * Draws have a seed of 32 bits. Of one with 64, as clients draw them, the upper half and the sign are mixed in: its lowest bits are lost
 * already, since JSON's numbers hold 53.
 */
function drawingSeed(seed: number): number {
  if (seed >= -(2 ** 31) && seed < 2 ** 32) return seed;
  const bits = BigInt(seed);
  return Number(BigInt.asUintN(32, bits ^ (bits >> 32n) ^ (bits >> 64n)));
}

function promptsOf(prompt: string | number[] | (string | number[])[]): (string | number[])[] {
  if (typeof prompt === 'string') return [prompt];
  return prompt.every((entry) => typeof entry === 'number') ? [prompt] : prompt;
}

async function answer(
  {dispatcher, metrics}: Services,
  asked: Asked,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const {version, requests, body} = asked;
  const events = new TextEvents(requests.length);
  const signal = AbortSignal.any([clientSignal(reply), events.signal]);
  const work = Promise.all(
    requests.map(async (generation, index) => {
      const onText = (text: string) => events.text(index, text);
      const done = await dispatcher.generate(version, generation, onText, {signal});
      metrics.generated(version.model, done.promptTokens, done.tokens.length);
      events.finish(index, done);
      return done;
    }),
  );
  work.catch((error: unknown) => {
    events.fail(error);
    events.stop(); // one choice has failed, and with it the answer: nobody waits for the others
  });
  const envelope = new Envelope(asked);
  if (body.stream !== true) {
    return reply.type('application/json').send(JSON.stringify(envelope.whole(await work)));
  }
  await events.first(); // what is wrong with the request is still told by the status
  const lines = Readable.from(serverSentEvents(events, envelope, body, request));
  return reply.type('text/event-stream; charset=utf-8').header('cache-control', 'no-cache').send(lines);
}

async function* serverSentEvents(
  events: TextEvents,
  envelope: Envelope,
  body: SamplingBody,
  request: FastifyRequest,
): AsyncGenerator<string> {
  const line = (data: object) => `data: ${JSON.stringify(data)}\n\n`;
  const generations: Generation[] = [];
  try {
    for (const index of events.choices) yield line(envelope.opening(index));
    for await (const event of events) {
      if ('text' in event) {
        if (event.text !== '') yield line(envelope.piece(event.index, event.text));
      } else {
        generations.push(event.generation);
        yield line(envelope.end(event.index, event.generation));
      }
    }
    if (body.stream_options?.include_usage === true) yield line(envelope.usage(generations));
    yield 'data: [DONE]\n\n';
  } catch (error) {
    // The status is out already: the error is an event, and there is no [DONE].
    request.log.warn({err: error}, 'a stream was broken off');
    const {message} = error as Error;
    yield line({error: {message, type: 'server_error', param: null, code: 'stream_broken'}});
  } finally {
    events.stop();
  }
}

/** The objects of an answer, chat or text. */
class Envelope {
  private readonly head: object;
  private readonly isChat: boolean;
  private readonly usageField: object;

  constructor({kind, version, body}: Asked) {
    this.isChat = kind === 'chat';
    const prefix = this.isChat ? 'chatcmpl' : 'cmpl';
    this.head = {
      id: `${prefix}-${randomUUID()}`,
      created: Math.floor(Date.now() / 1000),
      model: version.model,
      system_fingerprint: `${version.model}@${version.version}`,
    };
    this.usageField = body.stream_options?.include_usage === true ? {usage: null} : {};
  }

  whole(generations: readonly Generation[]): object {
    const choices = generations.map(({text, finishReason}, index) => ({
      index,
      ...(this.isChat ? {message: {role: 'assistant', content: text, refusal: null}} : {text}),
      logprobs: null,
      finish_reason: finishReason,
    }));
    const object = this.isChat ? 'chat.completion' : 'text_completion';
    return {...this.head, object, choices, usage: usageOf(generations)};
  }

  opening(index: number): object {
    return this.chunk(index, this.isChat ? {delta: {role: 'assistant', content: ''}} : {text: ''}, null);
  }

  piece(index: number, text: string): object {
    return this.chunk(index, this.isChat ? {delta: {content: text}} : {text}, null);
  }

  end(index: number, {finishReason}: Generation): object {
    return this.chunk(index, this.isChat ? {delta: {}} : {text: ''}, finishReason);
  }

  usage(generations: readonly Generation[]): object {
    return {...this.head, object: this.chunkObject(), choices: [], usage: usageOf(generations)};
  }

  private chunk(index: number, content: object, finishReason: string | null): object {
    const choice = {index, ...content, logprobs: null, finish_reason: finishReason};
    return {...this.head, object: this.chunkObject(), choices: [choice], ...this.usageField};
  }

  private chunkObject(): string {
    return this.isChat ? 'chat.completion.chunk' : 'text_completion';
  }
}

function usageOf(generations: readonly Generation[]): object {
  const prompt = generations.reduce((sum, {promptTokens}) => sum + promptTokens, 0);
  const completion = generations.reduce((sum, {tokens}) => sum + tokens.length, 0);
  return {prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion};
}
