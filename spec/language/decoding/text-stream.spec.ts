import {expect} from 'chai';
import fc from 'fast-check';
import {StopStrings, TextStream, type TokenDecoder} from '../../../lib/language/decoding/text-stream.js';

/** A vocabulary of single bytes. */
const BYTES: TokenDecoder = {decode: (ids) => new TextDecoder().decode(Uint8Array.from(ids))};

/** A SentencePiece-like vocabulary: words with a leading space, which the first of a text loses. */
const WORDS: TokenDecoder = {
  decode: (ids) =>
    ids
      .map((id) => ` w${id}`)
      .join('')
      .replace(/^ /, ''),
};

function pieces(tokenizer: TokenDecoder, ids: readonly number[], before: readonly number[] = []): string[] {
  const stream = new TextStream(tokenizer, before);
  return [...ids.map((id) => stream.push(id)), stream.flush()];
}

describe('a text stream', () => {
  it('never gives out half a character', () => {
    const bytes = [...new TextEncoder().encode('aé😀')];
    expect(pieces(BYTES, bytes)).to.deep.equal(['a', '', 'é', '', '', '', '😀', '']);
  });

  it('gives out bytes that are no character, at the end or once they cannot become one', () => {
    expect(pieces(BYTES, [0x61, 0xf0, 0x9f]).join('')).to.equal('a\ufffd');
    const stray = pieces(BYTES, Array<number>(20).fill(0x80));
    expect(stray.slice(0, 10).join('')).to.not.equal('');
    expect(pieces(BYTES, [0x80, 0x61, 0x62]).join('')).to.equal('\ufffdab');
  });

  it('keeps the space before a word', () => {
    expect(pieces(WORDS, [1, 2, 3])).to.deep.equal(['w1', ' w2', ' w3', '']);
    expect(pieces(WORDS, [1, 2], [7, 8])).to.deep.equal([' w1', ' w2', '']);
  });

  it('keeps the space before a word behind a token without text', () => {
    const withControls: TokenDecoder = {decode: (ids) => WORDS.decode(ids.filter((id) => id !== 0))};
    expect(pieces(withControls, [1, 0, 2, 0, 0, 3])).to.deep.equal(['w1', '', ' w2', '', '', ' w3', '']);
  });

  it('holds a token back whose text ends within a character, not one that begins with a stray byte', () => {
    const tokens = [[0x61, 0xc3], [0xa9], [0x80, 0x62]];
    const decoder: TokenDecoder = {decode: (ids) => BYTES.decode(ids.flatMap((id) => tokens[id]))};
    expect(pieces(decoder, [0, 1, 2])).to.deep.equal(['', 'aé', '\ufffdb', '']);
  });

  it('gives up waiting for a character after 8 tokens', () => {
    const stray = Array<number>(16).fill(0x80);
    const given = pieces(BYTES, stray);
    expect(given.map(({length}) => length)).to.deep.equal([
      ...[0, 0, 0, 0, 0, 0, 0, 8],
      ...[0, 0, 0, 0, 0, 0, 0, 8],
      0,
    ]);
  });

  it('decodes the last few tokens and not the whole text', () => {
    const lengths: number[] = [];
    const counting: TokenDecoder = {decode: (ids) => (lengths.push(ids.length), WORDS.decode(ids))};
    const ids = Array.from({length: 50}, (_, i) => i);
    expect(pieces(counting, ids, ids).join('')).to.equal(ids.map((id) => ` w${id}`).join(''));
    expect(Math.max(...lengths)).to.equal(9);
  });

  it('joins to the text of the whole', () => {
    const property = fc.property(fc.string({unit: 'grapheme', maxLength: 60}), (text) => {
      expect(pieces(BYTES, [...new TextEncoder().encode(text)]).join('')).to.equal(text);
    });
    fc.assert(property);
  });
});

describe('stop strings', () => {
  const run = (stops: string[], texts: string[]) => {
    const stop = new StopStrings(stops);
    return [...texts.map((text) => stop.push(text)), stop.flush()];
  };

  it('are found across tokens and not given out', () => {
    expect(run(['\n\n'], ['a\n', '\nb', 'c'])).to.deep.equal(['a', '', '', '']);
  });

  it('hold back what may become one', () => {
    expect(run(['STOP'], ['xS', 'T', 'x'])).to.deep.equal(['x', '', 'STx', '']);
    expect(run(['STOP'], ['xST'])).to.deep.equal(['x', 'ST']);
  });

  it('are given out once where they did not come', () => {
    const stop = new StopStrings(['abc']);
    expect([stop.push('xab'), stop.flush(), stop.flush(), stop.push('c')]).to.deep.equal([
      'x',
      'ab',
      '',
      'c',
    ]);
    expect(stop.stopped).to.equal(false);
  });

  it('end at the first that comes', () => {
    expect(run(['bcd', 'c'], ['abcd']).join('')).to.equal('a');
    expect(run(['c', 'zz'], ['azc', 'zz']).join('')).to.equal('az');
  });

  it('give out everything before the first, however the text is cut', () => {
    const letters = fc.constantFrom('a', 'b');
    const text = fc.array(letters, {maxLength: 40}).map((parts) => parts.join(''));
    const stops = fc.array(
      fc.array(letters, {minLength: 1, maxLength: 5}).map((p) => p.join('')),
      {maxLength: 3},
    );
    const property = fc.property(text, stops, fc.integer({min: 1, max: 5}), (text, stops, size) => {
      const texts = Array.from({length: Math.ceil(text.length / size)}, (_, i) =>
        text.slice(i * size, (i + 1) * size),
      );
      const found = stops.map((stop) => text.indexOf(stop)).filter((index) => index >= 0);
      // A shorter stop string that ends first may be seen before one that begins first ends.
      const got = run(stops, texts).join('');
      if (found.length === 0) expect(got).to.equal(text);
      else expect(text.startsWith(got)).to.equal(true);
      for (const stop of stops) expect(got).to.not.include(stop);
    });
    fc.assert(property);
  });
});
