/** @file What a GGUF file says of its tokens, checked. */
import {ModelError} from '../../errors.js';

/** `tokenizer.ggml.token_type`, as ggml numbers them. */
export const TokenType = {Normal: 1, Unknown: 2, Control: 3, UserDefined: 4, Unused: 5, Byte: 6} as const;

/** Tokens are at most this long: the longest of published vocabularies is 256 bytes of spaces. */
const MAX_TOKEN_LENGTH = 4096;

/** Metadata of the tokenizer: keys are given without `tokenizer.ggml.` in front. */
export class GgufVocabulary {
  /** Text of every id. */
  readonly tokens: readonly string[];
  /** `TokenType` of every id. */
  readonly types: readonly number[];

  /** @throws {ModelError} `malformed-tokenizer` naming the key. */
  constructor(
    private readonly metadata: ReadonlyMap<string, unknown>,
    readonly path: string,
  ) {
    this.tokens = this.strings('tokens');
    const long = this.tokens.findIndex((token) => token.length > MAX_TOKEN_LENGTH);
    if (long >= 0)
      throw this.error('tokens', `texts of at most ${MAX_TOKEN_LENGTH} characters (token ${long})`);
    this.types = this.numbers('token_type') ?? this.tokens.map(() => TokenType.Normal);
  }

  /** Ids by text, without a prototype: vocabularies of code have a token `__proto__`. The first of equal texts counts. */
  ids(): Record<string, number> {
    const ids = Object.create(null) as Record<string, number>;
    for (const [id, token] of this.tokens.entries()) ids[token] ??= id;
    return ids;
  }

  /** A list of strings. */
  strings(key: string): readonly string[] {
    const value = this.get(key);
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
    throw this.error(key, 'a list of strings');
  }

  /** A list with one number a token, or null if there is none. */
  numbers(key: string): readonly number[] | null {
    const value = this.get(key);
    if (value === undefined) return null;
    const isList = Array.isArray(value) && value.length === this.tokens.length;
    if (isList && value.every((item) => typeof item === 'number' && !Number.isNaN(item)))
      return value as number[];
    throw this.error(key, `a list of ${this.tokens.length} numbers, one a token`);
  }

  /** The text of the token that `key` names, or null. */
  special(key: string): string | null {
    const value = this.get(key);
    if (value === undefined) return null;
    const id = Number(value);
    return Number.isInteger(id) && id >= 0 && id < this.tokens.length ? this.tokens[id] : null;
  }

  flag(key: string, otherwise: boolean): boolean {
    const value = this.get(key) ?? otherwise;
    if (typeof value === 'boolean') return value;
    throw this.error(key, 'true or false');
  }

  /** A text, or null. */
  text(key: string): string | null {
    const value = this.get(key);
    return typeof value === 'string' ? value : null;
  }

  /** The chat template, or null. */
  chatTemplate(): string | null {
    const value = this.metadata.get('tokenizer.chat_template');
    return typeof value === 'string' ? value : null;
  }

  error(key: string, allowed: string): ModelError {
    return new ModelError(
      'malformed-tokenizer',
      `"tokenizer.ggml.${key}" of ${this.path} is not what it must be: ${allowed}; convert the model again`,
      {path: this.path, key},
    );
  }

  private get(key: string): unknown {
    return this.metadata.get(`tokenizer.ggml.${key}`);
  }
}
