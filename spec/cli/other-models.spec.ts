import {existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {divergenceLoss} from '../../lib/eval/loss.js';
import {allOf} from '../../lib/eval/held-out.js';
import {loadLayersModel, saveLayersModel} from '../../lib/io/model/model-files.js';
import {registerLayers} from '../../lib/layers/registry.js';
import {ensureBuilt} from '../../lib/model/dense-layers.js';
import {normals} from '../support/normals.js';
import {cli} from '../support/cli.js';

const {conv2d, dense, embedding, globalAveragePooling1d, globalAveragePooling2d, lstm} = tf.layers;

describe('the command line on models without Dense layers', () => {
  let folder = '';
  const at = (name: string) => join(folder, name);
  before(async () => {
    registerLayers();
    await tf.setBackend('cpu');
    folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-cli-'));
  });
  after(() => rmSync(folder, {recursive: true, force: true}));

  for (const [name, layers, type, shape, outputs] of [
    [
      'conv',
      () => [conv2d({filters: 4, kernelSize: 3, inputShape: [8, 8, 3]}), globalAveragePooling2d({})],
      'Conv2D',
      [3, 3, 3, 4],
      4,
    ],
    [
      'embedding',
      () => [embedding({inputDim: 50, outputDim: 8, inputLength: 6}), globalAveragePooling1d({})],
      'Embedding',
      [50, 8],
      8,
    ],
    [
      'lstm',
      () => [embedding({inputDim: 50, outputDim: 8, inputLength: 6}), lstm({units: 4})],
      'Embedding',
      [50, 8],
      4,
    ],
  ] as const) {
    it(`compresses and inspects a model of ${name}, with its card`, async () => {
      const model = tf.sequential({layers: [...layers()] as tf.layers.Layer[]});
      await saveLayersModel(model, at(name));
      model.dispose();
      const compressed = await cli(['compress', at(name), '--out', at(`${name}-int8`)]);
      expect(compressed.code, compressed.stderr).to.equal(0);
      expect(compressed.stdout)
        .to.include('int8_asym')
        .and.include(`saved to ${at(`${name}-int8`)}`);
      const card = readFileSync(at(`${name}-int8/README.md`), 'utf8');
      expect(card).to.include(`no Dense layers; weights of ${type} int8_asym`).and.include('  - int8');
      const small = await loadLayersModel(at(`${name}-int8`));
      expect(small.outputs[0].shape.at(-1)).to.equal(outputs);
      small.dispose();

      const inspected = await cli(['inspect', at(name), '--json']);
      const {layers: listed, weights} = JSON.parse(inspected.stdout) as {
        layers: unknown[];
        weights: Record<string, unknown>[];
      };
      expect(listed).to.deep.equal([]);
      expect(weights.map(({type, shape, format}) => ({type, shape, format}))).to.deep.equal([
        {type, shape, format: 'float32'},
      ]);
      const shown = await cli(['inspect', at(`${name}-int8`)]);
      expect(shown.code, shown.stderr).to.equal(0);
      expect(shown.stdout).to.include('no Dense layers').and.include('int8_asym');
    });
  }

  it('reports on one', async () => {
    const report = await cli(['report', at('conv-int8'), '--out', at('conv.html')]);
    expect(report.code, report.stderr).to.equal(0);
    expect(readFileSync(at('conv.html'), 'utf8')).to.include('no Dense layers; weights of Conv2D int8_asym');
  });

  it('inspects one with nothing to compress either', async () => {
    const model = tf.sequential({layers: [lstm({units: 2, inputShape: [3, 2]})]});
    await saveLayersModel(model, at('bare'));
    model.dispose();
    const {code, stdout} = await cli(['inspect', at('bare')]);
    expect(code).to.equal(0);
    expect(stdout).to.include('nothing to sparsify').and.include('nothing to compress');
    const compressed = await cli(['compress', at('bare'), '--out', at('bare-int8')]);
    expect(compressed.code).to.equal(1);
    expect(existsSync(at('bare-int8'))).to.be.false;
  });
});

describe('evaluate without labels', () => {
  let folder = '';
  const at = (name: string) => join(folder, name);
  const ITEMS = 20;
  const rows = normals(ITEMS * 6, 5);

  before(async () => {
    registerLayers();
    await tf.setBackend('cpu');
    folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-cli-'));
    const model = tf.sequential({
      layers: [
        dense({
          name: 'hidden',
          inputShape: [6],
          units: 12,
          activation: 'relu',
          kernelInitializer: tf.initializers.glorotNormal({seed: 3}),
        }),
        dense({
          name: 'head',
          units: 3,
          activation: 'softmax',
          kernelInitializer: tf.initializers.glorotNormal({seed: 4}),
        }),
      ],
    });
    await saveLayersModel(model, at('dense'));
    model.dispose();
    const lines = Array.from({length: ITEMS}, (_, i) => JSON.stringify([...rows.subarray(i * 6, i * 6 + 6)]));
    writeFileSync(at('data.jsonl'), lines.join('\n'));
    const made = await cli([
      'sparsify',
      at('dense'),
      '--data',
      at('data.jsonl'),
      '--target',
      '.*=0.5',
      '--out',
      at('sparse'),
    ]);
    expect(made.code, made.stderr).to.equal(0);
  });
  after(() => rmSync(folder, {recursive: true, force: true}));

  interface Evaluated {
    models: {model: string; metric: string; value: number; items: number}[];
  }

  it('holds a sparse model against itself with its thresholds off, and against a baseline', async () => {
    const sparse = await loadLayersModel(at('sparse'));
    ensureBuilt(sparse);
    const batches = {
      length: 2,
      async *getInferenceData() {
        yield tf.tensor2d(rows.subarray(0, 16 * 6), [16, 6]);
        yield tf.tensor2d(rows.subarray(16 * 6), [4, 6]);
        await Promise.resolve();
      },
    };
    const {loss} = await divergenceLoss(sparse, allOf(batches)).measure(sparse);
    expect(loss).to.be.greaterThan(1e-4);
    sparse.dispose();

    const options = ['--data', at('data.jsonl'), '--batch-size', '16'];
    for (const [baseline, name] of [
      [[], 'dense (thresholds off)'],
      [['--baseline', at('dense')], at('dense')],
    ] as const) {
      const result = await cli(['evaluate', at('sparse'), ...options, ...baseline, '--json']);
      expect(result.code, result.stderr).to.equal(0);
      const {models} = JSON.parse(result.stdout) as Evaluated;
      expect(models.map(({model, metric, items}) => ({model, metric, items}))).to.deep.equal(
        [name, at('sparse')].map((model) => ({model, metric: 'KL divergence', items: ITEMS})),
      );
      expect(models[0].value).to.equal(0);
      expect(models[1].value).to.be.closeTo(loss, 1e-6);
    }
    const shown = await cli(['evaluate', at('sparse'), ...options, '--report', at('e.html')]);
    expect(shown.stdout).to.include('KL divergence').and.include('dense (thresholds off)');
    expect(readFileSync(at('e.html'), 'utf8'))
      .to.include('KL divergence')
      .and.include('dense (thresholds off)');
  });

  it('says what a dense model could be held against', async () => {
    const {code, stderr} = await cli(['evaluate', at('dense'), '--data', at('data.jsonl')]);
    expect(code).to.equal(2);
    expect(stderr).to.include('--labels').and.include('--baseline');
  });

  it('writes no card over one that it cannot read, and says so', async () => {
    mkdirSync(at('kept/README.md'), {recursive: true});
    const {code, stderr} = await cli(['compress', at('dense'), '--out', at('kept')]);
    expect(code, stderr).to.equal(0);
    expect(stderr).to.include(at('kept/README.md')).and.include('stays as it is');
  });

  it('shows no password of a model that it cannot load', async () => {
    for (const model of ['http://me:secret@127.0.0.1:1/m/model.json', 'ftp://me:secret@host/m']) {
      const {code, stdout, stderr} = await cli([
        'evaluate',
        model,
        '--data',
        at('data.jsonl'),
        '--baseline',
        model,
      ]);
      expect(code).to.be.greaterThan(0);
      expect(stdout + stderr).to.not.include('secret');
    }
  });
});
