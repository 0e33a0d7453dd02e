import {expect} from 'chai';
import {arrange, placeOf, shortName} from '../../lib/report/layers-by-kind.js';
import {logTicks} from '../../lib/report/log-ticks.js';
import {blockPaths} from '../support/report-contents.js';

describe('layers by kind and block', () => {
  const cases = [
    {path: 'model.layers.12.mlp.up_proj', kind: 'mlp.up_proj', block: 12},
    {path: 'model.layers.3.block_sparse_moe.experts.7.w1', kind: 'block_sparse_moe.experts.w1', block: 3},
    {path: 'encoder/block_4/dense', kind: 'dense', block: 4},
    {path: 'hidden_2', kind: 'hidden', block: 2},
    {path: 'lm_head', kind: 'lm_head', block: null},
    {path: 'conv1x1', kind: 'conv1x1', block: null},
  ];
  for (const {path, kind, block} of cases) {
    it(`has ${path} at ${kind}, ${block}`, () => {
      expect(placeOf(path)).to.deep.equal({kind, block});
    });
  }

  it('makes 4 rows of 5 of 20 layers, the head aside', () => {
    const {kinds, blocks, cells} = arrange([...blockPaths(5), 'lm_head'])!;
    expect(kinds).to.deep.equal(['self_attn.q_proj', 'self_attn.o_proj', 'mlp.up_proj', 'mlp.down_proj']);
    expect(blocks).to.deep.equal([0, 1, 2, 3, 4]);
    expect(cells).to.have.length(20);
  });

  it("has a block's experts in one cell", () => {
    const paths = [0, 1, 2].flatMap((block) =>
      Array.from({length: 8}, (_, expert) => `layers.${block}.experts.${expert}.w1`),
    );
    const {cells} = arrange(paths)!;
    expect(cells.map(({paths}) => paths.length)).to.deep.equal([8, 8, 8]);
  });

  it('leaves few layers, and names without repetition, as they are', () => {
    expect(arrange(blockPaths(3))).to.equal(null); // 12
    expect(arrange(Array.from({length: 20}, (_, i) => `layer ${String.fromCharCode(97 + i)}`))).to.equal(
      null,
    );
  });
});

describe('whether layers are arranged', () => {
  const paths = (blocks: readonly number[], kinds: number) =>
    blocks.flatMap((block) =>
      Array.from({length: kinds}, (_, i) => `layers.${block}.k${String.fromCharCode(97 + i)}`),
    );
  const heads = (count: number) =>
    Array.from({length: count}, (_, i) => `head_${String.fromCharCode(97 + i)}`);
  for (const [what, given, expected] of [
    ['13 layers in two blocks', [...paths([0, 1], 6), 'head'], true],
    ['12 layers in two blocks', paths([0, 1], 6), false],
    ['layers of one block', paths([3], 13), false],
    ['experts of one block', Array.from({length: 13}, (_, i) => `layers.3.experts.${i}.w1`), false],
    ['kinds that are half as many as layers', paths([0, 1], 7), true],
    ['kinds that are more', [...paths([0, 1], 7), 'layers.0.extra'], false],
    ['layers half of which are in blocks', [...paths([0, 1, 2], 4), ...heads(12)], true],
    ['layers fewer of which are in blocks', [...paths([0, 1, 2], 4), ...heads(13)], false],
  ] as const) {
    it(`arranges ${what}: ${expected}`, () => {
      expect(arrange(given) !== null).to.equal(expected);
    });
  }

  it('has blocks by their numbers, whatever the order of the layers', () => {
    expect(arrange(paths([10, 2, 1], 5))!.blocks).to.deep.equal([1, 2, 10]);
  });

  it('shortens a path to its end where it is longer than the axis has room for', () => {
    expect(shortName('a'.repeat(28))).to.equal('a'.repeat(28));
    expect(shortName(`x${'a'.repeat(28)}`)).to.equal(`…${'a'.repeat(27)}`);
    expect(shortName('abcdef', 4)).to.equal('…def');
  });
});

describe('ticks of a logarithmic axis', () => {
  const cases: readonly {domain: [number, number]; ticks: number[]}[] = [
    {domain: [0.003, 0.03], ticks: [0.005, 0.01, 0.02]},
    {domain: [0.0009, 0.2], ticks: [0.001, 0.01, 0.1]},
    {domain: [1e-8, 1], ticks: [1e-8, 1e-5, 1e-2]},
    {domain: [1, 10], ticks: [1, 10]},
    {domain: [1.5, 99], ticks: [2, 5, 10, 20, 50]},
    {domain: [1, 1000], ticks: [1, 10, 100, 1000]},
    {domain: [1, 10000], ticks: [1, 100, 10000]},
  ];
  for (const {domain, ticks} of cases) {
    it(`on [${domain.join(', ')}] are ${ticks.join(', ')}`, () => {
      expect(logTicks(domain)).to.deep.equal(ticks);
    });
  }
});
