import {expect} from 'chai';
import fc from 'fast-check';
import {ggufTokenizer} from '../../../lib/language/tokenizer/gguf-tokenizer.js';
import {createTokenizer, type LlamaTokenizer} from '../../../lib/language/tokenizer/tokenizer.js';
import {seededRandom} from '../../../lib/stats/seeded-random.js';
import {rejection} from '../../support/rejection.js';

const NORMAL = 1;
const UNKNOWN = 2;
const CONTROL = 3;
const USER_DEFINED = 4;
const BYTE = 6;

interface Vocabulary {
  readonly tokens: string[];
  readonly scores: number[];
  readonly types: number[];
}

/** A vocabulary as Llama-2 has it: control tokens, bytes, then pieces by falling score, single characters last. */
function vocabularyOf(pieces: readonly string[]): Vocabulary {
  const bytes = Array.from(
    {length: 256},
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  );
  return {
    tokens: ['<unk>', '<s>', '</s>', ...bytes, ...pieces],
    scores: [0, 0, 0, ...bytes.map(() => 0), ...pieces.map((_, i) => -i)],
    types: [UNKNOWN, CONTROL, CONTROL, ...bytes.map(() => BYTE), ...pieces.map(() => NORMAL)],
  };
}

function tokenizerOf(
  {tokens, scores, types}: Vocabulary,
  more: Record<string, unknown> = {},
): LlamaTokenizer {
  const entries = {
    model: 'llama',
    tokens,
    scores,
    token_type: types,
    bos_token_id: 1,
    eos_token_id: 2,
    unknown_token_id: 0,
    ...more,
  };
  const metadata = new Map(Object.entries(entries).map(([key, value]) => [`tokenizer.ggml.${key}`, value]));
  return createTokenizer(ggufTokenizer(metadata, 'x.gguf')!);
}

/**
 * SentencePiece's own algorithm, plainly: as long as any two neighbours join to a token, join those whose token has the
 * highest score, the leftmost of equals; what is no token becomes its bytes.
 */
function reference(text: string, {tokens, scores, types}: Vocabulary, prefix: boolean): number[] {
  if (text === '') return [];
  const ids = new Map(
    tokens.map((token, id) => [token, id] as const).filter(([, id]) => types[id] === NORMAL),
  );
  const symbols = Array.from((prefix ? '▁' : '') + text.replaceAll(' ', '▁'));
  for (;;) {
    let best = -1;
    let bestScore = -Infinity;
    for (let i = 0; i + 1 < symbols.length; i++) {
      const id = ids.get(symbols[i] + symbols[i + 1]);
      if (id !== undefined && scores[id] > bestScore) [best, bestScore] = [i, scores[id]];
    }
    if (best < 0) break;
    symbols.splice(best, 2, symbols[best] + symbols[best + 1]);
  }
  return symbols.flatMap((symbol) => {
    const id = ids.get(symbol);
    return id === undefined ? [...new TextEncoder().encode(symbol)].map((byte) => 3 + byte) : [id];
  });
}

/**
 * Pieces that come of joining pieces, as training makes them: seeded, and without one made of equal characters alone.
 * Where such a run could be cut in two ways transformers' list of pairs, which is followed here, and SentencePiece
 * differ: `a aa a` becomes `a aaa` in one and `aaa a` in the other.
 */
function trainedPieces(characters: string, count: number, seed: number): string[] {
  const random = seededRandom(seed);
  const pieces = Array.from(characters);
  const pick = () => pieces[Math.floor(random() * pieces.length)];
  const merged: string[] = [];
  while (merged.length < count) {
    const piece = pick() + pick();
    if (pieces.includes(piece) || piece.length > 6 || new Set(piece).size < piece.length) continue;
    pieces.push(piece);
    merged.push(piece);
  }
  return [...merged, ...Array.from(characters)];
}

