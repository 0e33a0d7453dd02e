/** @file INT8 weights of every layout, against the quantized numbers of each output channel by itself. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {Int8Weight, asInt8} from '../../lib/layers/int8-weight.js';
import {asLayerVariable, type WeightLayout} from '../../lib/layers/compressed-weight.js';
import {COMPRESSIBLE_CLASSES, DENSE_KERNEL, addCompressedWeight} from '../../lib/layers/compressed-layers.js';
import {INT8_MODES, dequantizeInt8, quantizeInt8, type Int8Mode} from '../../lib/quantization/int8.js';
import {makeLayerVariable, type Layer} from '../../lib/tfjs.js';
import {checkForLeaks} from '../support/backends.js';
import {runModule, urlOf} from '../support/child.js';
import {failure} from '../support/io/files.js';
import {normals} from '../support/normals.js';

/** A layout, a shape, how it lies as a matrix, and the channel of an index. */
const LAYOUTS: readonly [WeightLayout, number[], [number, number], number, (index: number[]) => number][] = [
  ['columns', [5, 6], [5, 6], 6, ([, n]) => n],
  ['columns', [2, 3, 4, 5], [24, 5], 5, ([, , , n]) => n],
  ['rows', [7, 5], [7, 5], 7, ([row]) => row],
  ['depthwise', [2, 3, 2, 3], [6, 6], 6, ([, , c, m]) => c * 3 + m],
  ['transposed', [2, 2, 3, 5], [20, 3], 3, ([, , out]) => out],
  ['transposed', [2, 2, 2, 6, 3], [24, 6], 6, ([, , , out]) => out],
];

const sizeOf = (shape: readonly number[]) => shape.reduce((size, n) => size * n, 1);

/** The channel of each value. */
function channelsOf(shape: readonly number[], channelOf: (index: number[]) => number): number[] {
  return Array.from({length: sizeOf(shape)}, (_, flat) => {
    let rest = flat;
    const index = [...shape].reverse().map((n) => {
      const at = rest % n;
      rest = Math.floor(rest / n);
      return at;
    });
    return channelOf(index.reverse());
  });
}

/** What the weights stand for once each channel is quantized by itself. */
function expectedOf(weights: Float32Array, channels: readonly number[], mode: Int8Mode): number[] {
  const expected = new Array<number>(weights.length);
  for (const channel of new Set(channels)) {
    const at = [...weights.keys()].filter((i) => channels[i] === channel);
    const own = Float32Array.from(at, (i) => weights[i]);
    const matrix = quantizeInt8(own, {rows: own.length, columns: 1, channels: 'columns'}, mode);
    dequantizeInt8(matrix).forEach((value, i) => (expected[at[i]] = value));
  }
  return expected;
}

const dispose = (weight: Int8Weight) => weight.list().forEach((variable) => variable.dispose());

