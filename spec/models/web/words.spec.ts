import {expect} from 'chai';
import {
  bytesInWords,
  failureInWords,
  milliseconds,
  percent,
  speedInWords,
} from '../../../models/web/shell/words.js';

describe('the words of the page', () => {
  for (const [bytes, words] of [
    [0, '0 bytes'],
    [999, '999 bytes'],
    [1000, '1.00 KB'],
    [20_480, '20.5 KB'],
    [136_258_636, '136 MB'],
    [4_294_967_296, '4.29 GB'],
  ] as const) {
    it(`${bytes} bytes are ${words}`, () => {
      expect(bytesInWords(bytes)).to.equal(words);
    });
  }

  it('times and shares', () => {
    expect(milliseconds(0.1234)).to.equal('0.123 ms');
    expect(milliseconds(1234)).to.equal('1.23 s');
    expect(percent(0.1234)).to.equal('12 %');
    expect(percent(0.1234, 1)).to.equal('12.3 %');
  });

  for (const [dense, sparse, words] of [
    [2, 1, 'Sparse is 2.00 times as fast.'],
    [1.029, 1, 'Sparse is not faster here: both take the same time.'],
    [1, 1.02, 'Sparse is not faster here: both take the same time.'],
    [1, 1.5, 'Sparse is not faster here: it takes 1.50 times as long.'],
  ] as const) {
    it(`dense in ${dense} and sparse in ${sparse}: ${words}`, () => {
      expect(speedInWords(dense, sparse)).to.equal(words);
    });
  }

  it('failures: as sentences, with names as they are', () => {
    expect(failureInWords(new Error('the model is gone'))).to.equal('The model is gone');
    expect(failureInWords(new Error('model.json is not JSON'))).to.equal('model.json is not JSON');
    expect(failureInWords(new DOMException('x', 'AbortError'))).to.equal('Stopped.');
    expect(failureInWords('a text')).to.equal('A text');
  });
});
