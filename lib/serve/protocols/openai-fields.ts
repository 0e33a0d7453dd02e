/**
 * @file The fields of requests to the OpenAI-style endpoints: those that are understood, with their ranges; those that say
 * nothing of the text; and those that cannot be met. Every other one is refused by its name, since a client that sends it
 * counts on it.
 */
import {Type, type Static} from 'typebox';
import {nearest} from '../../errors.js';
import {checker} from '../request.js';
import {isHarmless, unsupported} from './chat-messages.js';

const Nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T, description?: string) =>
  Type.Optional(Type.Union([schema, Type.Null()], description === undefined ? {} : {description}));
const MAX_COUNT = 2 ** 31 - 1;
const Count = () =>
  Nullable(Type.Integer({minimum: 1, maximum: MAX_COUNT}), `a whole number from 1 to ${MAX_COUNT}`);

/** What both kinds of request have. */
const SAMPLING = {
  model: Type.String({description: 'the name of a model, as GET /v1/models lists them'}),
  stream: Nullable(Type.Boolean(), 'true or false'),
  /** Ours: false computes with thresholds off, to see what sparsity changes. */
  sparse: Nullable(Type.Boolean(), 'true or false'),
  stream_options: Nullable(Type.Record(Type.String(), Type.Unknown()), 'an object'),
  max_tokens: Count(),
  temperature: Nullable(Type.Number({minimum: 0, maximum: 2}), 'a number from 0 to 2'),
  top_p: Nullable(Type.Number({exclusiveMinimum: 0, maximum: 1}), 'a number above 0, up to 1'),
  /** Of vLLM and llama.cpp; what is below 1 leaves all tokens in. */
  top_k: Nullable(
    Type.Integer({minimum: -1, maximum: MAX_COUNT}),
    'a whole number; 0 and -1 draw from all tokens',
  ),
  min_p: Nullable(Type.Number({minimum: 0, maximum: 1}), 'a number from 0 to 1'),
  seed: Nullable(Type.Integer({minimum: -(2 ** 63), maximum: 2 ** 64}), 'a whole number of 64 bits'),
  n: Nullable(Type.Integer({minimum: 1, maximum: 16}), 'a whole number from 1 to 16'),
  stop: Nullable(
    Type.Union([Type.String({minLength: 1}), Type.Array(Type.String({minLength: 1}), {maxItems: 16})]),
    'a text that is not empty, or an array of up to 16',
  ),
};
const CHAT = {
  ...SAMPLING,
  messages: Type.Array(Type.Record(Type.String(), Type.Unknown()), {
    ...{minItems: 1, maxItems: 4096},
    description: 'an array of 1 to 4096 objects, as {"role": "user", "content": "Hello"}',
  }),
  max_completion_tokens: Count(),
};
const Ids = Type.Array(Type.Integer({minimum: 0}), {minItems: 1});
const COMPLETION = {
  ...SAMPLING,
  prompt: Type.Union(
    [Type.String(), Ids, Type.Array(Type.Union([Type.String(), Ids]), {minItems: 1, maxItems: 16})],
    {description: 'text, an array of token ids, or an array of up to 16 of either'},
  ),
};

export type SamplingBody = Static<ReturnType<typeof Type.Object<typeof SAMPLING>>>;
export type ChatBody = Static<ReturnType<typeof Type.Object<typeof CHAT>>>;
export type CompletionBody = Static<ReturnType<typeof Type.Object<typeof COMPLETION>>>;

/** They say who asks, what is to be kept of it, or how fast it should go, and nothing of the text. */
const BESIDE_THE_TEXT: ReadonlySet<string> = new Set([
  ...['user', 'metadata', 'store', 'service_tier', 'safety_identifier', 'prompt_cache_key'],
  ...['prompt_cache_retention', 'prediction', 'parallel_tool_calls', 'cache_prompt', 'request_id'],
]);

/** Wishes that change an answer and cannot be met, with the values that change nothing. */
const UNSUPPORTED: Readonly<Record<string, readonly unknown[]>> = {
  tools: [[]],
  functions: [[]],
  tool_choice: ['none', 'auto'],
  function_call: ['none', 'auto'],
  response_format: [{type: 'text'}],
  logprobs: [false],
  top_logprobs: [0],
  logit_bias: [{}],
  presence_penalty: [0],
  frequency_penalty: [0],
  repetition_penalty: [1],
  repeat_penalty: [1],
  length_penalty: [1],
  typical_p: [1],
  best_of: [1],
  use_beam_search: [false],
  echo: [false],
  suffix: [''],
  audio: [],
  modalities: [['text']],
  reasoning_effort: ['none'],
  verbosity: ['medium'],
  web_search_options: [],
  min_tokens: [0],
  stop_token_ids: [[]],
  ignore_eos: [false],
  include_stop_str_in_output: [false],
  skip_special_tokens: [true],
  spaces_between_special_tokens: [true],
  add_generation_prompt: [true],
  continue_final_message: [false],
  chat_template: [],
  chat_template_kwargs: [{}],
  documents: [[]],
};
const STREAM_OPTIONS: Readonly<Record<string, readonly unknown[]>> = {
  include_usage: [true, false],
  include_obfuscation: [false],
  continuous_usage_stats: [false],
};

const checkChatTypes = checker(Type.Object(CHAT));
const checkCompletionTypes = checker(Type.Object(COMPLETION));

/** @throws {ServeError} 400 that names the field. */
export function checkChat(json: unknown): ChatBody {
  checkNames(json, CHAT);
  return checkChatTypes(json);
}

/** @throws {ServeError} 400 that names the field. */
export function checkCompletion(json: unknown): CompletionBody {
  checkNames(json, COMPLETION);
  return checkCompletionTypes(json);
}

function checkNames(json: unknown, own: object): void {
  for (const [field, value] of entriesOf(json)) {
    if (value === null || Object.hasOwn(own, field) || BESIDE_THE_TEXT.has(field)) continue;
    if (!Object.hasOwn(UNSUPPORTED, field)) {
      const [near] = nearest(field, Object.keys(own));
      const hint = near === undefined ? '' : ` (there is "${near}")`;
      throw unsupported(field, `is not known here${hint}`, 'unknown-parameter');
    }
    if (!isHarmless(value, UNSUPPORTED[field])) throw unsupported(field, 'is not supported here');
  }
  for (const [field, value] of entriesOf((json as {stream_options?: unknown} | null)?.stream_options)) {
    const harmless = Object.hasOwn(STREAM_OPTIONS, field) ? STREAM_OPTIONS[field] : [];
    if (!isHarmless(value, harmless)) throw unsupported(`stream_options.${field}`, 'is not supported here');
  }
}

function entriesOf(value: unknown): [string, unknown][] {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
}
