import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {
  describeLayers,
  describeSparsity,
  describeTotal,
  describeWeights,
  layersJson,
} from '../../lib/cli/layer-list.js';
import {modelName} from '../../lib/cli/report-option.js';
import {
  comparisonTable,
  labelledTable,
  perplexityTable,
  sparsityOn,
  weightFormats,
} from '../../lib/cli/report-tables.js';
import {describeComparison, describeGroups} from '../../lib/cli/windows.js';
import {compressWeights} from '../../lib/compress.js';
import type {DenseReport} from '../../lib/model/inspect.js';
import type {Comparison, SparsityReport} from '../../lib/language/index.js';

/** Cells of a table's lines. */
const cells = (text: string) => text.split('\n').map((line) => line.trim().split(/ {2,}/));

const SPARSITY: SparsityReport = {
  mean: 0.4,
  groups: [
    {group: 'mlp.down', layers: 3, actual: 0.5},
    {group: 'mlp.up', layers: 1, actual: 0.1},
  ],
  layers: [
    {path: 'a', target: 0.5, actual: 0.45},
    {path: 'b', target: null, actual: 0.35},
  ],
};
const COMPARISON: Comparison = {
  modes: [
    {
      mode: 'fp32',
      sparsity: 0,
      wordPerplexity: 20.12345,
      tokenPerplexity: 10.98765,
      divergence: 0,
      agreement: 1,
    },
    {
      mode: 'int8_asym + sparse_activation',
      sparsity: 0.4,
      wordPerplexity: 22,
      tokenPerplexity: 12,
      divergence: 0.01234,
      agreement: 0.875,
    },
  ],
  sparsity: SPARSITY,
  tokens: 4094,
  words: 3210.6,
};

