/**
 * @file The tokenizer in a GGUF file, rebuilt as Hugging Face's `tokenizer.json` and `tokenizer_config.json`: byte-level
 * BPE (`gpt2`) with the pre-tokenizer that the file names, or SentencePiece BPE (`llama`).
 */
import {ModelError, nearest} from '../../errors.js';
import {GgufVocabulary, TokenType} from './gguf-vocabulary.js';
import {PRE_TOKENIZERS, type PreTokenizer} from './pre-tokenizers.js';
import {mergesByScore, SPACE, sentencePieceParts} from './sentencepiece.js';
import type {TokenizerSource} from './source.js';

/**
 * Rebuilds the tokenizer.
 *
 * @param metadata Of the file, by key. A file without `tokenizer.ggml.pre` is taken as llama.cpp takes it: `default`.
 * @param path The file, for errors.
 * @returns Null if the file has no tokenizer.
 * @throws {ModelError} `unknown-tokenizer` for another kind of vocabulary or an unknown pre-tokenizer;
 *   `malformed-tokenizer` naming the key.
 */
export function ggufTokenizer(metadata: ReadonlyMap<string, unknown>, path: string): TokenizerSource | null {
  const model = metadata.get('tokenizer.ggml.model');
  if (model === undefined || model === 'no_vocab') return null;
  if (model !== 'gpt2' && model !== 'llama') {
    throw new ModelError(
      'unknown-tokenizer',
      `${path} has a tokenizer of kind ${JSON.stringify(model)}; gpt2 (byte-level BPE) and llama (SentencePiece) can be read`,
      {path, model},
    );
  }
  const vocabulary = new GgufVocabulary(metadata, path);
  return model === 'gpt2' ? byteLevel(vocabulary) : sentencePiece(vocabulary);
}

function byteLevel(vocabulary: GgufVocabulary): TokenizerSource {
  const {splits, ignoreMerges = false, composed = false, startsWithBos = false} = preTokenizer(vocabulary);
  const merges = vocabulary.strings('merges').map((merge) => {
    const space = merge.indexOf(' ', 1);
    if (space < 0) throw vocabulary.error('merges', 'pairs of tokens with a space between them');
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
  return {
    tokenizer: {
      version: '1.0',
      added_tokens: addedTokens(vocabulary, () => false),
      normalizer: composed ? {type: 'NFC'} : null,
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [
          ...splits.map((Regex) => ({type: 'Split', pattern: {Regex}, behavior: 'Isolated', invert: false})),
          {type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false},
        ],
      },
      post_processor: postProcessor(vocabulary, startsWithBos),
      decoder: {type: 'ByteLevel', add_prefix_space: false, trim_offsets: false, use_regex: false},
      model: {
        type: 'BPE',
        vocab: vocabulary.ids(),
        merges,
        ignore_merges: ignoreMerges,
        byte_fallback: false,
      },
    },
    config: configOf(vocabulary),
  };
}

function sentencePiece(vocabulary: GgufVocabulary): TokenizerSource {
  const {tokens, types} = vocabulary;
  const scores = vocabulary.numbers('scores');
  if (scores === null) throw vocabulary.error('scores', 'a list with the score of every token');
  const prefix = vocabulary.flag('add_space_prefix', true);
  const ids = vocabulary.ids();
  const mergeable = (id: number) => types[id] === TokenType.Normal || types[id] === TokenType.UserDefined;
  return {
    tokenizer: {
      version: '1.0',
      // Where a space is put before the text it would get into the token too, so such tokens are found before that.
      added_tokens: addedTokens(vocabulary, (token) => !prefix && token.includes(SPACE)),
      ...sentencePieceParts(prefix),
      pre_tokenizer: null,
      post_processor: postProcessor(vocabulary, true),
      model: {
        type: 'BPE',
        vocab: ids,
        merges: mergesByScore(ids, tokens, scores, mergeable),
        unk_token: vocabulary.special('unknown_token_id'),
        fuse_unk: true,
        byte_fallback: true,
        ignore_merges: false,
      },
    },
    config: configOf(vocabulary),
  };
}

function preTokenizer(vocabulary: GgufVocabulary): PreTokenizer {
  const name = vocabulary.text('pre') ?? 'default';
  if (Object.hasOwn(PRE_TOKENIZERS, name)) return PRE_TOKENIZERS[name];
  const known = Object.keys(PRE_TOKENIZERS);
  const near = nearest(name.slice(0, 40), known);
  throw new ModelError(
    'unknown-tokenizer',
    `${vocabulary.path} wants the pre-tokenizer ${JSON.stringify(name.slice(0, 80))}, which is not known` +
      `${near.length > 0 ? ` (near: ${near.join(', ')})` : ''}; known are ${known.join(', ')}: ` +
      'use the Hugging Face folder of this model, whose tokenizer.json says how it is done',
    {path: vocabulary.path, pre: name},
  );
}

/** Tokens that are found in a text as they are, before anything else is done with it. */
function addedTokens({tokens, types}: GgufVocabulary, normalized: (token: string) => boolean): object[] {
  const added = tokens.map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: normalized(content),
    special: types[id] !== TokenType.UserDefined,
  }));
  const kinds: readonly number[] = [TokenType.Control, TokenType.UserDefined, TokenType.Unknown];
  return added.filter(({id, content}) => content !== '' && kinds.includes(types[id]));
}

/** BOS before and EOS behind a sequence, where the file or the family wants them. */
function postProcessor(vocabulary: GgufVocabulary, startsWithBos: boolean): object | null {
  const bos = vocabulary.flag('add_bos_token', startsWithBos) ? vocabulary.special('bos_token_id') : null;
  const eos = vocabulary.flag('add_eos_token', false) ? vocabulary.special('eos_token_id') : null;
  if (bos === null && eos === null) return null;
  const token = (id: string | null) => (id === null ? [] : [{SpecialToken: {id, type_id: 0}}]);
  const sequence = (id: string) => ({Sequence: {id, type_id: 0}});
  return {
    type: 'TemplateProcessing',
    single: [...token(bos), sequence('A'), ...token(eos)],
    pair: [...token(bos), sequence('A'), sequence('B'), ...token(eos)],
    special_tokens: {},
  };
}

function configOf(vocabulary: GgufVocabulary): Record<string, unknown> {
  const entries = {
    bos_token: vocabulary.special('bos_token_id'),
    eos_token: vocabulary.special('eos_token_id'),
    unk_token: vocabulary.special('unknown_token_id'),
    pad_token: vocabulary.special('padding_token_id'),
    chat_template: vocabulary.chatTemplate(),
  };
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== null));
}
