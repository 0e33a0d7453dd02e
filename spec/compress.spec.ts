/** @file `compressWeights` and `decompressWeights` on models of every topology, on every backend. */
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {compressWeights, decompressWeights, inspectWeights} from '../lib/compress.js';
import {measureSparsity} from '../lib/eval/measure-sparsity.js';
import {fileSystem} from '../lib/io/model/file-system.js';
import {loadLayersModel, saveLayersModel} from '../lib/io/model/model-files.js';
import {asInt8} from '../lib/layers/int8-weight.js';
import {registerLayers} from '../lib/layers/registry.js';
import {cloneModel} from '../lib/model/clone.js';
import {compressibleWeights} from '../lib/model/compressible.js';
import {denseLayers} from '../lib/model/dense-layers.js';
import {inspect} from '../lib/model/inspect.js';
import {INT8_MODES, dequantizeInt8, quantizeInt8} from '../lib/quantization/int8.js';
import {IgnoredScope} from '../lib/scope/target-scope.js';
import {retarget, sparsifyActivations} from '../lib/sparsify.js';
import {onlyTensor} from '../lib/tfjs.js';
import {disposeModels, onEveryBackend, withoutLeaks} from './support/backends.js';
import {normals} from './support/normals.js';
import {MLP3, mlp3} from './support/mlp3.js';
import {TOPOLOGIES} from './support/model/topologies.js';

/** All outputs of a model on a batch. */
function outputs(model: tf.LayersModel, batch: tf.Tensor[]): number[] {
  return tf.tidy(() =>
    [model.predict(batch.length === 1 ? batch[0] : batch)].flat().flatMap((y) => [...y.dataSync()]),
  );
}

function expectClose(actual: readonly number[], expected: readonly number[], tolerance = 1e-5): void {
  expect(actual.length).to.equal(expected.length);
  expected.forEach((value, i) => expect(actual[i]).to.be.closeTo(value, tolerance * (1 + Math.abs(value))));
}

/** A model's weights by name. */
function valuesOf(model: tf.LayersModel): Record<string, number[]> {
  return Object.fromEntries(model.weights.map((w) => [w.originalName, [...w.read().dataSync()]]));
}

/** Gives every weight other values than the zeros of biases. */
function randomize(model: tf.LayersModel): void {
  tf.tidy(() => {
    for (const [i, {shape}] of model.weights.entries()) {
      const size = (shape as number[]).reduce((product, n) => product * n, 1);
      model.weights[i].write(tf.tensor(normals(size, 100 + i, 0.3), shape as number[]));
    }
  });
}

/** A model with one of each layer that has INT8 weights, and what they give on a batch. */
const IMAGE_LAYERS: Readonly<Record<string, () => tf.LayersModel>> = {
  Conv1D: () =>
    image([6, 3], tf.layers.conv1d({filters: 5, kernelSize: 3, name: 'layer', activation: 'relu'})),
  Conv2D: () =>
    image([6, 6, 3], tf.layers.conv2d({filters: 5, kernelSize: [3, 2], name: 'layer', strides: 2})),
  Conv3D: () => image([4, 4, 4, 2], tf.layers.conv3d({filters: 3, kernelSize: 2, name: 'layer'})),
  Conv2DTranspose: () =>
    image([3, 3, 2], tf.layers.conv2dTranspose({filters: 5, kernelSize: [2, 3], name: 'layer', strides: 2})),
  DepthwiseConv2D: () =>
    image([6, 6, 3], tf.layers.depthwiseConv2d({kernelSize: 3, depthMultiplier: 2, name: 'layer'})),
  SeparableConv2D: () =>
    image(
      [6, 6, 3],
      tf.layers.separableConv2d({filters: 4, kernelSize: 3, depthMultiplier: 2, name: 'layer'}),
    ),
};

function image(shape: number[], layer: tf.layers.Layer): tf.LayersModel {
  const x = tf.input({shape});
  return tf.model({inputs: x, outputs: layer.apply(x) as tf.SymbolicTensor});
}

