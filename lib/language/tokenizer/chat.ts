/** @file Chat messages as the text that a model was trained on, by its own Jinja template. */
import {ModelError} from '../../errors.js';
import {FLAG, OBJECT, TEXT, checkOptions, type OptionRules} from '../../option-rules.js';
import {PythonTemplate, Raised} from './jinja/interpreter.js';
import type {TokenizerSource} from './source.js';
import {tokenText} from './tokenizer.js';

export interface ChatMessage {
  /** `system`, `user`, `assistant`, or another that the template knows. */
  readonly role: string;
  readonly content: string;
}

export interface ChatOptions {
  /** End with the start of the assistant's answer. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** Which template, where a model has several. Default `default`. */
  readonly template?: string;
  /** More variables for the template, such as `tools` or `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

const RULES: OptionRules<ChatOptions> = {addGenerationPrompt: FLAG, template: TEXT, variables: OBJECT};

/** Templates of published models are below 20 KB. */
const MAX_TEMPLATE_LENGTH = 1024 ** 2;

/** Parsing takes milliseconds, and a chat uses the same template every turn. */
const parsed = new WeakMap<TokenizerSource, Map<string, PythonTemplate>>();

/**
 * Writes messages as one text.
 *
 * @param source What the tokenizer was made of; its config has the template and the special tokens.
 * @param messages The chat so far, at least one.
 * @returns The text; encode it without adding special tokens, the template has written them.
 * @throws {ModelError} `no-chat-template` if the model has none; `chat-template` if the template is too long, refuses the
 *   messages, or has an expression that cannot be computed as Python's jinja2 computes it.
 * @example
 * applyChatTemplate(tokenizer.source, [{role: 'user', content: 'Hello'}]);
 * // '<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n'
 */
export function applyChatTemplate(
  source: TokenizerSource,
  messages: readonly ChatMessage[],
  options: ChatOptions = {},
): string {
  checkOptions('applyChatTemplate', options, RULES);
  const {addGenerationPrompt = true, template = 'default', variables = {}} = options;
  const {config} = source;
  try {
    // As transformers calls templates: `tools` and `documents` are always there, None where the caller has none.
    return compiled(source, template).render({
      ...specialTokens(config),
      tools: null,
      documents: null,
      ...variables,
      messages: messages.map((message) => ({...message})),
      add_generation_prompt: addGenerationPrompt,
    });
  } catch (cause) {
    if (cause instanceof ModelError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ModelError(
      'chat-template',
      cause instanceof Raised
        ? `the chat template of this model cannot write these messages: ${reason}; most want user and assistant in turn, ` +
            'with at most one system message before them'
        : `the chat template of this model cannot be computed as Python computes it: ${reason}; give the prompt as one ` +
            'text, or replace chat_template in its tokenizer_config.json',
      {roles: messages.map(({role}) => role)},
      {cause},
    );
  }
}

const SPECIAL_TOKENS = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'].map((name) => `${name}_token`);

/** Texts of the special tokens that the model has: a template may ask which are defined. */
function specialTokens(config: TokenizerSource['config']): Record<string, unknown> {
  const tokens: Record<string, unknown> = {};
  for (const key of SPECIAL_TOKENS) {
    const token = tokenText(config[key]);
    if (token !== null) tokens[key] = token;
  }
  const more = config['additional_special_tokens'];
  if (Array.isArray(more) && more.length > 0) tokens['additional_special_tokens'] = more.map(tokenText);
  return tokens;
}

function compiled(source: TokenizerSource, name: string): PythonTemplate {
  const known = parsed.get(source) ?? new Map<string, PythonTemplate>();
  parsed.set(source, known);
  let template = known.get(name);
  if (template === undefined) {
    const texts = templates(source.config['chat_template']);
    const text = texts.get(name);
    if (text === undefined) throw noTemplate(name, [...texts.keys()]);
    if (text.length > MAX_TEMPLATE_LENGTH) throw tooLong(name, text.length);
    template = new PythonTemplate(text);
    known.set(name, template);
  }
  return template;
}

/** By name: `chat_template` is one text, or a list of `{name, template}`. */
function templates(value: unknown): Map<string, string> {
  if (typeof value === 'string') return new Map([['default', value]]);
  const found = new Map<string, string>();
  for (const entry of Array.isArray(value) ? (value as unknown[]) : []) {
    if (typeof entry !== 'object' || entry === null) continue;
    const {name, template} = entry as Record<string, unknown>;
    if (typeof name === 'string' && typeof template === 'string') found.set(name, template);
  }
  return found;
}

function noTemplate(name: string, known: readonly string[]): ModelError {
  return new ModelError(
    'no-chat-template',
    known.length === 0
      ? 'this model has no chat template, so how it was trained to chat is not known: give the prompt as one text, or ' +
          'use an instruction-tuned checkpoint'
      : `this model has no chat template "${name}"; it has ${known.join(', ')}`,
    {name, known},
  );
}

function tooLong(name: string, length: number): ModelError {
  return new ModelError(
    'chat-template',
    `the chat template "${name}" of this model has ${length} characters; at most ${MAX_TEMPLATE_LENGTH} are parsed: give the ` +
      'prompt as one text, or replace chat_template in its tokenizer_config.json',
    {name, length},
  );
}
