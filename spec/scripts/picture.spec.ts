/** @file The README's picture against the tables that it is drawn from. */
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect} from 'chai';
import {drawPicture} from '../../scripts/bench/picture/draw-picture.js';
import {readFigures} from '../../scripts/bench/picture/read-figures.js';
import {ROOT} from '../support/guides.js';

describe('the picture of the README', () => {
  const guide = readFileSync(join(ROOT, 'scripts', 'bench', 'README.md'), 'utf8');

  it('has the figures of the tables', () => {
    const {tokensPerSecond, wordPerplexity} = readFigures(guide);
    const values = (groups: typeof tokensPerSecond) =>
      Object.fromEntries(groups.map(({name, bars}) => [name, bars.map(({value}) => value)]));
    expect(values(tokensPerSecond)).to.deep.equal({
      float32: [4.2, 28.7, 55.7, 67.9],
      bfloat16: [41.5, 87.1, 108.1],
      INT8: [56.8, 127.4, 131.2],
    });
    expect(values(wordPerplexity)).to.deep.equal({
      dense: [33.97],
      '36.7 % (FFN)': [37.4, 36.9],
      '50 % (all)': [57.7, 47],
    });
  });

  it('is drawn from the tables as they are', () => {
    const drawn = readFileSync(join(ROOT, 'scripts', 'bench', 'tokens-and-perplexity.svg'), 'utf8');
    expect(drawn).to.equal(drawPicture(readFigures(guide)));
  });

  it('refuses a guide without a row', () => {
    expect(() => readFigures(guide.replace('| INT8  ', '| INT7  '))).to.throw('has no row "INT8"');
    expect(() => readFigures('')).to.throw('no section "Decoding of a language model"');
  });
});
