import {readFileSync, writeFileSync} from 'node:fs';

import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';

import {fileSystem} from '../../../lib/io/model/file-system.js';
import {loadLayersModel, saveLayersModel} from '../../../lib/io/model/model-files.js';
import {writeModel} from '../../../lib/io/model/model-writer.js';
import {rawValue} from '../../../lib/tfjs.js';
import {checkForLeaks, disposeModels, onEveryBackend} from '../../support/backends.js';
import {temporaryFolder, failure} from '../../support/io/files.js';
import {weightBytes} from '../../support/io/weight-bytes.js';
import {HalfListed, noteRuns, Odd, type OddArgs, runsOfNoted} from '../../support/io/odd-layers.js';

const {layers} = tf;

/** Models of every kind of layer that keeps weights elsewhere than in itself, or several kinds of them. */
const TOPOLOGIES: readonly (readonly [what: string, make: () => tf.LayersModel])[] = [
  ['Dense layers', () => tf.sequential({layers: [layers.dense({units: 3, inputShape: [4]})]})],
  [
    'an embedding and normalizations',
    () =>
      tf.sequential({
        layers: [
          layers.embedding({inputDim: 7, outputDim: 4, inputShape: [5]}),
          layers.layerNormalization(),
          layers.batchNormalization({movingMeanInitializer: 'randomNormal'}),
        ],
      }),
  ],
  [
    'convolutions',
    () =>
      tf.sequential({
        layers: [
          layers.conv2d({filters: 2, kernelSize: 3, inputShape: [6, 6, 2]}),
          layers.depthwiseConv2d({kernelSize: 2}),
          layers.separableConv2d({filters: 3, kernelSize: 2}),
          layers.prelu(),
          layers.flatten(),
        ],
      }),
  ],
  [
    'wrappers around layers and cells',
    () =>
      tf.sequential({
        layers: [
          layers.timeDistributed({layer: layers.dense({units: 3}), inputShape: [4, 2]}),
          layers.bidirectional({
            layer: layers.lstm({units: 2, returnSequences: true}),
            mergeMode: 'concat',
          }),
          layers.gru({units: 2, returnSequences: true}),
          layers.rnn({cell: [layers.lstmCell({units: 3}), layers.simpleRNNCell({units: 2})]}),
        ],
      }),
  ],
  [
    'nested models and a layer that is called twice',
    () => {
      const inner = tf.sequential({layers: [layers.dense({name: 'inner', units: 4, inputShape: [4]})]});
      const shared = layers.dense({name: 'shared', units: 4});
      const input = tf.input({shape: [4]});
      const once = shared.apply(inner.apply(input)) as tf.SymbolicTensor;
      return tf.model({inputs: input, outputs: shared.apply(once) as tf.SymbolicTensor});
    },
  ],
];

/** A model's topology as text; stacked cells get a new name whenever they are built. */
function topologyOf(model: tf.LayersModel): string {
  return JSON.stringify(model.toJSON(null, false)).replace(
    /stacked_rnn_cells_StackedRNNCells\d+/g,
    'stacked',
  );
}

/** A model of one layer with one weight of growing numbers, or of 0 and 1. */
function oddModel(args: OddArgs): tf.LayersModel {
  const input = tf.input({shape: [1]});
  const model = tf.model({inputs: input, outputs: new Odd(args).apply(input) as tf.SymbolicTensor});
  const size = args.shape.reduce((product, dimension) => product * dimension, 1);
  const values = new {float32: Float32Array, int32: Int32Array, bool: Uint8Array}[args.dtype](size);
  for (let i = 0; i < size; i++) values[i] = args.dtype === 'bool' ? (i * i) % 3 : i * 0.37;
  tf.tidy(() => {
    model.setWeights([tf.tensor(values, args.shape, args.dtype)]);
  });
  return model;
}