describe('Int8Weight', () => {
  checkForLeaks();
  before(() => tf.setBackend('cpu'));

  for (const [layout, shape, [rows, columns], count, channelOf] of LAYOUTS) {
    describe(`of layout ${layout}, [${shape.join(', ')}]`, () => {
      const weights = normals(sizeOf(shape), 3).map((w, i) => w + (i % 3));
      const channels = channelsOf(shape, channelOf);

      for (const mode of INT8_MODES) {
        it(`reads what each of its channels quantized stands for, ${mode}`, async () => {
          const weight = Int8Weight.quantize('layer/kernel', weights, shape, layout, mode);
          expect(weight).to.deep.include({shape, layout, mode, dtype: 'float32', trainable: false});
          const expected = expectedOf(weights, channels, mode);
          const read = tf.tidy(() => {
            const tensor = weight.read();
            expect(tensor.shape).to.deep.equal(shape);
            return [...tensor.dataSync()];
          });
          expect(read).to.deep.equal(expected);
          const data = await weight.data();
          expect(data).to.deep.include({rows, columns, stride: Math.ceil(columns / 4) * 4});
          expect(data.channels).to.equal(layout === 'rows' ? 'rows' : 'columns');
          const sorted = (values: Iterable<number>) => [...values].sort((a, b) => a - b);
          expect(sorted(dequantizeInt8(data))).to.deep.equal(sorted(expected));
          expect(weight.bytes).to.equal(rows * data.stride + 8 * count);
          dispose(weight);
        });
      }

      it('is built of zeros, as three weights of its name', () => {
        const added: [string, number[], string][] = [];
        const weight = Int8Weight.build('kernel', shape, layout, 'int8_sym', (name, size, dtype) => {
          added.push([name, size, dtype]);
          const zeros = tf.zeros(size, dtype);
          const variable = makeLayerVariable(zeros, name, false);
          zeros.dispose();
          return variable;
        });
        expect(added).to.deep.equal([
          ['kernel_int8', [rows, Math.ceil(columns / 4)], 'int32'],
          ['kernel_scale', [count], 'float32'],
          ['kernel_zero_point', [count], 'float32'],
        ]);
        expect(weight.list()).to.deep.equal([
          weight.variables.values,
          weight.variables.scale,
          weight.variables.zeroPoint,
        ]);
        expect(weight).to.deep.include({shape, layout, mode: 'int8_sym'});
        expect(tf.tidy(() => [...weight.read().dataSync()])).to.deep.equal(Array(sizeOf(shape)).fill(0));
        dispose(weight);
      });
    });
  }

  it('has the name of the weight that it stands for, in its three parts', () => {
    const weight = Int8Weight.quantize('layer/kernel', normals(6, 1), [3, 2], 'columns', 'int8_asym');
    expect(weight.originalName).to.equal('layer/kernel');
    expect(weight.name).to.match(/^layer\/kernel(_\d+)?$/);
    expect(weight.list().map(({originalName}) => originalName)).to.deep.equal([
      'layer/kernel_int8',
      'layer/kernel_scale',
      'layer/kernel_zero_point',
    ]);
    expect(weight.list().map(({trainable}) => trainable)).to.deep.equal([false, false, false]);
    dispose(weight);
  });

  it('is quantized from the transpose of a kernel too', async () => {
    const kernel = normals(15, 2);
    const transposed = Float32Array.from({length: 15}, (_, i) => kernel[(i % 5) * 3 + Math.floor(i / 5)]);
    const [one, other] = [
      Int8Weight.quantize('k', kernel, [5, 3], 'columns', 'int8_asym'),
      Int8Weight.quantizeKernel('k', transposed, [5, 3], 'int8_asym'),
    ];
    expect(other).to.deep.include({shape: [5, 3], layout: 'columns', mode: 'int8_asym'});
    expect(await other.data()).to.deep.equal(await one.data());
    dispose(one);
    dispose(other);
  });

  it('looks up rows of an embedding, and columns of a kernel as rows', () => {
    const table = normals(12, 4);
    const rows = Int8Weight.quantize('e', table, [4, 3], 'rows', 'int8_asym');
    const columns = Int8Weight.quantize('k', table, [3, 4], 'columns', 'int8_asym');
    tf.tidy(() => {
      const ids = tf.tensor1d([2, 0, 2], 'int32');
      const all = [rows, columns].map((weight) => weight.read().arraySync() as number[][]);
      expect(rows.lookUp(ids).arraySync()).to.deep.equal([2, 0, 2].map((id) => all[0][id]));
      expect(columns.lookUp(ids).arraySync()).to.deep.equal(
        [2, 0, 2].map((id) => all[1].map((row) => row[id])),
      );
    });
    dispose(rows);
    dispose(columns);
  });

  it('cannot be written, and says how it is made float32', async () => {
    const weight = Int8Weight.quantize('layer/kernel', normals(6, 1), [3, 2], 'columns', 'int8_asym');
    const error = await failure(() => weight.write());
    expect(error.code).to.equal('compressed-weight');
    expect(error.message).to.equal(
      '"layer/kernel" is INT8 and cannot be written as float32; decompressWeights(model) first',
    );
    expect(error.data).to.deep.equal({name: 'layer/kernel'});
    expect(asInt8(asLayerVariable(weight))).to.equal(weight);
    expect(asInt8(weight.variables.scale)).to.equal(undefined);
    for (const none of [null, undefined]) expect(asInt8(none)).to.equal(undefined);
    dispose(weight);
  });

  for (const value of [NaN, Infinity, -Infinity]) {
    it(`refuses ${value}, wherever it stands`, async () => {
      for (const at of [0, 3, 5]) {
        const weights = normals(6, 1);
        weights[at] = value;
        for (const make of [
          () => Int8Weight.quantize('w', weights, [3, 2], 'columns', 'int8_asym'),
          () => Int8Weight.quantizeKernel('w', weights, [2, 3], 'int8_asym'),
        ]) {
          const error = await failure(make);
          expect(error.code).to.equal('not-finite');
          expect(error.message).to.equal(
            `the weight "w" holds ${value}, which INT8 cannot: mend the model, or leave the layer out with ignoredScope`,
          );
          expect(error.data).to.deep.equal({name: 'w', value});
        }
      }
    });
  }

  it('refuses weights that float16 cannot hold, of either sign, and takes those that it can', async () => {
    for (const sign of [1, -1]) {
      for (const mode of INT8_MODES) {
        const make = (most: number) =>
          Int8Weight.quantize('w', Float32Array.of(0, sign * most), [1, 2], 'columns', mode);
        // A step of 65280 / 255 is 256, and one of 65280 / 128 is 510: float16 numbers.
        dispose(make(65280));
        const error = await failure(() => make(70000));
        expect(error.code).to.equal('int8-overflow');
        expect(error.message).to.match(/^the weight "w" reaches (7\.00e\+4|70\d{3}|6\.9\de\+4) in magnitude/);
        expect(error.message).to.include(
          'INT8 weights are float16 once dequantized, which ends at 65504: scale the layer down, or leave it out with ' +
            'ignoredScope',
        );
        const {name, reach} = error.data as {name: string; reach: number};
        expect(name).to.equal('w');
        expect(reach).to.be.closeTo(70000, 100);
      }
    }
  });
});

