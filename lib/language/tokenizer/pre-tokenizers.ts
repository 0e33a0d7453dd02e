/**
 * @file How byte-level BPE vocabularies cut a text into words before merging: what `tokenizer.ggml.pre` of a GGUF names.
 * The expressions are those of the models' own `tokenizer.json`, as llama.cpp (src/llama-vocab.cpp) lists them under
 * these names; each is applied to the pieces of the one before it.
 */

export interface PreTokenizer {
  /** In Oniguruma's syntax, as `tokenizer.json` has them. */
  readonly splits: readonly string[];
  /** Whether a word that is in the vocabulary is taken whole, without merging. */
  readonly ignoreMerges?: boolean;
  /** Whether the text is brought into Unicode's composed form first. */
  readonly composed?: boolean;
  /** Whether a sequence starts with BOS where the file does not say. */
  readonly startsWithBos?: boolean;
}

const GPT2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;
const DIGIT = String.raw`\p{N}`;
const WORDS = (digits: string) =>
  String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const LLAMA3 = WORDS(String.raw`\p{N}{1,3}`);
const QWEN2 = WORDS(DIGIT);

const UPPER = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`;
const LOWER = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`;
const CASED = (contraction: string, digits: string) =>
  String.raw`[^\r\n\p{L}\p{N}]?${UPPER}*${LOWER}+${contraction}|[^\r\n\p{L}\p{N}]?${UPPER}+${LOWER}*${contraction}|${digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const TEKKEN = CASED('', DIGIT);
const GPT4O = CASED(String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)?`, String.raw`\p{N}{1,3}`);

/** What llama.cpp does with files that name none: punctuation and groups of three digits apart. */
const DEFAULT = [String.raw`[\p{P}\$\+<=>\^~\|]+`, GPT2, String.raw`\p{N}+`, '[0-9][0-9][0-9]'];

const llama3: PreTokenizer = {splits: [LLAMA3], ignoreMerges: true, startsWithBos: true};
const gpt2: PreTokenizer = {splits: [GPT2]};
const singleDigits: PreTokenizer = {splits: [DIGIT, GPT2]};

/** By the value of `tokenizer.ggml.pre`. */
export const PRE_TOKENIZERS: Readonly<Record<string, PreTokenizer>> = {
  default: {splits: DEFAULT},
  ...{'llama-bpe': llama3, llama3, 'llama-v3': llama3, falcon3: llama3, pixtral: llama3},
  ...{dbrx: {splits: [LLAMA3]}, 'smaug-bpe': {splits: [LLAMA3]}},
  ...{qwen2: {splits: [QWEN2], composed: true}, 'deepseek-r1-qwen': {splits: [QWEN2], composed: true}},
  stablelm2: {splits: [QWEN2]},
  ...{'gpt-2': gpt2, 'phi-2': gpt2, mpt: gpt2, olmo: gpt2, jais: gpt2},
  ...{smollm: singleDigits, starcoder: singleDigits, refact: singleDigits, 'command-r': singleDigits},
  ...{codeshell: singleDigits, exaone: singleDigits, minerva: singleDigits, 'minerva-7b': singleDigits},
  tekken: {splits: [TEKKEN], ignoreMerges: true, startsWithBos: true},
  'gpt-4o': {splits: [GPT4O]},
};
