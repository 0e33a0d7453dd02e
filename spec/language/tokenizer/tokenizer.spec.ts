import {expect} from 'chai';
import fc from 'fast-check';
import {openGguf} from '../../../lib/language/import/local-checkpoints.js';
import {ggufTokenizer} from '../../../lib/language/tokenizer/gguf-tokenizer.js';
import {PRE_TOKENIZERS} from '../../../lib/language/tokenizer/pre-tokenizers.js';
import {createTokenizer, type LlamaTokenizer} from '../../../lib/language/tokenizer/tokenizer.js';
import {rejection} from '../../support/rejection.js';
import {smollm2, smollm2Fixture} from '../../support/language/smollm2.js';

describe('tokenizer of SmolLM2, rebuilt from its GGUF', () => {
  let tokenizer: LlamaTokenizer;
  before(async () => {
    const checkpoint = await openGguf(smollm2());
    await checkpoint.close();
    tokenizer = createTokenizer(checkpoint.tokenizer!);
  });

  const {cases} = smollm2Fixture('tokenizer') as {cases: {text: string; ids: number[]}[]};
  for (const {text, ids} of cases) {
    it(`gives ${JSON.stringify(text.slice(0, 40))} the reference's ids, and the text back`, () => {
      expect(tokenizer.encode(text)).to.deep.equal(ids);
      expect(tokenizer.decode(ids)).to.equal(text);
    });
  }

  it('gives every text back', () => {
    const text = fc.string({unit: 'grapheme', maxLength: 60});
    fc.assert(
      fc.property(text, (original) => tokenizer.decode(tokenizer.encode(original)) === original),
      {seed: 6, numRuns: 300},
    );
  });

  it('knows its vocabulary and special tokens', () => {
    expect(tokenizer.vocabularySize).to.equal(49152);
    expect(tokenizer.bosTokenId).to.equal(1);
    expect(tokenizer.eosTokenId).to.equal(2);
    expect(tokenizer.tokenId('<|im_end|>')).to.equal(2);
    expect(tokenizer.tokenId('<|nothing|>')).to.equal(null);
    expect([...tokenizer.specialTokenIds]).to.deep.equal(Array.from({length: 17}, (_, id) => id));
  });

  it('leaves control tokens out of a text on demand', () => {
    const ids = tokenizer.encode('<|im_start|>user\nHi<|im_end|>');
    expect(ids[0]).to.equal(1);
    expect(tokenizer.decode(ids)).to.equal('<|im_start|>user\nHi<|im_end|>');
    expect(tokenizer.decode(ids, {skipSpecialTokens: true})).to.equal('user\nHi');
  });

  it('gives no text for no ids and for ids beyond the vocabulary, and rejects what is no id', async () => {
    expect(tokenizer.decode([])).to.equal('');
    expect(tokenizer.decode([60_000])).to.equal('');
    expect(tokenizer.decode(Int32Array.of(19556, 905))).to.equal('Hello world');
    await rejection(() => tokenizer.decode([1.5]), 'invalid-token');
    await rejection(() => tokenizer.decode([-1]), 'invalid-token');
  });

  it('leaves spaces before punctuation alone', () => {
    expect(tokenizer.decode(tokenizer.encode("it 's here , now ."))).to.equal("it 's here , now .");
  });
});

/** Visible stand-ins of bytes in byte-level vocabularies, by GPT-2's rule. */
function byteTokens(): string[] {
  const visible = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({length: 256}, (_, byte) => String.fromCodePoint(visible(byte) ? byte : next++));
}

/** Metadata of a byte-level vocabulary without merges but those given; ids are bytes. */
function byteLevel(pre: string | null, merges: readonly string[] = [], more: Record<string, unknown> = {}) {
  const tokens = [...byteTokens(), ...merges.map((merge) => merge.replace(' ', ''))];
  return new Map<string, unknown>([
    ['tokenizer.ggml.model', 'gpt2'],
    ...(pre === null ? [] : ([['tokenizer.ggml.pre', pre]] as const)),
    ['tokenizer.ggml.tokens', tokens],
    ['tokenizer.ggml.merges', merges],
    ...Object.entries(more).map(([key, value]) => [`tokenizer.ggml.${key}`, value] as const),
  ]);
}

