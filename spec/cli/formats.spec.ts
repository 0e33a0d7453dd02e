import {expect} from 'chai';
import {Command} from 'commander';
import type {FormatComparison} from '../../lib/allocate-formats.js';
import type {FormatPoint, ModelFormat} from '../../lib/allocation/format-points.js';
import {
  comparesFormats,
  describeFastest,
  describeFormats,
  formatsOption,
  type FormatsOptions,
} from '../../lib/cli/formats.js';
import {SparsifyError} from '../../lib/errors.js';

function parse(...args: string[]): FormatsOptions {
  const command = new Command('x').addOption(formatsOption('formats')).exitOverride();
  return command
    .configureOutput({writeErr: () => undefined})
    .parse(args, {from: 'user'})
    .opts();
}

function point(format: ModelFormat, sparsity: number, loss: number, ms: number): FormatPoint {
  return {format, sparsity, loss, lossError: loss === 0 ? 0 : 0.001, ms};
}

const POINTS = [point('float32', 0, 0, 10), point('int8', 0, 0.002, 4), point('int8', 0.3, 0.03, 2.5)];
const COMPARISON: FormatComparison = {
  points: POINTS,
  frontier: POINTS,
  metric: 'relative perplexity',
  denseMs: 10,
  leftOut: [{format: 'int4', reason: 'backend x has no kernel for it'}],
};

describe('--formats', () => {
  it('is a list of formats, or all', () => {
    expect(parse('--formats', 'float32, int4').formats).to.deep.equal(['float32', 'int4']);
    expect(parse('--formats', 'all').formats).to.deep.equal(['float32', 'bfloat16', 'int8', 'int4', 'kept']);
    expect(parse().formats).to.equal(undefined);
  });

  for (const [text, expected] of [
    ['', 'It has "";'],
    ['int8,', 'It has "";'],
    ['int16', 'It has "int16"; write formats of float32, bfloat16, int8, int4, kept'],
    ['flaot32', 'Did you mean float32?'],
  ] as const) {
    it(`refuses "${text}" and says what is allowed`, () => {
      expect(() => parse('--formats', text)).to.throw(expected);
    });
  }

  it('is for all formats by default where a language model is searched for the best', () => {
    expect(comparesFormats({maxLoss: 0.01}, {data: 'a.txt'})).to.equal(true);
    expect(comparesFormats({maxLoss: 0.01}, {data: 'a.npy'})).to.equal(false);
    expect(comparesFormats({maxLoss: 0.01}, {data: 'a.npy', formats: ['int8']})).to.equal(true);
    expect(comparesFormats({maxLoss: 0.01}, {data: 'a.txt', compress: 'int8_asym'})).to.equal(false);
    expect(comparesFormats({sparsity: 0.5}, {data: 'a.txt'})).to.equal(false);
    expect(comparesFormats(null, {data: 'a.txt'})).to.equal(false);
  });

  it('does not go with what leaves nothing to choose', () => {
    const formats = ['int8'] as const;
    expect(() => comparesFormats({sparsity: 0.5}, {data: 'a.txt', formats})).to.throw(
      SparsifyError,
      '--auto',
    );
    expect(() => comparesFormats(null, {data: 'a.txt', formats})).to.throw(SparsifyError, '--auto');
    expect(() => comparesFormats({speedup: 2}, {data: 'a.txt', formats, compress: 'int8_asym'})).to.throw(
      SparsifyError,
      '--compress says it',
    );
  });
});

describe('what is said of formats', () => {
  it('is one table with the frontier and the choice marked, and what was left out', () => {
    expect(
      describeFormats(COMPARISON, POINTS[2], 'token')
        .split('\n')
        .map((line) => line.trimEnd()),
    ).to.deep.equal([
      'format   sparsity  relative perplexity    latency  tokens/s  speed',
      'float32     0.0 %                0.0 %  10.000 ms     100.0  1.00x  frontier',
      'int8        0.0 %        0.2 % ± 0.1 %   4.000 ms     250.0  2.50x  frontier',
      'int8       30.0 %        3.0 % ± 0.1 %   2.500 ms     400.0  4.00x  chosen',
      '',
      'without int4: backend x has no kernel for it',
    ]);
  });

  it('names the fastest for losses', () => {
    expect(describeFastest(COMPARISON, undefined).split('\n').slice(0, 4)).to.deep.equal([
      'fastest, of what was measured, for',
      'at most 1.0 % more perplexity: int8, dense, 2.50x',
      'at most 2.0 % more perplexity: int8, dense, 2.50x',
      'at most 5.0 % more perplexity: int8, 30.0 % masked, 4.00x',
    ]);
    expect(describeFastest(COMPARISON, 0.001).split('\n')[1]).to.include('float32, dense, 1.00x');
  });
});