describe('layers that can be INT8', () => {
  checkForLeaks();
  before(() => tf.setBackend('cpu'));

  it('are embeddings and convolutions, with the weights that NNCF compresses', () => {
    expect(
      COMPRESSIBLE_CLASSES.map(({stock, int8, weights}) => [
        stock.className,
        int8.className,
        ...weights.map(({name, field, layout}) => `${name} ${field} ${layout}`),
      ]),
    ).to.deep.equal([
      ['Embedding', 'Int8Embedding', 'embeddings embeddings rows'],
      ['Conv1D', 'Int8Conv1D', 'kernel kernel columns'],
      ['Conv2D', 'Int8Conv2D', 'kernel kernel columns'],
      ['Conv3D', 'Int8Conv3D', 'kernel kernel columns'],
      ['Conv2DTranspose', 'Int8Conv2DTranspose', 'kernel kernel transposed'],
      ['Conv3DTranspose', 'Int8Conv3DTranspose', 'kernel kernel transposed'],
      ['DepthwiseConv2D', 'Int8DepthwiseConv2D', 'depthwise_kernel depthwiseKernel depthwise'],
      [
        'SeparableConv2D',
        'Int8SeparableConv2D',
        'depthwise_kernel depthwiseKernel depthwise',
        'pointwise_kernel pointwiseKernel columns',
      ],
    ]);
    expect(DENSE_KERNEL).to.deep.equal({name: 'kernel', field: 'kernel', layout: 'columns'});
  });

  for (const {stock, int8, weights} of COMPRESSIBLE_CLASSES) {
    it(`are built with INT8 weights of zeros, none trained, and say so: ${int8.className}`, () => {
      const args = {inputDim: 5, outputDim: 3, filters: 3, kernelSize: 2, name: 'layer', activation: 'relu'};
      const rank = /(\d)D/.exec(stock.className)?.[1];
      const shape = rank === undefined ? [null, 4] : [null, ...Array<number>(Number(rank)).fill(4), 2];
      for (const kind of [undefined, 'asym', 'sym'] as const) {
        const layer = new int8({
          ...args,
          ...(kind === undefined ? {} : {int8: kind}),
        } as unknown as ConstructorParameters<typeof int8>[0]);
        expect(layer).to.be.instanceOf(stock);
        layer.build(shape);
        expect(layer.getConfig()).to.deep.include({name: 'layer', int8: kind ?? 'asym'});
        for (const {name, field, layout} of weights) {
          const weight = asInt8((layer as Layer & Record<string, unknown>)[field] as tf.LayerVariable)!;
          expect(weight).to.deep.include({layout, mode: `int8_${kind ?? 'asym'}`});
          expect(weight.originalName).to.match(new RegExp(`${name}$`));
        }
        expect(layer.nonTrainableWeights).to.have.length(3 * weights.length);
        for (const {originalName} of layer.trainableWeights) expect(originalName).to.match(/bias$/);
        for (const weight of layer.weights) weight.dispose();
      }
    });
  }

  it('look up rows of an embedding by ids of any shape, and tell their hook', () => {
    const {int8} = COMPRESSIBLE_CLASSES[0];
    const layer = new int8({inputDim: 5, outputDim: 3, name: 'e'} as unknown as ConstructorParameters<
      typeof int8
    >[0]) as Layer & {
      embeddings: tf.LayerVariable;
    };
    layer.build([null, 2]);
    for (const weight of layer.weights) weight.dispose();
    const table = Int8Weight.quantize('e', normals(15, 2), [5, 3], 'rows', 'int8_asym');
    layer.embeddings = asLayerVariable(table);
    const seen: number[][] = [];
    layer.setCallHook((input) => seen.push([...[input].flat()[0].dataSync()]));
    tf.tidy(() => {
      const rows = table.read().arraySync() as number[][];
      const ids = [
        [4, 0],
        [1, 1],
        [2, 4],
      ];
      for (const dtype of ['int32', 'float32'] as const) {
        const y = layer.apply(tf.tensor2d(ids, [3, 2], dtype)) as tf.Tensor;
        expect(y.arraySync()).to.deep.equal(ids.map((row) => row.map((id) => rows[id])));
      }
    });
    expect(seen).to.deep.equal([
      [4, 0, 1, 1, 2, 4],
      [4, 0, 1, 1, 2, 4],
    ]);
    dispose(table);
  });

  it('are found where a program has registered classes of its own under their names', async () => {
    const {stdout, stderr} = await runModule(`
      import * as tf from '@tensorflow/tfjs';
      const names = ${JSON.stringify(COMPRESSIBLE_CLASSES.map(({stock}) => stock.className))};
      const {classNameMap} = tf.serialization.SerializationMap.getMap();
      const stock = names.map((name) => classNameMap[name][0]);
      for (const className of names) {
        tf.serialization.registerClass(class extends tf.layers.Layer { static className = className; });
      }
      const {COMPRESSIBLE_CLASSES} = await import('${urlOf('lib/layers/compressed-layers.ts')}');
      console.log(JSON.stringify({
        found: COMPRESSIBLE_CLASSES.map(({stock: found}, i) => found === stock[i]),
        names: [tf.layers.conv2d({filters: 1, kernelSize: 1}).name, tf.layers.embedding({inputDim: 1, outputDim: 1}).name],
      }));`);
    expect(JSON.parse(stdout.trim().split('\n').at(-1)!), stderr).to.deep.equal({
      found: COMPRESSIBLE_CLASSES.map(() => true),
      names: ['conv2d_Conv2D1', 'embedding_Embedding1'],
    });
  });

  it('add other weights as they are', () => {
    const seen: unknown[][] = [];
    const add = ((...args: unknown[]) => {
      seen.push(args);
      return 'added';
    }) as unknown as Layer['addWeight'];
    const adding = addCompressedWeight(add, [DENSE_KERNEL], {int8: 'sym'});
    const initializer = tf.initializers.ones();
    expect(adding('bias', [4], 'float32', initializer, undefined, true)).to.equal('added');
    expect(seen).to.deep.equal([['bias', [4], 'float32', initializer, undefined, true]]);
    const kernel = asInt8(adding('kernel', [3, 4], 'float32', initializer, undefined, true))!;
    expect(kernel).to.deep.include({shape: [3, 4], layout: 'columns', mode: 'int8_sym'});
    expect(
      seen.slice(1).map(([name, size, dtype, , , trainable]) => [name, size, dtype, trainable]),
    ).to.deep.equal([
      ['kernel_int8', [3, 1], 'int32', false],
      ['kernel_scale', [4], 'float32', false],
      ['kernel_zero_point', [4], 'float32', false],
    ]);
  });
});