describe('pre-tokenizers', () => {
  /**
   * Merges join whatever stands in one word: with a merge for every cut of every stretch of the text the ids show the words.
   * Texts are ASCII, so every character is one byte.
   */
  const wordsOf = (pre: string | null, text: string) => {
    const visible = byteTokens();
    const characters = [...text].map((character) => visible[character.charCodeAt(0)]);
    const merges = new Set<string>();
    for (let start = 0; start < characters.length; start++) {
      for (let end = start + 2; end <= characters.length; end++) {
        for (let cut = start + 1; cut < end; cut++) {
          merges.add(`${characters.slice(start, cut).join('')} ${characters.slice(cut, end).join('')}`);
        }
      }
    }
    const sorted = [...merges].sort((a, b) => a.length - b.length);
    const tokenizer = createTokenizer(ggufTokenizer(byteLevel(pre, sorted), 'x.gguf')!);
    return tokenizer.encode(text).map((id) => tokenizer.decode([id]));
  };

  for (const [pre, text, words] of [
    ['gpt-2', "I've 123 dogs!  Yes\n", ['I', "'ve", ' 123', ' dogs', '!', ' ', ' Yes', '\n']],
    ['smollm', 'a 12  b', ['a', ' ', '1', '2', ' ', ' b']],
    [
      'llama-bpe',
      "I'LL (pay) 12345\n\n now",
      ['I', "'LL", ' (', 'pay', ')', ' ', '123', '45', '\n\n', ' now'],
    ],
    ['qwen2', "I'll (pay) 12\n now", ['I', "'ll", ' (', 'pay', ')', ' ', '1', '2', '\n', ' now']],
    ['tekken', 'camelCase 12//\n', ['camel', 'Case', ' ', '1', '2', '//\n']],
    ['gpt-4o', "HTMLfile's 1234", ["HTMLfile's", ' ', '123', '4']],
    ['default', 'a+b 12345', ['a', '+', 'b', ' ', '123', '45']],
  ] as const) {
    it(`cuts ${JSON.stringify(text)} into the words of ${pre}`, () => {
      expect(wordsOf(pre, text)).to.deep.equal(words);
    });
  }

  it('takes a file that names none as llama.cpp does', () => {
    expect(wordsOf(null, 'a+b 12345')).to.deep.equal(wordsOf('default', 'a+b 12345'));
  });

  it('gives the text back with every one of them', () => {
    const text = 'Hello, wörld! 12345 ＡＢＣ \t\n  日本語 🙂 e\u0301';
    for (const [pre, {composed}] of Object.entries(PRE_TOKENIZERS)) {
      const tokenizer = createTokenizer(ggufTokenizer(byteLevel(pre), 'x.gguf')!);
      expect(tokenizer.decode(tokenizer.encode(text)), pre).to.equal(composed ? text.normalize('NFC') : text);
    }
  });

  it('puts BOS before a text on demand where the family or the file wants it', () => {
    const special = {bos_token_id: 65, eos_token_id: 66};
    const encode = (pre: string, more: Record<string, unknown>) =>
      createTokenizer(ggufTokenizer(byteLevel(pre, [], {...special, ...more}), 'x.gguf')!).encode('z', {
        addSpecialTokens: true,
      });
    expect(encode('llama-bpe', {})).to.deep.equal([65, 122]);
    expect(encode('llama-bpe', {add_bos_token: false})).to.deep.equal([122]);
    expect(encode('qwen2', {})).to.deep.equal([122]);
    expect(encode('qwen2', {add_bos_token: true, add_eos_token: true})).to.deep.equal([65, 122, 66]);
  });

  it('takes a whole word that is a token without merging, where the family does', () => {
    const more = {tokens: [...byteTokens(), 'dog'], merges: []};
    const encode = (pre: string) =>
      createTokenizer(ggufTokenizer(byteLevel(pre, [], more), 'x.gguf')!).encode('dog');
    expect(encode('llama-bpe')).to.deep.equal([256]);
    expect(encode('qwen2')).to.deep.equal([100, 111, 103]);
  });

  it('rejects an unknown pre-tokenizer, naming near ones', async () => {
    const error = await rejection(() => ggufTokenizer(byteLevel('smolm'), 'x.gguf'), 'unknown-tokenizer');
    expect(error.message).to.contain('smolm').and.contain('near: smollm');
  });

  for (const [what, more] of [
    ['tokens that are no strings', {tokens: [1, 2]}],
    ['no tokens', {tokens: undefined}],
    ['a token of a megabyte', {tokens: ['x'.repeat(2 ** 20)]}],
    ['merges without a space', {merges: ['ab']}],
    ['no merges', {merges: undefined}],
    ['fewer types than tokens', {token_type: [1]}],
    ['types that are no numbers', {token_type: byteTokens().map(() => 'x')}],
    ['a flag that is a number', {add_bos_token: 1}],
  ] as [string, Record<string, unknown>][]) {
    it(`rejects ${what}`, () =>
      rejection(() => ggufTokenizer(byteLevel('gpt-2', [], more), 'x.gguf'), 'malformed-tokenizer'));
  }

  it('knows files without a tokenizer, and rejects other kinds of vocabulary', async () => {
    expect(ggufTokenizer(new Map(), 'x.gguf')).to.equal(null);
    await rejection(
      () => ggufTokenizer(new Map([['tokenizer.ggml.model', 'bert']]), 'x.gguf'),
      'unknown-tokenizer',
    );
  });

  it('rejects a tokenizer.json of an unknown type, saying which', async () => {
    const model = {type: 'BPE', vocab: {a: 0}, merges: []};
    const source = {tokenizer: {model, pre_tokenizer: {type: 'Telepathy'}}, config: {}};
    expect((await rejection(() => createTokenizer(source), 'malformed-tokenizer')).message).to.contain(
      'Telepathy',
    );
    await rejection(() => createTokenizer({tokenizer: {}, config: {}}), 'malformed-tokenizer');
  });
});