describe('tables of the command line', () => {
  it('tell of layers: sizes, targets, what is reached, thresholds', () => {
    const layers: DenseReport[] = [
      {
        path: 'a',
        inputSize: 4,
        units: 8,
        weightShare: 0.25,
        format: 'float32',
        bytes: 128,
        sparsified: true,
        target: 0.5,
        reached: 0.475,
        threshold: 0.123456,
      },
      {
        path: 'b',
        inputSize: 8,
        units: 2,
        weightShare: 0.125,
        format: 'int8_sym',
        bytes: 3000,
        sparsified: false,
        target: null,
        reached: null,
        threshold: null,
      },
    ];
    expect(cells(describeLayers(layers))).to.deep.equal([
      ['layer', 'inputs', 'units', 'weights', 'format', 'size', 'target', 'reached', 'threshold'],
      ['a', '4', '8', '25.0 %', 'float32', '128 B', '50.0 %', '47.5 %', '0.12346'],
      ['b', '8', '2', '12.5 %', 'int8_sym', '3.0 KB', '-', '-', '-'],
    ]);
    const [a, b] = layersJson([{...layers[0], threshold: -Infinity}, layers[0]]);
    expect([a.threshold, b.threshold]).to.deep.equal([null, 0.123456]);
    expect(a.path).to.equal('a');
  });

  it('tell of weights and their size in all', () => {
    const weights = [
      {
        path: 'a',
        type: 'Conv2D',
        weight: 'kernel',
        shape: [3, 3, 2, 4],
        format: 'int8_asym' as const,
        bytes: 92,
      },
      {path: 'b', type: 'Dense', weight: 'kernel', shape: [10, 2], format: 'float32' as const, bytes: 80},
    ];
    expect(cells(describeWeights(weights))).to.deep.equal([
      ['layer', 'type', 'weight', 'shape', 'format', 'size'],
      ['a', 'Conv2D', 'kernel', '3 x 3 x 2 x 4', 'int8_asym', '92 B'],
      ['b', 'Dense', 'kernel', '10 x 2', 'float32', '80 B'],
      [''],
      ['172 B in all, 368 B as float32'],
    ]);
    expect(describeTotal([])).to.equal('0 B in all, 0 B as float32');
  });

  it('tell of actual sparsity by layer and by group', () => {
    expect(cells(describeSparsity(SPARSITY.layers))).to.deep.equal([
      ['layer', 'target', 'actual'],
      ['a', '50.0 %', '45.0 %'],
      ['b', '-', '35.0 %'],
    ]);
    expect(cells(describeGroups(SPARSITY))).to.deep.equal([
      ['layers', 'count', 'actual sparsity'],
      ['mlp.down', '3', '50.0 %'],
      ['mlp.up', '1', '10.0 %'],
      ['mean', '2', '40.0 %'],
    ]);
  });

  it('set numbers to the right', () => {
    const layer = {
      path: 'a',
      inputSize: 4,
      units: 8,
      weightShare: 0.25,
      format: 'float32',
      bytes: 128,
    } as const;
    const dense = {...layer, sparsified: false, target: null, reached: null, threshold: null};
    const sparse = {...layer, sparsified: true, target: 0.5, reached: 0.475, threshold: 0.123456};
    expect(describeLayers([dense, sparse]).split('\n')).to.deep.equal([
      'layer  inputs  units  weights  format    size  target  reached  threshold',
      'a           4      8   25.0 %  float32  128 B       -        -          -',
      'a           4      8   25.0 %  float32  128 B  50.0 %   47.5 %    0.12346',
    ]);
    const weight = {
      path: 'a',
      type: 'Dense',
      weight: 'kernel',
      shape: [1, 2],
      format: 'float32' as const,
      bytes: 8,
    };
    expect(
      describeWeights([weight, {...weight, shape: [10, 200], bytes: 8000}])
        .split('\n')
        .slice(0, 3),
    ).to.deep.equal([
      'layer  type   weight     shape  format     size',
      'a      Dense  kernel     1 x 2  float32     8 B',
      'a      Dense  kernel  10 x 200  float32  8.0 KB',
    ]);
    expect(describeSparsity(SPARSITY.layers).split('\n')).to.deep.equal([
      'layer  target  actual',
      'a      50.0 %  45.0 %',
      'b           -  35.0 %',
    ]);
    expect(describeGroups(SPARSITY).split('\n').slice(0, 2)).to.deep.equal([
      'layers    count  actual sparsity',
      'mlp.down      3           50.0 %',
    ]);
    expect(describeComparison(COMPARISON).split('\n').slice(0, 3)).to.deep.equal([
      'mode                           avg. activation sparsity  word perplexity  token perplexity  KL divergence  same likeliest token',
      'fp32                                                  -           20.123            10.988           0.00               100.0 %',
      'int8_asym + sparse_activation                    40.0 %           22.000            12.000         0.0123                87.5 %',
    ]);
  });

  it('put language models beside each other', () => {
    const lines = cells(describeComparison(COMPARISON));
    expect(lines.slice(0, 3)).to.deep.equal([
      [
        'mode',
        'avg. activation sparsity',
        'word perplexity',
        'token perplexity',
        'KL divergence',
        'same likeliest token',
      ],
      ['fp32', '-', '20.123', '10.988', '0.00', '100.0 %'],
      ['int8_asym + sparse_activation', '40.0 %', '22.000', '12.000', '0.0123', '87.5 %'],
    ]);
    expect(lines[4]).to.deep.equal([
      'KL divergence from the first line, in nats a token; 4,094 tokens, 3,211 words',
    ]);
    expect(lines[6]).to.deep.equal(['layers', 'count', 'actual sparsity']);
    expect(describeComparison({...COMPARISON, sparsity: null})).to.not.include('actual sparsity\n');
  });
});