describe('SentencePiece vocabulary of a GGUF', () => {
  for (const prefix of [true, false]) {
    it(`gives the ids of the plain algorithm ${prefix ? 'with' : 'without'} a space before the text`, () => {
      const vocabulary = vocabularyOf(trainedPieces('abcdefg▁é', 120, 4));
      const tokenizer = tokenizerOf(vocabulary, {add_space_prefix: prefix});
      const text = fc.string({unit: fc.constantFrom(...'abcdefg é日🙂'), maxLength: 40});
      fc.assert(
        fc.property(text, (original) => {
          expect(tokenizer.encode(original)).to.deep.equal(reference(original, vocabulary, prefix));
        }),
        {seed: 7, numRuns: 500},
      );
    });

    it(`gives every text back ${prefix ? 'with' : 'without'} a space before the text`, () => {
      const tokenizer = tokenizerOf(vocabularyOf(trainedPieces('abcdefg▁é', 120, 5)), {
        add_space_prefix: prefix,
      });
      const text = fc.string({unit: fc.constantFrom(...'abcdefg é\n日🙂'), maxLength: 40});
      fc.assert(
        fc.property(text, (original) => tokenizer.decode(tokenizer.encode(original)) === original),
        {seed: 8, numRuns: 500},
      );
    });
  }

  it('joins by score, not by length or by order in the vocabulary', () => {
    const vocabulary = vocabularyOf(['bc', 'ab', 'abc', 'a', 'b', 'c', '▁']);
    const {tokens} = vocabulary;
    const tokenizer = tokenizerOf(vocabulary, {add_space_prefix: false});
    expect(tokenizer.encode('abc').map((id) => tokens[id])).to.deep.equal(['abc']); // bc first, then a bc
    const without = tokenizerOf(
      {...vocabulary, types: vocabulary.types.map((type, id) => (tokens[id] === 'abc' ? 5 : type))},
      {add_space_prefix: false},
    );
    expect(without.encode('abc').map((id) => tokens[id])).to.deep.equal(['a', 'bc']);
  });

  it('puts BOS before a text on demand, and finds control tokens in it', () => {
    const tokenizer = tokenizerOf(vocabularyOf(['▁a', 'a', '▁']));
    expect(tokenizer.encode('a', {addSpecialTokens: true})).to.deep.equal([1, 259]);
    expect(tokenizer.encode('a')).to.deep.equal([259]);
    expect(tokenizer.encode('<s>a</s>')).to.deep.equal([1, 259, 2]);
    expect(tokenizer.decode([1, 259, 2], {skipSpecialTokens: true})).to.equal('a');
    expect(
      tokenizerOf(vocabularyOf(['a']), {add_bos_token: false}).encode('a', {addSpecialTokens: true}),
    ).to.not.include(1);
  });

  it('takes what users defined as it is, spaces included', () => {
    const vocabulary = vocabularyOf(['a', '▁', '▁▁▁', '<think>']);
    const types = vocabulary.types.map((type, id) => (id >= 261 ? USER_DEFINED : type));
    const tokenizer = tokenizerOf({...vocabulary, types}, {add_space_prefix: false});
    expect(tokenizer.encode('a   a<think>a')).to.deep.equal([259, 261, 259, 262, 259]);
    expect(tokenizer.decode([259, 261, 259, 262, 259])).to.equal('a   a<think>a');
    expect(tokenizer.specialTokenIds.has(262)).to.equal(false);
  });

  it('writes a character that is no token as its bytes, and bytes that are no character as U+FFFD', () => {
    const tokenizer = tokenizerOf(vocabularyOf(['a', '▁']), {add_space_prefix: false});
    expect(tokenizer.encode('é')).to.deep.equal([3 + 0xc3, 3 + 0xa9]);
    expect(tokenizer.decode([3 + 0xc3, 3 + 0xa9])).to.equal('é');
    expect(tokenizer.decode([3 + 0xc3])).to.equal('\ufffd');
  });

  it('rejects a vocabulary without scores', () =>
    rejection(() => tokenizerOf(vocabularyOf(['a']), {scores: undefined}), 'malformed-tokenizer'));
});
