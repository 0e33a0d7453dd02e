import {createHash} from 'node:crypto';
import {readFileSync} from 'node:fs';
import {expect} from 'chai';
import {
  countWords,
  detokenize,
  documentsOf,
  isWikiText,
  splitArticles,
} from '../../../lib/language/evaluation/wikitext.js';
import {urlOf} from '../../support/child.js';

interface Reference {
  readonly protocol: {
    readonly words: number;
    readonly calibration_detokenized_sha256: string;
    readonly documents: readonly {
      readonly words: number;
      readonly raw_chars: number;
      readonly detokenized_sha256: string;
    }[];
  };
}

const read = (path: string) => readFileSync(new URL(urlOf(path)), 'utf8');
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

const {protocol} = JSON.parse(read('spec/fixtures/smollm2/perplexity.json')) as Reference;
const TEST = read('models/smollm2/wikitext-2-test.txt');
const CALIBRATION = read('models/smollm2/wikitext-2-calibration.txt');

describe('WikiText', () => {
  it('is split into the articles of the reference', () => {
    const articles = splitArticles(TEST);
    expect(articles.map((article) => [...article].length)).to.deep.equal(
      protocol.documents.map(({raw_chars}) => raw_chars),
    );
    expect(articles.join('\n').trim()).to.equal(TEST.trim());
  });

  it('has as many words as the harness counts', () => {
    const documents = documentsOf(TEST);
    expect(documents.map(({words}) => words)).to.deep.equal(protocol.documents.map(({words}) => words));
    expect(documents.reduce((sum, {words}) => sum + words, 0)).to.equal(protocol.words);
  });

  it('is detokenised to the reference bytes', () => {
    const digests = documentsOf(TEST).map(({text}) => sha256(text));
    expect(digests).to.deep.equal(protocol.documents.map(({detokenized_sha256}) => detokenized_sha256));
    expect(sha256(detokenize(CALIBRATION))).to.equal(protocol.calibration_detokenized_sha256);
  });

  it('is told from other text, which stays as it is', () => {
    expect([TEST, CALIBRATION].map(isWikiText)).to.deep.equal([true, true]);
    const plain = 'Title\n\nHe said " no " , twice ; N times .\n';
    expect(isWikiText(plain)).to.equal(false);
    expect(documentsOf(plain)).to.deep.equal([{text: plain, words: countWords(plain)}]);
  });

  const cases = [
    {title: 'numbers', spaced: '1 @,@ 000 @.@ 5 well @-@ known', plain: '1,000.5 well-known'},
    {title: 'punctuation', spaced: 'a : b ; c . d ! e ? f , g', plain: 'a: b; c. d! e? f, g'},
    {title: 'brackets', spaced: '( a ) [ b ] { c }', plain: '(a) [b] {c}'},
    {title: 'quotes', spaced: 'say " yes " now', plain: 'say "yes" now'},
    {title: 'possessives', spaced: "the cat 's and dogs ' food", plain: "the cat's and dogs' food"},
    {title: 'headings', spaced: ' = = = Part = = = \n', plain: ' === Part ===\n'},
  ];
  for (const {title, spaced, plain} of cases) {
    it(`detokenises ${title}`, () => expect(detokenize(spaced)).to.equal(plain));
  }

  it('counts empty parts at both ends', () => {
    expect(['', 'a', ' a ', 'a\n b'].map(countWords)).to.deep.equal([1, 1, 3, 2]);
  });
});