describe('loadLayersModel, weight by weight', () => {
  const at = temporaryFolder();
  checkForLeaks();
  before(() => {
    tf.serialization.registerClass(Odd);
    tf.serialization.registerClass(HalfListed);
  });

  onEveryBackend((backend) => {
    for (const [what, make] of TOPOLOGIES) {
      it(`gives what TensorFlow.js gives: ${what}`, async () => {
        const model = make();
        await saveLayersModel(model, at(), {maxShardBytes: 50});
        const [stock, streamed] = [await tf.loadLayersModel(fileSystem(at())), await loadLayersModel(at())];
        expect(streamed.weights.map(({originalName}) => originalName)).to.deep.equal(
          stock.weights.map(({originalName}) => originalName),
        );
        expect(weightBytes(streamed)).to.deep.equal(weightBytes(model));
        expect(topologyOf(streamed)).to.equal(topologyOf(stock));
        tf.tidy(() => {
          const shape = model.inputs[0].shape.map((dimension) => dimension ?? 2);
          const x = tf.range(0, tf.util.sizeFromShape(shape)).mod(7).reshape(shape);
          const [ours, theirs] = [streamed, model].map((each) => (each.predict(x) as tf.Tensor).dataSync());
          expect(ours).to.deep.equal(theirs);
        });
        disposeModels(model, stock, streamed);
      });
    }

    // A piece is 16 MiB: 4,194,304 values of 4 bytes.
    const large: readonly OddArgs[] = [
      {shape: [2500, 2000], dtype: 'float32'},
      {shape: [5_000_000], dtype: 'float32'},
      {shape: [4_194_305], dtype: 'int32'}, // odd: cannot be cut into rows
      {shape: [3, 7, 250_001], dtype: 'int32'},
      {shape: [1, 100_000], dtype: 'bool'},
      {shape: [17_000, 1000], dtype: 'bool'},
    ];
    for (const args of large) {
      it(`gives every value of ${args.dtype} [${args.shape}]`, async () => {
        const model = oddModel(args);
        await saveLayersModel(model, at());
        const loaded = await loadLayersModel(at());
        const [saved, found] = [model, loaded].map(({weights}) => weights[0].read());
        expect(found.dtype).to.equal(args.dtype);
        expect(found.shape).to.deep.equal(args.shape);
        const bytes = [saved, found].map((tensor) => Buffer.from(tensor.dataSync().slice().buffer));
        expect(bytes[0].equals(bytes[1])).to.equal(true);
        disposeModels(model, loaded);
      });
    }

    for (const quantization of [
      {dtype: 'uint8', scale: 0.1, min: -3},
      {dtype: 'uint16', scale: 0.25, min: 7},
      {dtype: 'float16'},
    ] as const) {
      it(`dequantizes ${quantization.dtype} as TensorFlow.js does`, async () => {
        const shape = [300, 100];
        const model = oddModel({shape, dtype: 'float32'});
        const stored = new Uint8Array(30_000 * (quantization.dtype === 'uint8' ? 1 : 2)).map(
          // No float16 infinities or NaN: those have all exponent bits set.
          (_, i) => (i * 31) & (i % 2 === 1 ? 0xbb : 0xff),
        );
        await writeModel(
          at('model.json'),
          {modelTopology: model.toJSON(null, false), format: 'layers-model'},
          {
            specs: [{name: model.weights[0].originalName, shape, dtype: 'float32', quantization}],
            pieces: [stored],
          },
        );
        const [stock, streamed] = [await tf.loadLayersModel(fileSystem(at())), await loadLayersModel(at())];
        expect(weightBytes(streamed)).to.deep.equal(weightBytes(stock));
        disposeModels(model, stock, streamed);
      });
    }

    if (backend !== 'tensorflow') return;
    it('leaves large weights in the memory of TensorFlow, not in JavaScript', async () => {
      const model = oddModel({shape: [500, 100], dtype: 'float32'});
      await saveLayersModel(model, at());
      const loaded = await loadLayersModel(at());
      const {tensorMap} = tf.backend() as unknown as {tensorMap: {get(id: object): {values: unknown}}};
      expect(tensorMap.get(loaded.weights[0].read().dataId).values).to.equal(null);
      disposeModels(model, loaded);
    });
  });

  it('runs no initializer, neither in a wrapper nor in a nested model', async () => {
    const noted = () => layers.dense({units: 2, inputShape: [3], kernelInitializer: noteRuns()});
    const nested = tf.sequential({layers: [noted()]});
    const model = tf.sequential({
      layers: [layers.timeDistributed({layer: nested, inputShape: [4, 3]})],
    });
    await saveLayersModel(model, at());
    const before = runsOfNoted();
    const loaded = await loadLayersModel(at());
    expect(runsOfNoted()).to.equal(before);
    const other = noted();
    other.build([null, 3]);
    expect(runsOfNoted(), 'and afterwards they run again').to.equal(before + 1);
    disposeModels(model, loaded);
    tf.dispose(other.getWeights());
  });

  it('initializes a weight that its layer does not list', async () => {
    const input = tf.input({shape: [2]});
    const model = tf.model({inputs: input, outputs: new HalfListed({}).apply(input) as tf.SymbolicTensor});
    await saveLayersModel(model, at());
    const loaded = await loadLayersModel(at());
    const {hidden} = loaded.layers[1] as HalfListed;
    expect([...hidden.read().dataSync()]).to.deep.equal([5, 5]);
    for (const each of [model, loaded]) {
      rawValue((each.layers[1] as HalfListed).hidden).dispose();
      each.dispose();
    }
  });

  it('accepts the names that TensorFlow 2.2 gives to the weights of cells', async () => {
    const model = tf.sequential({layers: [layers.lstm({name: 'lstm', units: 2, inputShape: [3, 2]})]});
    await saveLayersModel(model, at());
    const text = readFileSync(at('model.json'), 'utf8');
    writeFileSync(at('model.json'), text.replaceAll('"name":"lstm/', '"name":"lstm/lstm_cell/'));
    const loaded = await loadLayersModel(at());
    expect(weightBytes(loaded)).to.deep.equal(weightBytes(model));
    disposeModels(model, loaded);
  });

  it('restores the optimizer and its weights', async () => {
    const model = tf.sequential({layers: [layers.dense({units: 1, inputShape: [2]})]});
    model.compile({optimizer: tf.train.adam(0.01), loss: 'meanSquaredError'});
    const [x, y] = [tf.ones([4, 2]), tf.ones([4, 1])];
    await model.trainOnBatch(x, y);
    tf.engine().startScope(); // a count of steps is left by each getWeights of an optimizer
    await model.save(fileSystem(at()), {includeOptimizer: true});
    tf.engine().endScope();
    const loaded = await loadLayersModel(at());
    const values = async ({optimizer}: tf.LayersModel) => {
      const [steps, ...weights] = await optimizer.getWeights();
      const all = [steps, ...weights].map(({name, tensor}) => [name, [...tensor.dataSync()]]);
      steps.tensor.dispose();
      return all;
    };
    expect(await values(loaded)).to.deep.equal(await values(model));
    for (const each of [model, loaded]) {
      each.optimizer.dispose();
      each.dispose();
    }
    tf.dispose([x, y]);
  });

  it('loads several models at once, and others are built as ever meanwhile', async () => {
    const model = tf.sequential({layers: [layers.dense({units: 3, inputShape: [4]})]});
    await saveLayersModel(model, at());
    const loading = [loadLayersModel(at()), loadLayersModel(at())];
    const other = tf.sequential({
      layers: [layers.dense({units: 2, inputShape: [2], kernelInitializer: 'ones'})],
    });
    expect([...other.getWeights()[0].dataSync()]).to.deep.equal([1, 1, 1, 1]);
    const loaded = await Promise.all(loading);
    for (const each of loaded) expect(weightBytes(each)).to.deep.equal(weightBytes(model));
    disposeModels(model, other, ...loaded);
  });

  const wrong: readonly (readonly [what: string, change: (text: string) => string, said: string])[] = [
    ['a weight of another name', (text) => text.replace('"d/kernel"', '"x/kernel"'), 'x/kernel'],
    ['a weight of another shape', (text) => text.replace('"shape":[4,3]', '"shape":[3,4]'), '[3,4]'],
    [
      'a weight of another dtype',
      (text) => text.replace('[4,3],"dtype":"float32"', '[4,3],"dtype":"int32"'),
      'int32',
    ],
    [
      'a weight of strings, which no layer has',
      (text) =>
        text.replace(
          '{"name":"d/bias","shape":[3],"dtype":"float32"}',
          '{"name":"s","shape":[3],"dtype":"string"}',
        ),
      's',
    ],
  ];
  for (const [what, change, said] of wrong) {
    it(`rejects ${what}`, async () => {
      const model = tf.sequential({layers: [layers.dense({name: 'd', units: 3, inputShape: [4]})]});
      // The bias, three zeros, could be three strings of length 0.
      await saveLayersModel(model, at());
      writeFileSync(at('model.json'), change(readFileSync(at('model.json'), 'utf8')));
      const error = await failure(loadLayersModel(at()));
      expect(error).to.include({name: 'ModelError', code: 'weights-mismatch'});
      expect(error.message).to.include(said);
      model.dispose();
    });
  }

  it('says what a weight is and what its layer needs, before any is read', async () => {
    const model = tf.sequential({layers: [layers.dense({name: 'd', units: 3, inputShape: [4]})]});
    await saveLayersModel(model, at());
    const text = readFileSync(at('model.json'), 'utf8').replace('"shape":[4,3]', '"shape":[2,6]');
    writeFileSync(at('model.json'), text);
    const error = await failure(loadLayersModel(at()));
    expect(error.message).to.equal(
      `the weight "d/kernel" in the manifest of ${at('model.json')} is float32 [2,6], its layer needs float32 [4,3]: ` +
        'its weights belong to another model',
    );
    expect(error.data).to.deep.equal({
      source: at('model.json'),
      name: 'd/kernel',
      found: [2, 6],
      expected: [4, 3],
    });
    model.dispose();
  });

  it('passes over text among the weights of an optimizer that it has not', async () => {
    const model = tf.sequential({layers: [layers.dense({name: 'd', units: 3, inputShape: [4]})]});
    const weights = model.weights.map((weight) => ({
      spec: {name: weight.originalName, shape: weight.shape as number[], dtype: 'float32' as const},
      bytes: new Uint8Array(weight.read().dataSync().slice().buffer),
    }));
    const note = {name: 'note', shape: [1], dtype: 'string' as const, group: 'optimizer' as const};
    await writeModel(
      at('model.json'),
      {modelTopology: model.toJSON(null, false), format: 'layers-model', userDefinedMetadata: {of: 'us'}},
      {
        specs: [...weights.map(({spec}) => spec), note],
        pieces: [...weights.map(({bytes}) => bytes), Uint8Array.of(3, 0, 0, 0, 97, 98, 99)],
      },
    );
    const loaded = await loadLayersModel(at());
    expect(weightBytes(loaded)).to.deep.equal(weightBytes(model));
    expect(loaded.getUserDefinedMetadata()).to.deep.equal({of: 'us'});
    disposeModels(model, loaded);
  });

  it('keeps the metadata', async () => {
    const model = tf.sequential({layers: [layers.dense({units: 3, inputShape: [4]})]});
    model.setUserDefinedMetadata({recipe: [1, 'a']});
    await saveLayersModel(model, at());
    const loaded = await loadLayersModel(at());
    expect(loaded.getUserDefinedMetadata()).to.deep.equal({recipe: [1, 'a']});
    disposeModels(model, loaded);
  });
});
