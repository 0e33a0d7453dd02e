import {expect} from 'chai';
import {readFileSync} from 'node:fs';
import {createTokenizer} from '../../../lib/language/tokenizer/tokenizer.js';
import {rejection} from '../../support/rejection.js';

interface Case {
  readonly name: string;
  readonly tokenizer: Record<string, unknown>;
  /** Text, its ids, whether special tokens were added. */
  readonly texts: readonly [string, number[], boolean][];
  /** Ids, their text. */
  readonly decoded: readonly [number[], string][];
}

/** Answers of the Rust library: spec/fixtures/tokenizers/README.md. */
const cases = JSON.parse(
  readFileSync(new URL('../../fixtures/tokenizers/cases.json', import.meta.url), 'utf8'),
) as Case[];

describe('a tokenizer.json gives what the Rust library gives', () => {
  for (const {name, tokenizer: json, texts, decoded} of cases) {
    it(name, () => {
      const tokenizer = createTokenizer({tokenizer: json, config: {}});
      for (const [text, ids, addSpecialTokens] of texts) {
        expect(tokenizer.encode(text, {addSpecialTokens}), JSON.stringify(text)).to.deep.equal(ids);
      }
      for (const [ids, text] of decoded) expect(tokenizer.decode(ids), JSON.stringify(ids)).to.equal(text);
    });
  }
});

describe('a tokenizer.json that would be computed otherwise', () => {
  const MODEL = {type: 'BPE', vocab: {a: 0, b: 1}, merges: [], unk_token: null};
  const create = (parts: object) => () => createTokenizer({tokenizer: {model: MODEL, ...parts}, config: {}});
  const split = (more: object) => ({
    pre_tokenizer: {type: 'Split', pattern: {String: '-'}, behavior: 'Isolated', ...more},
  });
  const template = (tokens: string[]) => ({
    post_processor: {
      type: 'TemplateProcessing',
      single: [],
      pair: [],
      special_tokens: {'<s>': {id: '<s>', ids: [0], tokens}},
    },
  });

  for (const [what, parts, named] of [
    ['an unknown pre-tokenizer', {pre_tokenizer: {type: 'UnicodeScripts'}}, 'UnicodeScripts'],
    ['an unknown behavior', split({behavior: 'isolated'}), 'isolated'],
    ['no behavior', split({behavior: undefined}), 'behavior'],
    ['an unknown field of a part', split({limit: 3}), 'limit'],
    [
      'an unknown part of a sequence',
      {pre_tokenizer: {type: 'Sequence', pretokenizers: [{type: 'FixedLength', length: 2}]}},
      'FixedLength',
    ],
    [
      'an unknown prepend scheme',
      {pre_tokenizer: {type: 'Metaspace', replacement: '▁', prepend_scheme: 'last'}},
      'last',
    ],
    ['a pattern that JavaScript does not have', split({pattern: {Regex: '(?<a'}}), '(?<a'],
    [
      'an approximated normalizer',
      {normalizer: {type: 'Precompiled', precompiled_charsmap: 'AA=='}},
      'Precompiled',
    ],
    [
      'a normalizer of another kind of model',
      {normalizer: {type: 'BertNormalizer', lowercase: true}},
      'BertNormalizer',
    ],
    ['an unknown normalizer', {normalizer: {type: 'Nmt'}}, 'Nmt'],
    ['an unknown decoder', {decoder: {type: 'CTC', pad_token: 'a'}}, 'CTC'],
    ['an unknown post-processor', {post_processor: {type: 'Other'}}, 'Other'],
    ['a special token that stands for others', template(['<s>', '<t>']), '<s>'],
    ['dropout', {model: {...MODEL, dropout: 0.1}}, 'dropout'],
    [
      'a prefix of subwords',
      {model: {...MODEL, continuing_subword_prefix: '##'}},
      'continuing_subword_prefix',
    ],
    [
      'unigrams with bytes',
      {model: {type: 'Unigram', vocab: [['a', 0]], unk_id: 0, byte_fallback: true}},
      'byte_fallback',
    ],
    ['an unknown model', {model: {type: 'Other', vocab: {}}}, 'Other'],
    [
      'ends of words without an unknown token',
      {model: {...MODEL, end_of_word_suffix: '</w>'}},
      'end of words',
    ],
  ] as [string, object, string][]) {
    it(`is refused: ${what}`, async () => {
      expect((await rejection(create(parts), 'malformed-tokenizer')).message).to.contain(named);
    });
  }

  for (const [what, parts] of [
    ['no model', {model: null}],
    ['a part without a type', {normalizer: {lowercase: true}}],
    ['a sequence of nothing', {decoder: {type: 'Sequence', decoders: [null]}}],
    ['no list in a sequence', {pre_tokenizer: {type: 'Sequence', pretokenizers: 'ByteLevel'}}],
    ['a flag that is none', {pre_tokenizer: {type: 'Digits', individual_digits: 'yes'}}],
    ['no pattern', split({pattern: {}})],
    ['no content', {normalizer: {type: 'Replace', pattern: {String: 'a'}}}],
    ['added tokens that are none', {added_tokens: [{id: '1', content: 'x'}]}],
    ['added tokens that are no list', {added_tokens: {a: 1}}],
    ['a model without a vocabulary', {model: {type: 'BPE', merges: []}}],
  ] as [string, object][]) {
    it(`is malformed: ${what}`, () => rejection(create(parts), 'malformed-tokenizer'));
  }

  it('passes options that are switched off', () => {
    const off = {dropout: null, continuing_subword_prefix: '', end_of_word_suffix: '', fuse_unk: false};
    expect(create({model: {...MODEL, ...off}})().encode('ab')).to.deep.equal([0, 1]);
    expect(create({model: {...MODEL, type: undefined}})).to.throw();
    const {type: _, ...untyped} = MODEL;
    expect(create({model: untyped})().encode('ab')).to.deep.equal([0, 1]);
  });

  it('has no id for a text where even unknown ones have none', () =>
    rejection(
      () => create({model: {type: 'WordLevel', vocab: {a: 0}, unk_token: '?'}})().encode('b'),
      'malformed-tokenizer',
    ));
});
