import {expect} from 'chai';
import {describeBreakEvens} from '../../lib/cli/commands/bench.js';
import {summarizeLayers, summarizeWeights} from '../../lib/cli/layer-summary.js';
import type {DenseReport} from '../../lib/model/inspect.js';

const KINDS = ['self_attn.q_proj', 'mlp.down_proj'];

function layersOf(blocks: number): DenseReport[] {
  const paths = Array.from({length: blocks}, (_, i) => KINDS.map((kind) => `model.layers.${i}.${kind}`));
  return [...paths.flat(), 'lm_head'].map((path, i) => ({
    ...{path, inputSize: 10, units: 25, weightShare: 0.01, bytes: 1000, format: 'float32' as const},
    ...(path === 'lm_head'
      ? {sparsified: false, target: null, reached: null, threshold: null}
      : {
          ...{sparsified: true, reached: i % 2 === 0 ? 0.19 : 0.5, threshold: 0.1},
          target: i % 2 === 0 ? 0.2 + (0.4 * (i / 2)) / (blocks - 1) : 0.5,
        }),
  }));
}

describe('many layers in a terminal', () => {
  it('have one line a kind, and what does not repeat its own', () => {
    const lines = summarizeLayers(layersOf(30), 'out')
      .split('\n')
      .map((line) => line.split(/ {2,}/));
    expect(lines).to.deep.equal([
      ['layers', 'count', 'size', 'format', 'mean target', 'reached', 'least', 'most'],
      ['self_attn.q_proj', '30', '30.0 KB', 'float32', '40.0 %', '19.0 %', '20.0 %', '60.0 %'],
      ['mlp.down_proj', '30', '30.0 KB', 'float32', '50.0 %', '50.0 %', '50.0 %', '50.0 %'],
      ['lm_head', '1', '1.0 KB', 'float32', '-', '-', '-', '-'],
      [''],
      ['tfjs-sparsify inspect out: each of the 61 layers'],
    ]);
  });

  it('have a line each where they are few, or do not repeat', () => {
    expect(summarizeLayers(layersOf(3), 'out').split('\n')).to.have.length(1 + 7);
    const unlike = layersOf(30).map((layer, i) => ({...layer, path: `dense_${'x'.repeat(i)}`}));
    expect(summarizeLayers(unlike, 'out').split('\n')).to.have.length(1 + 61);
  });

  it('show their INT8 weights by kind too, with the size in all', () => {
    const weights = layersOf(30).map(({path}) => ({
      ...{path, type: 'Dense', weight: 'kernel', shape: [10, 25], bytes: 250},
      format: 'int8_asym' as const,
    }));
    const lines = summarizeWeights(weights).split('\n');
    expect(lines).to.have.length(1 + 3 + 2);
    expect(lines[1].split(/ {2,}/)).to.deep.equal(['self_attn.q_proj', '30', 'Dense', 'int8_asym', '7.5 KB']);
    expect(lines[5]).to.equal('15.3 KB in all, 61.0 KB as float32');
  });

  it('say their break-even together where it is the same', () => {
    const layers = layersOf(30).map(({path}, i) => ({
      ...{path, inputSize: 10, units: 25, rows: 1, calls: 1, denseMs: 1, times: []},
      breakEven: [null, 0.3][i] === undefined ? 0 : [null, 0.3][i],
    }));
    expect(describeBreakEvens(layers)).to.deep.equal([
      'model.layers.0.self_attn.q_proj: faster dense at every sparsity',
      'model.layers.0.mlp.down_proj: faster dense below 30 %',
      '59 layers: faster sparsified, even with nothing masked',
    ]);
  });
});
