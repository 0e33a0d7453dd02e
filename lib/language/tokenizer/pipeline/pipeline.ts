/**
 * @file A `tokenizer.json` as the Rust library `tokenizers` computes it: added tokens are found, the rest is normalized and
 * cut into words here, and `@huggingface/tokenizers` makes tokens of the words and puts special ones around them.
 */
import {HuggingFaceTokenizer} from '../huggingface.js';
import type {TokenizerSource} from '../source.js';
import {addedTokens, AddedTokenFinder, type AddedToken} from './added-tokens.js';
import {createDecoder} from './decoders.js';
import {createNormalizer} from './normalizers.js';
import {checkFields, malformed, partOf, partsOf, unsupported, type Part} from './parts.js';
import {createPreTokenizer} from './pre-tokenize.js';

/** Texts to ids, and ids to texts. */
export interface Pipeline {
  readonly added: readonly AddedToken[];
  /** Text of every id; ids without a token are holes. */
  readonly vocabulary: readonly (string | undefined)[];
  idOf(token: string): number | undefined;
  encode(text: string, addSpecialTokens: boolean): number[];
  /** @param ids That all have a token. */
  decode(ids: readonly number[]): string;
}

/**
 * Puts the parts together.
 *
 * @throws {ModelError} `malformed-tokenizer`, also for a part that would be computed otherwise.
 */
export function createPipeline({tokenizer: json}: TokenizerSource): Pipeline {
  const model = partOf(withType(json['model']), 'the model');
  if (model === null) throw malformed('the model', 'there is none');
  checkModel(model);
  const added = addedTokens(json['added_tokens'] ?? []);
  const postProcessor = partOf(json['post_processor'], 'the post-processor');
  if (postProcessor !== null) checkPostProcessor(postProcessor);
  const normalize = createNormalizer(partOf(json['normalizer'], 'the normalizer'));
  const preTokenize = createPreTokenizer(partOf(json['pre_tokenizer'], 'the pre-tokenizer'));
  const decode = createDecoder(partOf(json['decoder'], 'the decoder'));
  const library = fromLibrary(model, added, postProcessor);
  const {vocab: vocabulary, tokens_to_ids: ids} = library.model;
  const unknown = library.model.unk_token_id ?? ids.get(String(model['unk_token']));
  const ordered = [...added].sort((a, b) => Number(b.special) - Number(a.special));
  const exact = new AddedTokenFinder(
    ordered.filter(({normalized}) => !normalized).map((token) => [token.content, token]),
  );
  const normalized = new AddedTokenFinder(
    ordered.filter((token) => token.normalized).map((token) => [normalize(token.content), token]),
  );

  const known = knownCharacters(model, ids);

  const tokensOf = (text: string): string[] =>
    exact.split(text).flatMap((section) => {
      if (section.token !== null) return [section.token.content];
      return normalized.split(normalize(section.text)).flatMap((part) => {
        if (part.token !== null) return [part.token.content];
        const isFirst = section.start === 0 && part.start === 0;
        // Word by word: unknown characters are joined within a word only.
        return preTokenize([{text: part.text, isFirst}]).flatMap((word) => library.model([known(word.text)]));
      });
    });
  return {
    added,
    vocabulary,
    idOf: (token) => ids.get(token),
    encode: (text, addSpecialTokens) => {
      const tokens = tokensOf(text);
      const processed = library.post_processor?.(tokens, null, addSpecialTokens).tokens ?? tokens;
      return processed.map((token) => idOfToken(ids.get(token) ?? unknown, token));
    },
    decode: (tokenIds) => decode(tokenIds.map((id) => vocabulary[id]!)),
  };
}

