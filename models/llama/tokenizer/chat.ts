/** @file Chat messages as the text that a model was trained on, by its own Jinja template and `@huggingface/jinja`. */
import {Template} from '@huggingface/jinja';

import {ModelError} from '../../../lib/errors.js';
import {FLAG, OBJECT, TEXT, checkOptions, type OptionRules} from '../../../lib/option-rules.js';
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
const parsed = new WeakMap<TokenizerSource, Map<string, Template>>();

/**
 * Writes messages as one text.
 *
 * @param source What the tokenizer was made of; its config has the template and the special tokens.
 * @param messages The chat so far, at least one.
 * @returns The text; encode it without adding special tokens, the template has written them.
 * @throws {ModelError} `no-chat-template` if the model has none; `chat-template` if the template is too long or refuses the
 *   messages.
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
  const special = ['bos_token', 'eos_token', 'unk_token', 'pad_token'].map((key) => [
    key,
    tokenText(config[key]) ?? '',
  ]);
  try {
    return compiled(source, template).render({
      ...(Object.fromEntries(special) as Record<string, string>),
      ...variables,
      messages: messages.map((message) => ({...message})),
      add_generation_prompt: addGenerationPrompt,
    });
  } catch (cause) {
    if (cause instanceof ModelError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ModelError(
      'chat-template',
      `the chat template of this model cannot write these messages: ${reason}; most want user and assistant in turn, ` +
        'with at most one system message before them',
      {roles: messages.map(({role}) => role)},
      {cause},
    );
  }
}

function compiled(source: TokenizerSource, name: string): Template {
  const known = parsed.get(source) ?? new Map<string, Template>();
  parsed.set(source, known);
  let template = known.get(name);
  if (template === undefined) {
    const texts = templates(source.config['chat_template']);
    const text = texts.get(name);
    if (text === undefined) throw noTemplate(name, [...texts.keys()]);
    if (text.length > MAX_TEMPLATE_LENGTH) throw tooLong(name, text.length);
    template = new Template(text);
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
