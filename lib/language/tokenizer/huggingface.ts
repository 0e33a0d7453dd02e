/**
 * @file The part of `@huggingface/tokenizers` 0.2 that is used here, with types: its own declarations import each other
 * without file extensions, which TypeScript does not resolve for ES modules.
 */
import * as library from '@huggingface/tokenizers';

/** Makes tokens of words. */
interface Model {
  (words: readonly string[]): string[];
  /** Text of every id; ids without a token are holes. */
  readonly vocab: readonly (string | undefined)[];
  readonly tokens_to_ids: ReadonlyMap<string, number>;
  readonly unk_token_id: number | undefined;
}

export interface HuggingFaceTokenizer {
  readonly model: Model;
  /** Puts special tokens around those of a text; null if there is none. */
  readonly post_processor:
    ((tokens: string[], pair: null, addSpecialTokens: boolean) => {tokens: string[]}) | null;
}

type Constructor = new (tokenizer: object, config: object) => HuggingFaceTokenizer;

/** The class itself. */
export const HuggingFaceTokenizer = library.Tokenizer as unknown as Constructor;

interface Splitter {
  readonly SplitPreTokenizer: new (config: object) => {readonly pattern: RegExp};
}

/** A regular expression in Oniguruma's syntax, as `tokenizer.json` has them. @throws {SyntaxError} If it is malformed. */
export function oniguruma(expression: string): RegExp {
  const {SplitPreTokenizer} = library as unknown as Splitter; // its declarations lose it
  return new SplitPreTokenizer({pattern: {Regex: expression}, invert: false}).pattern;
}
