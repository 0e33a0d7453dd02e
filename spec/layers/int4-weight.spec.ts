/** @file INT4 weights of kernels and embeddings, in layers, in memory and through files, against the arrays they are made of. */
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {compressWeights, decompressWeights, inspectWeights} from '../../lib/compress.js';
import {loadLayersModel, saveLayersModel} from '../../lib/io/model/model-files.js';
import {asCompressed, asLayerVariable} from '../../lib/layers/compressed-weight.js';
import {Int4Weight, asInt4} from '../../lib/layers/int4-weight.js';
import {registerLayers} from '../../lib/layers/registry.js';
import {cloneModel} from '../../lib/model/clone.js';
import {compressibleWeights} from '../../lib/model/compressible.js';
import {inspect} from '../../lib/model/inspect.js';
import {replaceWeight} from '../../lib/model/replace-weights.js';
import {dequantizeInt4, quantizeInt4} from '../../lib/quantization/int4.js';
import {makeLayerVariable} from '../../lib/tfjs.js';
import {disposeModels, withoutLeaks} from '../support/backends.js';
import {failure} from '../support/io/files.js';
import {int4Values} from '../support/kernels/int4-matrix.js';
import {normals} from '../support/normals.js';
import {temporaryFolder} from '../support/temporary-folder.js';

const dispose = (weight: Int4Weight) => weight.list().forEach((variable) => variable.dispose());
const read = (tensor: tf.Tensor) => [...tf.tidy(() => tensor.dataSync())];
const ASYM = {kind: 'asym', groupSize: 4} as const;

/** An embedding, a kernel of an odd number of units, and a head. */
function model(): tf.LayersModel {
  return tf.sequential({
    layers: [
      tf.layers.embedding({name: 'table', inputDim: 5, outputDim: 8, inputLength: 2}),
      tf.layers.dense({name: 'odd', units: 19, activation: 'relu'}),
      tf.layers.dense({name: 'head', units: 3}),
    ],
  });
}

const predict = (of: tf.LayersModel) =>
  tf.tidy(() => [...(of.predict(tf.tensor2d([[0, 4], [3, 1]], [2, 2])) as tf.Tensor).dataSync()]); // prettier-ignore

