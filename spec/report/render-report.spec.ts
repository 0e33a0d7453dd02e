import {expect} from 'chai';
import {escapeHtml} from '../../lib/report/html.js';
import {renderReport} from '../../lib/report/render-report.js';
import {blockPaths, contents} from './contents.js';

/** Elements without a closing tag. */
const VOID = new Set(['meta', 'br', '!doctype']);

/** Fails unless every element is closed, in the right order. */
function checkNesting(page: string): void {
  const open: string[] = [];
  const text = page.replace(/<style>[^<]*<\/style>/g, '');
  for (const [tag, slash, name, selfClosing] of text.matchAll(
    /<(\/?)([!a-zA-Z][\w-]*)(?:[^<>"']|"[^"<]*"|'[^'<]*')*?(\/?)>/g,
  )) {
    if (VOID.has(name) || selfClosing === '/') continue;
    if (slash === '') open.push(name);
    else expect(open.pop(), tag).to.equal(name);
  }
  expect(open).to.deep.equal([]);
  expect(text.replace(/<(\/?)([!a-zA-Z][\w-]*)(?:[^<>"']|"[^"<]*"|'[^'<]*')*?(\/?)>/g, '')).to.not.match(
    /[<>]/,
  );
}

const HOSTILE = `"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;`;

describe('a report', () => {
  const cases = [
    {title: '3 layers', paths: ['hidden_1', 'hidden_2', 'digits']},
    {title: '120 layers', paths: blockPaths(30)},
  ];
  for (const {title, paths} of cases) {
    describe(`of ${title}`, () => {
      let page = '';
      before(async () => (page = await renderReport(contents(paths, 'my model'))));

      it('is well-formed HTML', () => {
        expect(page).to.match(/^<!doctype html>\s*<html lang="en">/);
        checkNesting(page);
      });

      it('has no script, no event handler and nothing from outside', () => {
        expect(page).to.not.match(/<(script|link|iframe|img|object|embed|base)\b/i);
        expect(page).to.not.match(/\s(on\w+|href|src|srcset|xlink:href)\s*=/i);
        expect(page.replaceAll('http://www.w3.org/2000/svg', '')).to.not.match(
          /(https?:)?\/\/\w|@import|url\(/,
        );
        expect(page).to.include('content="default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;;');
      });

      it('shows the figures that it was given', () => {
        for (const figure of ['123,456 weights', '98.15 %', '97.55 %', '2.50x', 'ab'.repeat(32)]) {
          expect(page).to.include(figure);
        }
        for (const command of ['tfjs-sparsify sparsify m', 'tfjs-sparsify report m'])
          expect(page).to.include(command);
        paths.forEach((path, i) => {
          const row = new RegExp(`<th scope="row" class="path">\\s*${path}\\s*</th>(.*?)</tr>`, 's').exec(
            page,
          )![1];
          const cells = [...row.matchAll(/<td[^>]*>\s*(.*?)\s*<\/td>/gs)].map(([, cell]) => cell);
          const actual = `${(48 + i / 10).toFixed(1)} %`;
          expect(cells.slice(0, 5)).to.deep.equal(['64 × 32', 'float32', '8.2 KB', '50.0 %', actual]);
          expect(cells[cells.length - 1]).to.equal('37 %');
        });
      });

      it('has a plot of every kind, each with words for it', () => {
        for (const label of [
          'Sparsity of each layer',
          'Speed of the model',
          'Loss by mean sparsity',
          '|x| at ',
        ]) {
          expect(page).to.include(`aria-label="${label}`);
        }
        expect(page.match(/aria-label="\|x\| at /g)).to.have.length(paths.length);
      });
    });
  }

  it('puts what is masked and what is kept left and right of the threshold', () => {
    const [{threshold, histogram}] = contents(['a']).measured.layers;
    const {bins, zeros, beyond} = histogram!;
    const sum = (isMasked: boolean) =>
      bins.filter((bin) => bin.isMasked === isMasked).reduce((total, {share}) => total + share, 0);
    expect(sum(true) + zeros).to.be.closeTo(0.5, 0.002); // half of the values, to a bucket of the histogram
    expect(sum(true) + sum(false) + zeros + beyond).to.be.closeTo(1, 1e-12);
    for (const {from, to, isMasked} of bins)
      expect(isMasked ? to <= threshold! : from >= threshold!).to.be.true;
  });

  it('leaves out what is not known', async () => {
    const page = await renderReport({
      ...contents(['a', 'b']),
      ...{allocation: null, quality: null, latency: null, bench: null, steps: [], measurement: null},
      measured: {
        layers: contents(['a', 'b']).measured.layers.map((layer) => ({
          ...{...layer, sparsified: false, target: null, threshold: null, actual: null},
          ...{outputError: null, histogram: null},
        })),
        actualOn: null,
        errorsOn: null,
      },
    });
    checkNesting(page);
    expect(page).to.not.match(/<h2>(?!All layers)|null|undefined|NaN|<svg/);
  });

  it('takes names from models as text', async () => {
    const paths = [HOSTILE, ...Array.from({length: 15}, (_, i) => `${HOSTILE}.${i}.${HOSTILE}`)];
    const page = await renderReport(contents(paths, HOSTILE));
    checkNesting(page);
    expect(page).to.not.match(/<(script|img)\b/i);
    expect(page).to.include(`<h1>${escapeHtml(HOSTILE)}</h1>`);
  });
});
