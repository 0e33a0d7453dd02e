import {expect} from 'chai';
import type {SparsifyError} from '../../lib/errors.js';
import {parseConfig} from '../../lib/language/config/parse-config.js';
import {PromptEncoder} from '../../lib/language/prompt.js';
import {createTokenizer} from '../../lib/language/tokenizer/tokenizer.js';
import {SMALL_CONFIGS} from '../support/language/random-checkpoint.js';

const LETTERS = Array.from('abcdefghijklmnopqrstuvwxyz @,.=\n"-1', (letter) => letter);
const SPECIAL = {single_word: false, lstrip: false, rstrip: false, normalized: false, special: true};

describe('the ids of a prompt', () => {
  const config = {
    ...parseConfig({...SMALL_CONFIGS['llama'], max_position_embeddings: 8}),
    vocabularySize: 40,
  };
  const bos = LETTERS.length;
  const template = {
    type: 'TemplateProcessing',
    single: [{SpecialToken: {id: '<s>', type_id: 0}}, {Sequence: {id: 'A', type_id: 0}}],
    pair: [],
    special_tokens: {'<s>': {id: '<s>', ids: [bos], tokens: ['<s>']}},
  };
  const vocab = Object.fromEntries([...LETTERS, '<s>'].map((letter, id) => [letter, id]));
  const tokenizer = createTokenizer({
    tokenizer: {
      model: {type: 'BPE', vocab, merges: [], unk_token: null},
      added_tokens: [{id: bos, content: '<s>', ...SPECIAL}],
      post_processor: template,
      decoder: {type: 'Fuse'},
    },
    config: {chat_template: '{{ messages[0].content }}!', bos_token: '<s>'},
  });
  const encoder = new PromptEncoder(config, tokenizer);
  const failure = (work: () => unknown) => {
    try {
      work();
    } catch (error) {
      return (error as SparsifyError).code;
    }
    return 'none';
  };

  it('of a text begin with BOS', () => {
    expect(encoder.encodePrompt('ab')).to.deep.equal([bos, 0, 1]);
    expect(encoder.encodePrompt('')).to.deep.equal([bos]);
  });

  it('of a conversation are those that its template writes, without another BOS', () => {
    expect(encoder.encodePrompt([{role: 'user', content: 'ab'}])).to.deep.equal([0, 1]);
    expect(encoder.encodePrompt([{role: 'user', content: '<s>b'}])).to.deep.equal([bos, 1]);
  });

  it('that are given stay as they are', () => expect(encoder.encodePrompt([39, 0])).to.deep.equal([39, 0]));

  it('of a text for calibration have no BOS, and WikiText is made plain text', () => {
    expect(encoder.idsOf('ab')).to.deep.equal([[0, 1]]);
    expect(encoder.idsOf(['a', 'b'])).to.deep.equal([[0], [1]]);
    expect(encoder.idsOf([3, 39])).to.deep.equal([[3, 39]]);
    const plain = encoder
      .idsOf('\n = a = \n\n b @-@ c , d . \n')[0]
      .map((id) => LETTERS[id])
      .join('');
    expect(plain).to.contain('b-c, d.').and.not.contain('@');
  });

  it('lie below the size of the vocabulary', () => {
    for (const ids of [[40], [-1], [0.5], [NaN], [0, 41]]) {
      expect(
        failure(() => encoder.encodePrompt(ids)),
        `${ids}`,
      ).to.equal('bad-token');
      expect(
        failure(() => encoder.idsOf(ids)),
        `${ids}`,
      ).to.equal('bad-token');
    }
  });

  it('leave room for one token of answer', () => {
    expect(encoder.encodePrompt([1, 2, 3, 4, 5, 6, 7])).to.have.length(7);
    expect(failure(() => encoder.encodePrompt([1, 2, 3, 4, 5, 6, 7, 8]))).to.equal('prompt-too-long');
    expect(encoder.idsOf(Array.from({length: 20}, () => 1))[0]).to.have.length(20);
  });

  it('are at least one, and need a tokenizer for text', () => {
    expect(failure(() => encoder.encodePrompt([]))).to.equal('empty-prompt');
    const none = new PromptEncoder(config, null);
    expect(none.encodePrompt([1])).to.deep.equal([1]);
    expect(none.idsOf([1])).to.deep.equal([[1]]);
    for (const work of [
      () => none.encodePrompt('a'),
      () => none.idsOf('a'),
      () => none.encodePrompt([{role: 'user', content: 'a'}]),
    ]) {
      expect(failure(work)).to.equal('no-tokenizer');
    }
  });
});