describe("tables of a command's report", () => {
  it('are of labels: accuracy as a share, the rest as a number; the sparsity is the last one’s', () => {
    const rows = ['dense', 'sparse'].map((name, i) => ({
      name,
      weights: 'float32',
      metric: 'accuracy' as const,
      value: 0.9 - i / 10,
      items: 1200,
    }));
    const table = labelledTable(rows, SPARSITY.layers, 'x.npy');
    expect(table.metrics).to.deep.equal([{title: 'accuracy', kind: 'share', better: 'higher'}]);
    expect(table.rows.map(({name, sparsity, values}) => ({name, sparsity, values}))).to.deep.equal([
      {name: 'dense', sparsity: null, values: [0.9]},
      {name: 'sparse', sparsity: 0.4, values: [0.8]},
    ]);
    expect(table.on).to.equal('x.npy, 1,200 items');
    expect(labelledTable(rows, [], 'x').rows[1].sparsity).to.equal(null);
    const [metric] = labelledTable(
      rows.map((row) => ({...row, metric: 'mean squared error'})),
      [],
      'x',
    ).metrics;
    expect(metric).to.deep.equal({title: 'mean squared error', kind: 'number', better: 'lower'});
  });

  it('are of perplexity, each model with its own sparsity', () => {
    const row = {
      name: 'a',
      weights: null,
      wordPerplexity: 3,
      tokenPerplexity: 2,
      tokens: 10,
      words: 7.5,
      sparsity: null,
    };
    const table = perplexityTable(
      [row, {...row, name: 'b', wordPerplexity: 4, tokens: 20, words: 8, sparsity: SPARSITY}],
      't.txt',
    );
    expect(table.rows.map(({name, sparsity, values}) => ({name, sparsity, values}))).to.deep.equal([
      {name: 'a', sparsity: null, values: [3, 2]},
      {name: 'b', sparsity: 0.4, values: [4, 2]},
    ]);
    expect(table.on).to.equal('t.txt, 20 tokens, 8 words');
    expect(table.metrics.map(({title, better}) => [title, better])).to.deep.equal([
      ['word perplexity', 'lower'],
      ['token perplexity', 'lower'],
    ]);
  });

  it('are of models against the dense one, which has no distance from itself', () => {
    const table = comparisonTable(COMPARISON, 't.txt');
    expect(table.rows.map(({values, sparsity}) => ({values, sparsity}))).to.deep.equal([
      {values: [20.12345, 10.98765, null, null], sparsity: null},
      {values: [22, 12, 0.01234, 0.875], sparsity: 0.4},
    ]);
    expect(table.metrics[3]).to.deep.equal({title: 'same likeliest token', kind: 'share', better: 'higher'});
    expect(sparsityOn(SPARSITY, table)).to.deep.equal({
      layers: SPARSITY.layers,
      on: 'on t.txt, 4,094 tokens, 3,211 words',
    });
    expect(sparsityOn(null, table)).to.equal(null);
  });

  it("name the format of a model's weights: of its Dense layers, else of others, or none", async () => {
    await tf.setBackend('cpu');
    const {dense, embedding, globalAveragePooling1d, reLU} = tf.layers;
    const mixed = tf.sequential({
      layers: [
        embedding({inputDim: 4, outputDim: 2, inputLength: 3}),
        globalAveragePooling1d({}),
        dense({units: 1}),
      ],
    });
    const words = tf.sequential({layers: [embedding({inputDim: 4, outputDim: 2, inputLength: 3})]});
    const small = await compressWeights(words);
    const none = tf.sequential({layers: [reLU({inputShape: [2]})]});
    expect([mixed, words, small, none].map(weightFormats)).to.deep.equal([
      'float32',
      'float32',
      'int8_asym',
      null,
    ]);
    for (const model of [small, words, mixed, none]) model.dispose();
  });

  for (const [path, name] of [
    ['models/digits/model.json', 'digits'],
    ['models/digits', 'digits'],
    ['a/other.json', 'other'],
    ['a/SmolLM2.Q4_1.gguf', 'SmolLM2.Q4_1'],
    ['https://me:secret@host/m/digits/model.json?key=1', 'digits'],
    ['https://me:secret@host/model.json', 'host'],
    ['https://host/m/other.json?sig=a/b', 'other'],
    ['/m/a.json.old', 'a.json.old'],
    ['/m/a.GGUF', 'a'],
    ['/m/a.bin', 'a.bin'],
  ] as const) {
    it(`name the model at ${path} "${name}"`, () => {
      expect(modelName(path)).to.equal(name);
    });
  }
});