/** Without a token for unknown characters BPE leaves them out, before it merges what is left. */
function knownCharacters(model: Part, ids: ReadonlyMap<string, number>): (word: string) => string {
  const hasUnknown = model['unk_token'] !== null && model['unk_token'] !== undefined;
  if (model.type !== 'BPE' || hasUnknown) return (word) => word;
  if ((model['end_of_word_suffix'] ?? '') !== '')
    throw unsupported('model', 'BPE with an end of words and no unknown token');
  const encoder = new TextEncoder();
  const byteToken = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
  const isKnown = (character: string) =>
    ids.has(character) ||
    (model['byte_fallback'] === true &&
      Array.from(encoder.encode(character), byteToken).every((one) => ids.has(one)));
  const isWhole = (word: string) => model['ignore_merges'] === true && ids.has(word);
  return (word) => (isWhole(word) ? word : Array.from(word).filter(isKnown).join(''));
}

function idOfToken(id: number | undefined, token: string): number {
  if (id !== undefined) return id;
  throw malformed(
    'the vocabulary',
    `it has no token ${JSON.stringify(token.slice(0, 80))}, and none for unknown ones`,
  );
}

/** Older files leave the type of the model out. */
function withType(model: unknown): unknown {
  if (typeof model !== 'object' || model === null || 'type' in model) return model;
  const isPieces = 'vocab' in model && Array.isArray(model.vocab);
  return {type: isPieces ? 'Unigram' : 'merges' in model ? 'BPE' : 'WordPiece', ...model};
}

/** The vocabulary and the special tokens of the library; its own way to them stays unused. */
function fromLibrary(
  model: Part,
  added: readonly AddedToken[],
  postProcessor: Part | null,
): HuggingFaceTokenizer {
  try {
    const parts = {normalizer: null, pre_tokenizer: null, decoder: null, post_processor: postProcessor};
    return new HuggingFaceTokenizer({...parts, model, added_tokens: added}, {});
  } catch (cause) {
    throw malformed('the model', cause instanceof Error ? cause.message : String(cause));
  }
}

/** Fields of the models that are computed; an empty or switched off one of another name is left out. */
const MODELS: Readonly<Record<string, readonly string[]>> = {
  BPE: ['vocab', 'merges', 'unk_token', 'fuse_unk', 'byte_fallback', 'ignore_merges', 'end_of_word_suffix'],
  WordPiece: ['vocab', 'unk_token', 'continuing_subword_prefix', 'max_input_chars_per_word'],
  WordLevel: ['vocab', 'unk_token'],
  Unigram: ['vocab', 'unk_id'],
};

function checkModel(model: Part): void {
  if (!Object.hasOwn(MODELS, model.type)) throw unsupported('model', model.type.slice(0, 80));
  const off = Object.entries(model).filter(([field, value]) => {
    const isNeutral = value === '' || value === 0 || value === false;
    return !(isNeutral && !MODELS[model.type].includes(field));
  });
  checkFields(Object.fromEntries(off) as unknown as Part, 'model', MODELS[model.type]);
}

function checkPostProcessor(part: Part): void {
  const what = 'post-processor';
  switch (part.type) {
    case 'Sequence':
      checkFields(part, what, ['processors']);
      for (const one of partsOf(part['processors'], what)) checkPostProcessor(one);
      return;
    case 'ByteLevel':
      return checkFields(part, what, ['add_prefix_space', 'trim_offsets', 'use_regex']);
    case 'BertProcessing':
      return checkFields(part, what, ['sep', 'cls']);
    case 'RobertaProcessing':
      return checkFields(part, what, ['sep', 'cls', 'trim_offsets', 'add_prefix_space']);
    case 'TemplateProcessing': {
      checkFields(part, what, ['single', 'pair', 'special_tokens']);
      const described = Object.entries(
        (part['special_tokens'] ?? {}) as Readonly<Record<string, {tokens?: unknown}>>,
      );
      const other = described.find(([id, {tokens}]) => JSON.stringify(tokens) !== JSON.stringify([id]));
      if (other !== undefined)
        throw unsupported(what, `a special token "${other[0]}" that stands for others`);
      return;
    }
    default:
      throw unsupported(what, part.type.slice(0, 80));
  }
}
