import {expect} from 'chai';
import {Command, CommanderError} from 'commander';
import type {Allocation} from '../../lib/metadata/allocation.js';
import {
  addAllocationOptions,
  allocateForCommand,
  describeAllocation,
  requestedTarget,
  type AllocationOptions,
} from '../../lib/cli/automatic-targets.js';
import {SparsifyError} from '../../lib/errors.js';
import {contents} from '../support/report-contents.js';

const parse = (...args: string[]): AllocationOptions =>
  addAllocationOptions(new Command().exitOverride().configureOutput({writeErr: () => undefined}))
    .parse(args, {from: 'user'})
    .opts();

describe('options of an allocation', () => {
  it('are what the library takes', () => {
    const all = ['--sparsity', '50%', '--auto', '--max-loss', '2%', '--speedup', '1.4', '--latency', '20'];
    expect(parse(...all, '--allocate', 'greedy')).to.deep.equal({
      ...{sparsity: 0.5, auto: true, maxLoss: 0.02, speedup: 1.4, latency: 20, allocate: 'greedy'},
    });
    expect(parse()).to.deep.equal({});
  });

  it('have bounds by pattern, as shares or per cent, several times', () => {
    const {bounds} = parse(
      '--bounds',
      '.*up_proj=0.2..0.8',
      '--bounds',
      ' (?=a).* = 0% .. 95% ',
      '--bounds',
      '.*=0.5..0.5',
    );
    expect(bounds!.map(([{patterns}, shares]) => [patterns, shares])).to.deep.equal([
      [['.*up_proj'], {minimum: 0.2, maximum: 0.8}],
      [['(?=a).*'], {minimum: 0, maximum: 0.95}],
      [['.*'], {minimum: 0.5, maximum: 0.5}],
    ]);
  });

  for (const text of [
    ...[
      '.*',
      '.*=0.5',
      '=0..1',
      ' =0..1',
      '.*=0.8..0.2',
      '.*=-0.1..0.5',
      '.*=0.5..1.1',
      '.*=0..0.5..1',
      '.*=a..b',
      '.*=..',
    ],
  ]) {
    it(`refuse the bounds "${text}"`, () => {
      expect(() => parse('--bounds', text))
        .to.throw(CommanderError)
        .with.property('message')
        .that.includes("Write PATTERN=LEAST..MOST, as in '.*up_proj=0.2..0.8' or '.*=0%..95%'.");
    });
  }

  for (const [what, options, text] of [
    [
      'bounds beside targets',
      {target: [], bounds: []},
      '--allocate and --bounds concern --sparsity and --auto, not --target',
    ],
    ['a method beside targets', {target: [], allocate: 'local'}, '--allocate and --bounds concern'],
    [
      'nothing',
      {},
      "it is not said how much to mask: give one of --target '.*=0.5', --sparsity 0.5, or --auto with",
    ],
    [
      'two',
      {target: [], sparsity: 0.5},
      '--target, --sparsity and --auto each say how much to mask: give one of',
    ],
    ['two with a speed', {sparsity: 0.5, speedup: 2}, '--target, --sparsity and --auto each say'],
  ] as const) {
    it(`refuse ${what}`, () => {
      expect(() => requestedTarget(options))
        .to.throw(SparsifyError, text)
        .with.property('code', 'bad-option');
    });
  }

  it('refuse labels of text', async () => {
    const options = {data: 'a.txt', labels: 'y.npy'};
    const {signal} = new AbortController();
    const error = await allocateForCommand(null!, {maxLoss: 0.1}, 'pooled', options, signal).catch(
      (e: unknown) => e,
    );
    expect(error).to.include({
      code: 'bad-option',
      message: '--labels do not concern text: its loss is perplexity',
    });
  });
});

describe('what is said of an allocation', () => {
  const known = contents(['a']).allocation!;
  const point = {
    sparsity: 0.25,
    predictedError: 0,
    loss: null,
    lossError: null,
    latencyMs: null,
    speedup: null,
    latencyMeasured: false,
  };
  const told = (change: Partial<Allocation>) =>
    describeAllocation({...known, metric: null, curve: [point], chosen: 0, ...change});

  it('is the mean, and what was asked where that is another', () => {
    const half = {method: 'local', sparsity: 0.5} as const;
    expect(told({...half, target: {sparsity: 0.5}, met: true})).to.equal(
      'allocated by method local: 50.0 % on average, weighted by weights',
    );
    expect(told({...half, sparsity: 0.4, target: {sparsity: 0.5}, met: false})).to.equal(
      'allocated by method local: 40.0 % on average, weighted by weights, of 50.0 % that were asked',
    );
    expect(told({...half, target: {maxLoss: 0.5}, met: false})).to.not.include('asked');
  });

  it('is the curve that it was chosen from, with what was measured', () => {
    const curve = [
      {...point, loss: 0.01234, lossError: 0.001, latencyMs: 2, speedup: 1},
      {...point, sparsity: 0.5},
      {...point, sparsity: 0.75, loss: 0.5, latencyMs: 1.23456, speedup: 1.625},
      {...point, sparsity: 0.9, latencyMs: 1, speedup: 2},
      {...point, sparsity: 0.95, loss: 0.75},
    ];
    const text = told({target: {maxLoss: 0.02}, met: true, curve, chosen: 2, metric: 'relative perplexity'});
    const lines = text.split('\n');
    expect(lines[1]).to.match(/^at most 2(\.00?)? % .*: met$/);
    expect(lines.slice(2)).to.deep.equal([
      '',
      'mean sparsity  relative perplexity   latency  speed',
      '       25.0 %      1.23 % ± 0.10 %  2.000 ms  1.00x',
      '       75.0 %              50.00 %  1.235 ms  1.63x  chosen',
      '       90.0 %                    -  1.000 ms  2.00x',
      '       95.0 %              75.00 %         -      -',
    ]);
    const divergence = told({target: {speedup: 2}, met: false, curve, chosen: 2, metric: 'KL divergence'});
    expect(divergence).to.include(': NOT MET; this comes nearest\n').and.include('0.0123 ± 0.00100');
    const accuracy = told({target: {maxLoss: 0.1}, met: true, curve, chosen: 2, metric: 'accuracy points'});
    expect(accuracy).to.include('1.23 % ± 0.10 %');
    const speed = told({target: {speedup: 2}, met: true, curve, chosen: 3});
    expect(speed.split('\n')[3]).to.equal('mean sparsity   latency  speed');
  });
});