describe('compressWeights', () => {
  onEveryBackend((backend) => {
    for (const {name, build, batch, paths} of TOPOLOGIES) {
      it(`compresses, copies, decompresses: ${name}`, async () => {
        const model = build();
        const x = batch(1);
        const before = outputs(model, x);
        const compressed = await compressWeights(model);
        expect(outputs(model, x), 'the original').to.deep.equal(before);
        const weights = inspectWeights(compressed);
        expect(weights.filter(({type}) => type === 'Dense').map(({path}) => path)).to.deep.equal(paths);
        expect(weights.every(({format}) => format === 'int8_asym')).to.equal(true);
        const actual = outputs(compressed, x);
        expectClose(actual, before, 0.1);

        const copy = cloneModel(compressed);
        const float = decompressWeights(compressed);
        disposeModels(model, compressed);
        expect(outputs(copy, x)).to.deep.equal(actual);
        expectClose(outputs(float, x), actual);
        expect(denseLayers(float).every(({layer}) => layer.getClassName() === 'Dense')).to.equal(true);
        disposeModels(copy, float);
        tf.dispose(x);
      });
    }

    for (const [type, build] of Object.entries(IMAGE_LAYERS)) {
      // The plain backend has no gradient-free 3D convolution elsewhere: wasm lacks it altogether.
      if (type === 'Conv3D' && backend === 'wasm') continue;
      it(`quantizes ${type} per output channel, and computes with the dequantized weights`, async () => {
        const model = build();
        randomize(model);
        const x = tf.randomNormal([2, ...(model.inputs[0].shape.slice(1) as number[])], 0, 1, 'float32', 3);
        for (const mode of INT8_MODES) {
          const compressed = await compressWeights(model, {mode});
          const float = decompressWeights(compressed);
          expect(float.getLayer('layer').getClassName()).to.equal(type);
          expect(compressed.getLayer('layer').getClassName()).to.equal(`Int8${type}`);
          expectClose(outputs(compressed, [x]), outputs(float, [x]));
          expectClose(outputs(compressed, [x]), outputs(model, [x]), 0.2);
          expect(float.weights.map(({originalName}) => originalName)).to.deep.equal(
            model.weights.map(({originalName}) => originalName),
          );
          expect(float.getWeights().map(({shape}) => shape)).to.deep.equal(
            model.getWeights().map(({shape}) => shape),
          );
          disposeModels(compressed, float);
        }
        disposeModels(model);
        x.dispose();
      });
    }

    it('saves and loads with the same bytes, by stock means and ours, and a layer of each kind', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'int8-'));
      const ids = tf.input({shape: [4], name: 'ids', dtype: 'int32'});
      const embedded = tf.layers.embedding({inputDim: 9, outputDim: 6, name: 'embed'}).apply(ids);
      const convolved = tf.layers.conv1d({filters: 5, kernelSize: 2, name: 'conv'}).apply(embedded);
      const steps = tf.layers.timeDistributed({
        layer: tf.layers.dense({units: 7, name: 'inner', activation: 'tanh'}),
        name: 'steps',
      });
      const y = tf.layers.dense({units: 3, name: 'head'}).apply(steps.apply(convolved)) as tf.SymbolicTensor;
      const model = tf.model({inputs: ids, outputs: y});
      randomize(model);
      const x = [tf.tensor2d([[1, 8, 0, 3]], [1, 4], 'int32')];
      for (const mode of INT8_MODES) {
        const compressed = await compressWeights(model, {mode});
        const [expected, values] = [outputs(compressed, x), valuesOf(compressed)];
        const report = inspectWeights(compressed);
        expect(report.map(({type, weight, format}) => [type, weight, format])).to.deep.equal([
          ['Embedding', 'embeddings', mode],
          ['Conv1D', 'kernel', mode],
          ['Dense', 'kernel', mode],
          ['Dense', 'kernel', mode],
        ]);
        registerLayers();
        await compressed.save(fileSystem(join(folder, `stock-${mode}`)));
        await saveLayersModel(compressed, join(folder, `ours-${mode}`));
        compressed.dispose();
        for (const saved of [`stock-${mode}`, `ours-${mode}`]) {
          for (const load of [
            (path: string) => tf.loadLayersModel(fileSystem(path)),
            (path: string) => loadLayersModel(path),
          ]) {
            const loaded = await load(join(folder, saved));
            expect(valuesOf(loaded)).to.deep.equal(values);
            expect(inspectWeights(loaded)).to.deep.equal(report);
            expect(outputs(loaded, x)).to.deep.equal(expected);
            const again = await compressWeights(loaded);
            expect(valuesOf(again), 'compressed again').to.deep.equal(values);
            disposeModels(loaded, again);
          }
        }
      }
      disposeModels(model);
      tf.dispose(x);
      rmSync(folder, {recursive: true});
    });

    it('sparsifies, measures and retargets a compressed model', async () => {
      const model = mlp3();
      const compressed = await compressWeights(model, {ignoredScope: new IgnoredScope({names: ['fc2']})});
      const error = await measureSparsity(compressed, [MLP3.test_input]).catch((e: unknown) => e);
      expect(error).to.have.property('code', 'not-sparsified');
      const sparse = await sparsifyActivations(compressed, MLP3.calibration_batches, {
        targetSparsityByScope: {'.*': 0.5},
      });
      expect(inspect(compressed).map(({sparsified}) => sparsified)).to.deep.equal([false, false, false]);
      expect(inspect(sparse).map(({format, target}) => [format, target])).to.deep.equal([
        ['int8_asym', 0.5],
        ['float32', 0.5],
        ['int8_asym', 0.5],
      ]);
      retarget(sparse, {fc1: 0.75});
      const measured = await measureSparsity(sparse, MLP3.calibration_batches);
      expect(measured[0].actual).to.be.closeTo(0.75, 0.05);
      const twice = await compressWeights(sparse);
      retarget(twice, {fc1: 0.25}); // the copy has the statistics too
      expect(inspect(twice).map(({target}) => target)).to.deep.equal([0.25, 0.5, 0.5]);
      const float = decompressWeights(twice);
      expect(float.layers.map((layer) => layer.getClassName())).to.deep.equal(
        Array(3).fill('SparsifyingDense'),
      );
      tf.tidy(() => {
        const x = tf.tensor2d(MLP3.test_input);
        expectClose(outputs(float, [x]), outputs(twice, [x]));
      });
      retarget(float, {fc1: 0.75}); // and so has this one
      expect(inspect(float).map(({target}) => target)).to.deep.equal([0.75, 0.5, 0.5]);
      disposeModels(model, compressed, sparse, twice, float);
    });

    it('tells the hooks of a compressed embedding what it is called with', async () => {
      const model = TOPOLOGIES.find(({name}) => name === 'Dense after an embedding')!.build();
      const compressed = await compressWeights(model, {inPlace: true});
      const seen: number[][] = [];
      compressed.getLayer('embed').setCallHook((ids) => void seen.push([...onlyTensor(ids).dataSync()]));
      tf.tidy(() => void compressed.predict(tf.tensor2d([1, 2, 3, 4], [1, 4], 'int32')));
      expect(seen).to.deep.equal([[1, 2, 3, 4]]);
      disposeModels(compressed);
    });

    it('trains what is not compressed, with the gradient of the dequantized model', async () => {
      const model = mlp3();
      const compressed = await compressWeights(model, {ignoredScope: new IgnoredScope({names: ['fc1']})});
      const float = decompressWeights(compressed);
      const [x, y] = [tf.tensor2d(MLP3.test_input), tf.zeros([6, 4])];
      expect(compressed.trainableWeights.map(({originalName}) => originalName)).to.deep.equal([
        ...['fc1/kernel', 'fc1/bias', 'fc2/bias', 'fc3/bias'],
      ]);
      const before = valuesOf(compressed);
      for (const trained of [compressed, float]) {
        trained.compile({optimizer: 'sgd', loss: 'meanSquaredError'});
        await trained.fit(x, y, {epochs: 1, batchSize: 6, verbose: 0});
      }
      const [after, expected] = [valuesOf(compressed), valuesOf(float)];
      for (const {originalName} of compressed.trainableWeights) {
        expectClose(after[originalName], expected[originalName]);
      }
      expect(after['fc1/kernel']).to.not.deep.equal(before['fc1/kernel']);
      expect(after['fc2/kernel_int8']).to.deep.equal(before['fc2/kernel_int8']);
      disposeModels(model, compressed, float);
      tf.dispose([x, y]);
    });
  });

  describe('on cpu', () =>
    withoutLeaks(() => {
      before(() => tf.setBackend('cpu'));

      it('takes the columns of a kernel as channels, transposed and depthwise ones too, and rows of embeddings', async () => {
        const shapes: Record<string, [tf.LayersModel, (index: number[]) => number]> = {
          transposed: [IMAGE_LAYERS.Conv2DTranspose(), ([, , out]) => out],
          depthwise: [IMAGE_LAYERS.DepthwiseConv2D(), ([, , c, m]) => c * 2 + m],
          columns: [IMAGE_LAYERS.Conv2D(), ([, , , out]) => out],
          rows: [
            tf.sequential({
              layers: [tf.layers.embedding({inputDim: 7, outputDim: 3, name: 'layer', inputLength: 2})],
            }),
            ([row]) => row,
          ],
        };
        for (const [layout, [model, channelOf]] of Object.entries(shapes)) {
          randomize(model);
          const [{variable}] = compressibleWeights(model);
          const shape = variable.shape as number[];
          const values = variable.read().dataSync() as Float32Array;
          const channels = new Map<number, number[]>(); // by channel, in the order of the weight
          const places = [...values.keys()].map((flat) => {
            let rest = flat;
            const index = [...shape].reverse().map((n) => [rest % n, (rest = Math.floor(rest / n))][0]);
            return channelOf(index.reverse());
          });
          places.forEach((channel, i) =>
            channels.set(channel, [...(channels.get(channel) ?? []), values[i]]),
          );
          const expected = new Map(
            [...channels].map(([channel, weights]) => {
              const matrix = {rows: weights.length, columns: 1, channels: 'columns'} as const;
              return [
                channel,
                [...dequantizeInt8(quantizeInt8(Float32Array.from(weights), matrix, 'int8_asym'))],
              ];
            }),
          );
          await compressWeights(model, {inPlace: true});
          const actual = tf.tidy(() => asInt8(compressibleWeights(model)[0].variable)!.read().dataSync());
          places.forEach((channel, i) => expect(actual[i], layout).to.equal(expected.get(channel)!.shift()));
          disposeModels(model);
        }
      });

      it('reports true sizes, shares what stays float32, and frees what does not', async () => {
        const model = tf.sequential({
          layers: [tf.layers.dense({units: 1001, inputShape: [400], name: 'big'})],
        });
        const {numDataBuffers} = tf.memory();
        const compressed = await compressWeights(model);
        const [{bytes, format, weightShare, sparsified, threshold}] = inspect(compressed);
        expect(bytes).to.equal(400 * 1004 + 8 * 1001);
        expect({format, sparsified, threshold}).to.deep.equal({
          format: 'int8_asym',
          sparsified: false,
          threshold: null,
        });
        expect(weightShare).to.be.closeTo(400 / 401, 1e-4); // beside the bias and a threshold
        expect(tf.memory().numDataBuffers - numDataBuffers).to.equal(4); // three of INT8 and the threshold
        model.dispose();
        await compressWeights(compressed, {inPlace: true});
        compressed.dispose();
      });

      it('compresses a layer that stands at two places once, and two layers of one variable', async () => {
        const x = tf.input({shape: [8]});
        const [first, second] = ['a', 'b'].map((name) => tf.layers.dense({units: 8, name, useBias: false}));
        const y = second.apply(first.apply(first.apply(x))) as tf.SymbolicTensor;
        const model = tf.model({inputs: x, outputs: y});
        const [a, b] = denseLayers(model).map(({layer}) => layer);
        b.kernel!.dispose();
        b.trainableWeights = [a.kernel!];
        b.kernel = a.kernel;
        await compressWeights(model, {inPlace: true});
        expect(asInt8(b.kernel)).to.equal(asInt8(a.kernel)).and.not.equal(undefined);
        expect(inspectWeights(model)).to.have.length(2);
        for (const weight of new Set([...a.weights, ...b.weights])) weight.dispose();
      });

      it('runs as the NNCF fact: the same model in place, none of its compressed weights trainable', async () => {
        const model = mlp3();
        expect(await compressWeights(model, {inPlace: true})).to.equal(model);
        expect(model.trainableWeights.every(({originalName}) => originalName.endsWith('bias'))).to.equal(
          true,
        );
        model.dispose();
      });

      it('tells of progress, and stops between two weights with the model as it was', async () => {
        const model = mlp3();
        const steps: unknown[] = [];
        const compressed = await compressWeights(model, {onProgress: (step) => steps.push(step)});
        expect(steps).to.deep.equal([1, 2, 3].map((done) => ({done, total: 3})));
        compressed.dispose();
        for (const inPlace of [false, true]) {
          const controller = new AbortController();
          const stopped = await compressWeights(model, {
            inPlace,
            signal: controller.signal,
            onProgress: ({done}) => (done === 2 ? controller.abort(new Error('enough')) : undefined),
          }).catch((error: unknown) => error);
          expect(stopped).to.have.property('message', 'enough');
          expect(inspectWeights(model).map(({format}) => format)).to.deep.equal(Array(3).fill('float32'));
        }
        model.dispose();
      });

      for (const [what, value, code] of [
        ['NaN', NaN, 'not-finite'],
        ['an infinity', Infinity, 'not-finite'],
        ['a weight beyond float16', 70000, 'int8-overflow'],
      ] as const) {
        it(`refuses ${what} by the name of its layer, and leaves the model as it was`, async () => {
          const model = mlp3();
          tf.tidy(() => {
            const kernel = denseLayers(model)[1].layer.kernel!;
            kernel.write(tf.add(kernel.read(), tf.scalar(value)));
          });
          const error = await compressWeights(model, {inPlace: true}).catch((e: unknown) => e);
          expect(error).to.have.property('code', code);
          expect(error).to.have.property('message').that.includes('"fc2"').and.includes('ignoredScope');
          expect(inspectWeights(model)[0].format).to.equal('float32');
          model.dispose();
        });
      }

      it('names what is supported for modes and options that are not', async () => {
        const model = mlp3();
        const failing = (options: object) => compressWeights(model, options).catch((e: unknown) => e);
        for (const mode of ['int2_sym', 'nf4', 8, null]) {
          const error = await failing({mode});
          expect(error).to.have.property('code', 'unsupported-mode');
          expect(error)
            .to.have.property('message')
            .that.includes('"int8_asym", "int8_sym", "int4_asym", "int4_sym"');
        }
        for (const option of ['group_size', 'awq', 'ignoredScopes']) {
          const error = await failing({[option]: 1});
          expect(error).to.have.property('code', 'unknown-option');
          expect(error)
            .to.have.property('message')
            .that.includes('mode, dataset, dataAware, ignoredScope, inPlace');
        }
        const ignored = (options: object) => ({ignoredScope: new IgnoredScope(options)});
        expect(await failing(ignored({names: ['fc9']}))).to.have.property('code', 'unmatched-ignored-rule');
        const types =
          'Dense, Embedding, Conv1D, Conv2D, Conv3D, Conv2DTranspose, Conv3DTranspose, DepthwiseConv2D, SeparableConv2D';
        const all = await failing(ignored({patterns: ['.*']}));
        expect(all).to.deep.include({
          code: 'nothing-to-compress',
          message: `the ignored scope leaves nothing to compress: it holds all 3 layers of the types ${types}; narrow it`,
          data: {ignored: ['fc1', 'fc2', 'fc3']},
        });
        const unmatched = (await failing(ignored({names: ['fc4']}))) as Error;
        expect(unmatched.message).to.include('"fc1", "fc2", "fc3"');
        const none = tf.sequential({layers: [tf.layers.flatten({inputShape: [2, 2]})]});
        const error = await compressWeights(none).catch((e: unknown) => e);
        expect(error).to.deep.include({
          code: 'nothing-to-compress',
          message: `the model has no weight to compress; INT8 and INT4 are for the weights of these layers: ${types}`,
          data: {types: types.split(', ')},
        });
        model.dispose();
      });

      it('matches scopes by the stock types of layers, compressed or not', async () => {
        const model = TOPOLOGIES.find(({name}) => name === 'Dense after an embedding')!.build();
        const ignoredScope = new IgnoredScope({types: ['Embedding']});
        const half = await compressWeights(model, {ignoredScope});
        expect(inspectWeights(half).map(({format}) => format)).to.deep.equal(['float32', 'int8_asym']);
        const rest = await compressWeights(half, {ignoredScope: new IgnoredScope({types: ['Dense']})});
        expect(inspectWeights(rest).map(({format}) => format)).to.deep.equal(['int8_asym', 'int8_asym']);
        const again = await compressWeights(rest, {ignoredScope, mode: 'int8_sym'});
        expect(inspectWeights(again).map(({format}) => format)).to.deep.equal(['int8_asym', 'int8_asym']);
        disposeModels(model, half, rest, again);
      });

      it('drops the penalty of a kernel that is constant now, and keeps that of the bias', async () => {
        const regularizers = {
          kernelRegularizer: tf.regularizers.l2({l2: 1}),
          biasRegularizer: tf.regularizers.l1({l1: 0.5}),
        };
        const model = tf.sequential({
          layers: [tf.layers.dense({units: 2, inputShape: [3], biasInitializer: 'ones', ...regularizers})],
        });
        await compressWeights(model, {inPlace: true});
        const loss = tf.tidy(() => model.calculateLosses().map((value) => value.dataSync()[0]));
        expect(loss).to.deep.equal([1]);
        model.dispose();
      });
    }));
});