describe('INT4 weights', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));
    before(registerLayers);
    const folder = temporaryFolder();

    it('of a kernel are its matrix, given as it is or transposed', () => {
      const weights = normals(8 * 3, 1);
      const turned = weights.map((_, i) => weights[(i % 8) * 3 + Math.floor(i / 8)]);
      const expected = [
        ...dequantizeInt4(quantizeInt4(weights, {rows: 8, columns: 3, groupSize: 4}, 'int4_asym')),
      ];
      for (const [values, isTransposed] of [
        [weights, false],
        [turned, true],
      ] as const) {
        // prettier-ignore
        const weight = Int4Weight.quantize('layer/kernel', values, [8, 3], 'columns', ASYM, isTransposed);
        expect(tf.tidy(() => read(weight.read()))).to.deep.equal(expected);
        expect(weight).to.deep.include({originalName: 'layer/kernel', format: 'int4_asym', shape: [8, 3]});
        expect(
          weight.list().map(({originalName, shape, dtype}) => [originalName, shape, dtype]),
        ).to.deep.equal([
          ['layer/kernel_int4', [8, 2], 'int32'],
          ['layer/kernel_scale', [2, 2], 'int32'],
          ['layer/kernel_zero_point', [2, 2], 'int32'],
        ]);
        expect(weight.bytes).to.equal(4 * (16 + 4 + 4));
        dispose(weight);
      }
    });

    it('of an embedding have groups along a word, and words are looked up alone', () => {
      const table = normals(5 * 8, 2);
      const weight = Int4Weight.quantize('e', table, [5, 8], 'rows', {kind: 'sym', groupSize: 4});
      const matrix = quantizeInt4(table, {rows: 8, columns: 5, groupSize: 4, isTransposed: true}, 'int4_sym');
      const turned = dequantizeInt4(matrix); // [8, 5]
      const rows = Array.from({length: 5}, (_, id) => Array.from({length: 8}, (_, k) => turned[k * 5 + id]));
      expect(tf.tidy(() => weight.read().arraySync())).to.deep.equal(rows);
      expect(tf.tidy(() => weight.lookUp(tf.tensor1d([4, 0, 4], 'int32')).arraySync())).to.deep.equal(
        [4, 0, 4].map((id) => rows[id]),
      );
      dispose(weight);
    });

    it('give their numbers back, of every kind', async () => {
      for (const kind of ['asym', 'sym', 'minimum'] as const) {
        const matrix = int4Values({rows: 8, columns: 19, groupSize: 4}, kind, 3);
        const weight = Int4Weight.of('k', matrix, [8, 19], 'columns');
        expect(await weight.data()).to.deep.equal(matrix);
        expect(weight.format).to.equal(`int4_${kind}`);
        expect(asInt4(asLayerVariable(weight))).to.equal(weight);
        dispose(weight);
      }
      expect(asInt4(null)).to.equal(undefined);
    });

    it('refuse what INT4 cannot hold, and to be written', async () => {
      const failing = (weights: number[], groupSize = 2) =>
        failure(() =>
          Int4Weight.quantize('k', Float32Array.from(weights), [2, 1], 'columns', {kind: 'asym', groupSize}),
        );
      expect((await failing([NaN, 1])).code).to.equal('not-finite');
      expect((await failing([0, 65519])).message).to.include(
        '"k" reaches 6.55e+4 in magnitude; INT4 weights',
      );
      expect((await failing([0, 1], 3)).code).to.equal('bad-group-size');
      const weight = Int4Weight.quantize('k', Float32Array.of(1, 2), [2, 1], 'columns', {
        kind: 'asym',
        groupSize: 2,
      });
      expect((await failure(() => weight.write())).message).to.match(
        /^"k" is INT4 and cannot be written as float32/,
      );
      dispose(weight);
    });

    it('refuse a configuration that does not fit the inputs', async () => {
      const add = () => makeLayerVariable(tf.scalar(0), 'never', false);
      for (const config of [
        {kind: 'asym', groupSize: 3},
        {kind: 'sym', groupSize: 0},
        {kind: 'nf4', groupSize: 4},
      ]) {
        const error = await failure(() =>
          Int4Weight.build('kernel', [8, 3], 'columns', config as typeof ASYM, add),
        );
        expect(error.code).to.equal('bad-int4-config');
        expect(error.message).to.include('the weight "kernel" of 8 inputs is INT4 of kind');
      }
    });

    it('are saved packed, loaded, copied, and decompressed to what they stand for', async () => {
      const original = model();
      const options = {
        mode: 'int4_asym',
        groupSize: 8,
        allLayers: true,
        groupSizeFallback: 'ignore',
      } as const;
      const packed = await compressWeights(original, options);
      expect(inspectWeights(packed).map(({path, type, format}) => [path, type, format])).to.deep.equal([
        ['table', 'Embedding', 'int4_asym'],
        ['odd', 'Dense', 'int4_asym'],
        ['head', 'Dense', 'float32'], // 19 inputs
      ]);
      expect(inspect(packed).map(({format, bytes}) => [format, bytes])).to.deep.equal([
        ['int4_asym', 4 * (8 * 4 + 10 + 4)],
        ['float32', 4 * 19 * 3],
      ]);
      expect(packed.layers[0].getConfig()).to.deep.include({int4: {kind: 'asym', groupSize: 8}});
      const expected = predict(packed);
      await saveLayersModel(packed, join(folder.path, 'packed'));
      const loaded = await loadLayersModel(join(folder.path, 'packed', 'model.json'));
      const copy = cloneModel(loaded);
      const float = decompressWeights(loaded);
      for (const other of [loaded, copy]) expect(predict(other)).to.deep.equal(expected);
      expect(float.layers.map((layer) => layer.getClassName())).to.deep.equal([
        'Embedding',
        'Dense',
        'Dense',
      ]);
      // The stock layer sums in another order.
      predict(float).forEach((value, i) => expect(value).to.be.closeTo(expected[i], 1e-7));
      expect(inspectWeights(loaded)).to.deep.equal(inspectWeights(packed));
      disposeModels(float, copy, loaded, packed, original);
    });

    it('take the place of a float32 kernel with those that a file holds', () => {
      const original = model();
      const [, placed] = compressibleWeights(original);
      const matrix = int4Values({rows: 8, columns: 19, groupSize: 4}, 'minimum', 4);
      replaceWeight(placed, Int4Weight.of(placed.variable.originalName, matrix, [8, 19], 'columns'));
      const kernel = tf.tidy(() => read(asCompressed(compressibleWeights(original)[1].variable)!.read()));
      expect(kernel).to.deep.equal([...dequantizeInt4(matrix)]);
      expect(inspectWeights(original)[1].format).to.equal('int4_minimum');
      disposeModels(original);
    });

    for (const [what, groupSize, code] of [
      ['groups that do not divide the inputs', 3, 'bad-int4-config'],
      ['groups that the scales are not of', 4, null],
    ] as const) {
      it(`of a file with ${what} are refused`, async () => {
        const original = model();
        const packed = await compressWeights(original, {mode: 'int4_sym', groupSize: 8});
        const path = join(folder.path, `groups-${groupSize}`);
        await saveLayersModel(packed, path);
        const file = join(path, 'model.json');
        const text = readFileSync(file, 'utf8');
        expect(text).to.match(/"group_?[sS]ize":\s*8/);
        writeFileSync(file, text.replaceAll(/("group_?[sS]ize":\s*)8/g, `$1${groupSize}`));
        const error = (await loadLayersModel(file).catch((e: unknown) => e)) as Error & {code?: string};
        expect(error).to.be.instanceOf(Error);
        if (code !== null) expect(error.message + (error.code ?? '')).to.include('groups of 3');
        else expect(error.message).to.include('kernel_scale');
        disposeModels(packed, original);
      });
    }
  }));
