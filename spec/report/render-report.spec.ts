import {expect} from 'chai';
import {escapeHtml} from '../../lib/report/html.js';
import type {ModelFormat} from '../../lib/allocation/format-points.js';
import type {ReportFormats} from '../../lib/report/report-contents.js';
import {renderReport} from '../../lib/report/render-report.js';
import {blockPaths, contents} from '../support/report-contents.js';

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

  it('has an axis at each histogram', async () => {
    const page = await renderReport(contents(['a', 'b']));
    for (const path of ['a', 'b']) {
      const drawn = new RegExp(`aria-label="\\|x\\| at ${path}"(.*?)</svg>`, 's').exec(page)![1];
      expect([...drawn.matchAll(/>([\d.]+)<\/text>/g)].map(([, tick]) => Number(tick)))
        .to.have.length.above(1)
        .and.include(0);
    }
  });

  it('means each layer by its weights, as an allocation does', async () => {
    const {measured, ...known} = contents(['a', 'b']);
    const [a, b] = measured.layers;
    const layers = [
      {...a, inputSize: 100, units: 30, target: 0.8, actual: 0.7},
      {...b, inputSize: 100, units: 10, target: 0.4, actual: 0.3},
    ];
    const page = await renderReport({...known, measured: {...measured, layers}});
    // (3 * 0.7 + 0.3) / 4 and (3 * 0.8 + 0.4) / 4
    expect(page)
      .to.match(/<b>60\.0 %<\/b>\s*<span>\s*of the inputs/)
      .and.match(/<b>70\.0 %<\/b>\s*<span>\s*mean target/);
  });

  it('tells the points of the trade-off curve as figures too', async () => {
    const {allocation, ...known} = contents(['a', 'b']);
    const curve = [
      {sparsity: 0.2, loss: 0.01, lossError: 0.004, latencyMs: 2, speedup: 1.5},
      {sparsity: 0.6, loss: 0.05, lossError: null, latencyMs: 1, speedup: 3},
    ].map((point, i) => ({...point, predictedError: null, latencyMeasured: i === 1}));
    const page = await renderReport({...known, allocation: {...allocation!, curve, chosen: 1}});
    const table = /Figures of the curve(.*?)<\/details>/s.exec(page)![1];
    const rows = [...table.matchAll(/<tr class="(\w*)">(.*?)<\/tr>/gs)].map(([, style, row]) => [
      style,
      ...[...row.matchAll(/<td[^>]*>\s*(.*?)\s*<\/td>/gs)].map(([, cell]) => cell),
    ]);
    expect(rows).to.deep.equal([
      ['', '20.0 %', '1.00 points of accuracy, standard error 0.40', '2 ms, computed', '1.50x', ''],
      ['best', '60.0 %', '5.00 points of accuracy', '1 ms', '3.00x', 'chosen'],
    ]);
  });

  it('draws formats side by side and tells them as figures, with the frontier and what was chosen', async () => {
    const point = (format: ModelFormat, sparsity: number, loss: number, ms: number) => ({
      ...{format, sparsity, loss, ms, lossError: loss === 0 ? 0 : 0.001},
    });
    const points = [
      point('float32', 0, 0, 10),
      point('float32', 0.3, 0.02, 8),
      point('int8', 0, 0.002, 4),
      point('int8', 0.3, 0.022, 2.5),
    ];
    const formats: ReportFormats = {
      ...{points, frontier: [points[0], points[2], points[3]], chosen: points[3], denseMs: 10},
      ...{
        metric: 'relative perplexity',
        on: 'backend node',
        leftOut: [{format: 'int4', reason: 'no <kernel>'}],
      },
    };
    const page = await renderReport({...contents(['a']), unit: 'token', formats});
    const section = /<h2>Formats<\/h2>(.*?)<\/section>/s.exec(page)![1];
    expect(section).to.include('aria-label="Loss and tokens a second of each format, by sparsity"');
    expect(section).to.include('int8 at 30 %: 2.2 % more perplexity, 400 tokens a second');
    expect(section).to.include('Without int4: no &lt;kernel&gt;.');
    const rows = [...section.matchAll(/<tr class="(\w*)">(.*?)<\/tr>/gs)].map(([, style, row]) => [
      style,
      ...[...row.matchAll(/<t[dh][^>]*>\s*(.*?)\s*<\/t[dh]>/gs)].map(([, cell]) => cell),
    ]);
    expect(rows).to.deep.equal([
      ['', 'float32', '0.0 %', '0.0 % more perplexity', '10 ms', '100.0', '1.00x', 'frontier'],
      ['', 'float32', '30.0 %', '2.0 % more perplexity, standard error 0.1 %', '8 ms', '125.0', '1.25x', ''],
      [
        '',
        'int8',
        '0.0 %',
        '0.2 % more perplexity, standard error 0.1 %',
        '4 ms',
        '250.0',
        '2.50x',
        'frontier',
      ],
      [
        'best',
        'int8',
        '30.0 %',
        '2.2 % more perplexity, standard error 0.1 %',
        '2.5 ms',
        '400.0',
        '4.00x',
        'chosen',
      ],
    ]);
    expect(await renderReport(contents(['a']))).not.to.include('<h2>Formats</h2>');
  });

  it('draws what was computed where a single loss was measured, and no ring where nothing is masked', async () => {
    const {allocation, ...known} = contents(['a', 'b']);
    const curve = allocation!.curve.map((point, i) => ({
      ...point,
      ...(i === 0 ? {sparsity: 0, predictedError: 0, loss: 0} : {loss: null}),
    }));
    const more = {...curve[1], sparsity: 0.7, predictedError: 0.2};
    const chosen = {...allocation!, sparsity: 0, chosen: 0, curve: [...curve, more]};
    const page = await renderReport({...known, allocation: chosen});
    expect(page).to.include('predicted error').and.include('computed from the probes');
    expect(page).to.not.include('The ring is');
  });

  it('says what it does not hold and which command measures it', async () => {
    const whole = contents(['a', 'b']);
    const without = await renderReport({...whole, quality: null, bench: null});
    expect(without).to.match(
      /Not in this report: quality; from which [^.]*\. Measured by\s*<code>tfjs-sparsify report MODEL --data FILE --labels FILE --bench<\/code>/,
    );
    expect(await renderReport(whole)).to.not.include('Not in this report');
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
        missed: [],
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
