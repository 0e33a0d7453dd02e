/**
 * @file The part of `@huggingface/tokenizers` 0.2 that is used here, with types: its own declarations import each other
 * without file extensions, which TypeScript does not resolve for ES modules.
 */
import {Tokenizer} from '@huggingface/tokenizers';

export interface HuggingFaceTokenizer {
  /** Its vocabulary has the text of every id; ids without a token are holes. */
  readonly model: {readonly vocab: readonly (string | undefined)[]} | null;
  encode(text: string, options: {add_special_tokens: boolean}): {ids: number[]};
  /** @param ids At least one. */
  decode(ids: number[], options: {clean_up_tokenization_spaces: boolean}): string;
  token_to_id(token: string): number | undefined;
  get_added_tokens_decoder(): Map<number, {special: boolean}>;
}

type Constructor = new (tokenizer: object, config: object) => HuggingFaceTokenizer;

/** The class itself. */
export const HuggingFaceTokenizer = Tokenizer as unknown as Constructor;
