/** @file What a tokenizer is made of: the contents of `tokenizer.json` and `tokenizer_config.json`. */

/** As Hugging Face lays it out; an importer of another format builds the same from its own metadata. */
export interface TokenizerSource {
  /** Parsed `tokenizer.json`. */
  readonly tokenizer: Readonly<Record<string, unknown>>;
  /** Parsed `tokenizer_config.json`: special tokens, `chat_template`; empty if there is none. */
  readonly config: Readonly<Record<string, unknown>>;
}
