/** @file Text to token ids and back. */
import {ModelError} from '../../errors.js';
import {FLAG, checkOptions, type OptionRules} from '../../option-rules.js';
import {createPipeline} from './pipeline/pipeline.js';
import type {TokenizerSource} from './source.js';

export interface EncodeOptions {
  /** Put BOS (or what the tokenizer says) around the text. Default false: chat templates write theirs themselves. */
  readonly addSpecialTokens?: boolean;
}

export interface DecodeOptions {
  /** Leave out control tokens such as `<|im_end|>`. Default false. */
  readonly skipSpecialTokens?: boolean;
}

const ENCODE_RULES: OptionRules<EncodeOptions> = {addSpecialTokens: FLAG};
const DECODE_RULES: OptionRules<DecodeOptions> = {skipSpecialTokens: FLAG};

/** A tokenizer of a language model. */
export interface LlamaTokenizer {
  /** What it was made of; saved beside the model. */
  readonly source: TokenizerSource;
  /** Ids are below this. A model may have more, which no text leads to. */
  readonly vocabularySize: number;
  /** Null if there is none. */
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  /** Control tokens: `decode` can leave them out. */
  readonly specialTokenIds: ReadonlySet<number>;
  /** @returns The ids of a text, which may hold control tokens as text. */
  encode(text: string, options?: EncodeOptions): number[];
  /**
   * @param ids Ids; those without a token, which models can have beyond their vocabulary, give no text.
   * @returns Their text, spaces as they are; bytes that are no character become U+FFFD.
   * @throws {ModelError} `invalid-token` for what is no id.
   */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** The id of a token, such as `<|im_end|>`, or null. */
  tokenId(token: string): number | null;
}

/**
 * Makes a tokenizer.
 *
 * @param source Contents of `tokenizer.json` and `tokenizer_config.json`, or what a GGUF's metadata were rebuilt to.
 * @throws {ModelError} `malformed-tokenizer` if a part is missing, or if a part or an option of one is not known: it would
 *   cut texts otherwise than the library that the model was trained with.
 * @example
 * const tokenizer = createTokenizer(checkpoint.tokenizer);
 * tokenizer.decode(tokenizer.encode('Hello world')); // 'Hello world'
 */
export function createTokenizer(source: TokenizerSource): LlamaTokenizer {
  const pipeline = createPipeline(source);
  const {vocabulary} = pipeline;
  const id = (token: string) => pipeline.idOf(token) ?? null;
  const special = (key: string) => {
    const token = tokenText(source.config[key]);
    return token === null ? null : id(token);
  };
  const specialTokenIds = new Set(pipeline.added.filter((token) => token.special).map((token) => token.id));
  return {
    source,
    vocabularySize: vocabulary.length,
    bosTokenId: special('bos_token'),
    eosTokenId: special('eos_token'),
    specialTokenIds,
    encode: (text, options = {}) => {
      checkOptions('encode', options, ENCODE_RULES);
      const {addSpecialTokens = false} = options;
      return pipeline.encode(text, addSpecialTokens);
    },
    decode: (ids, options = {}) => {
      checkOptions('decode', options, DECODE_RULES);
      const {skipSpecialTokens = false} = options;
      const known: number[] = [];
      for (const value of Array.from(ids)) {
        if (!Number.isInteger(value) || value < 0) throw invalidToken(value);
        if (vocabulary[value] === undefined || (skipSpecialTokens && specialTokenIds.has(value))) continue;
        known.push(value);
      }
      return known.length === 0 ? '' : pipeline.decode(known);
    },
    tokenId: id,
  };
}

/** The text of a token in tokenizer_config.json: itself, or the `content` of a description. */
export function tokenText(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'object' && value !== null && 'content' in value) return tokenText(value.content);
  return null;
}

function invalidToken(value: unknown): ModelError {
  return new ModelError(
    'invalid-token',
    `${String(value)} is no token id; ids are whole numbers from 0 on: give what \`encode\` returned`,
    {value},
  );
}
