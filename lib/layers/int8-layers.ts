/**
 * @file Layers other than Dense with INT8 weights: embeddings, which dequantize the rows that they look up, and
 * convolutions, which dequantize their kernel for the time of a call. Each is a subclass of the stock layer that stores
 * its weights otherwise; a layer becomes one, and stock again, in place.
 */
import * as tf from '@tensorflow/tfjs';
import type {Int8Mode} from '../quantization/int8.js';
import {onlyTensor, stockClass, type Layer, type LayerClass, type LayerVariable} from '../tfjs.js';
import {withActivations} from './activation-config.js';
import {Int8Weight, asLayerVariable, type Int8Layout} from './int8-weight.js';

/** How a layer's weights are quantized, as its configuration says it: saving a model mangles words with `_`. */
export type Int8Kind = 'asym' | 'sym';

/** A weight of a layer class that can be INT8. */
export interface CompressibleWeight {
  /** As the layer adds it: `depthwise_kernel`. */
  readonly name: string;
  /** The layer's field that holds it: `depthwiseKernel`. */
  readonly field: string;
  readonly layout: Int8Layout;
}

/** A stock layer class, its INT8 form, and which weights differ. */
export interface CompressibleClass {
  readonly stock: LayerClass;
  readonly int8: LayerClass;
  readonly weights: readonly CompressibleWeight[];
}

/** A layer that may hold INT8 weights. */
export type Int8Layer = Layer & {int8?: Int8Kind | null} & Record<string, unknown>;

const modeOf = (kind: Int8Kind): Int8Mode => (kind === 'asym' ? 'int8_asym' : 'int8_sym');
export const kindOf = (mode: Int8Mode): Int8Kind => (mode === 'int8_asym' ? 'asym' : 'sym');

type Args = ConstructorParameters<LayerClass>[0] & {int8?: Int8Kind | null};
type AddWeight = Layer['addWeight'];

/**
 * `layer.addWeight` that makes the weights that can be INT8 so: what a layer's `build` calls.
 *
 * @param add Bound to the layer.
 */
export function addInt8Weight(
  add: AddWeight,
  weights: readonly CompressibleWeight[],
  kind: Int8Kind,
): AddWeight {
  return (name, shape, ...rest) => {
    const weight = weights.find((candidate) => candidate.name === name);
    if (weight === undefined) return add(name, shape, ...rest);
    const zeros = tf.initializers.zeros();
    const plain = (part: string, size: number[], dtype: tf.DataType) =>
      add(part, size, dtype, zeros, undefined, false);
    return asLayerVariable(Int8Weight.build(name, shape as number[], weight.layout, modeOf(kind), plain));
  };
}

/** The INT8 form of a stock layer class. */
function int8ClassOf(stock: LayerClass, weights: readonly CompressibleWeight[]): LayerClass {
  return class extends stock {
    static override readonly className: string = `Int8${stock.className}`;
    declare int8: Int8Kind;

    constructor(args: Args) {
      super(args);
      this.int8 = args.int8 ?? 'asym';
    }

    protected override addWeight(...args: Parameters<AddWeight>): LayerVariable {
      return addInt8Weight(super.addWeight.bind(this), weights, this.int8)(...args);
    }

    override getConfig(): tf.serialization.ConfigDict {
      return withActivations(this, {...super.getConfig(), int8: this.int8});
    }
  };
}

/** The fields and methods of the Embedding layer that its INT8 form builds on. */
interface EmbeddingLayer extends Layer {
  embeddings: LayerVariable;
}

const EMBEDDINGS: CompressibleWeight = {name: 'embeddings', field: 'embeddings', layout: 'rows'};

const StockEmbedding = stockClass('Embedding', () =>
  tf.layers.embedding({inputDim: 1, outputDim: 1, name: 'stock'}),
) as unknown as LayerClass<EmbeddingLayer & {int8: Int8Kind}>;

/** Embedding with INT8 weights and a scale a row: ids int [...] to float32 [..., outputDim]. */
class Int8Embedding extends (int8ClassOf(StockEmbedding, [EMBEDDINGS]) as unknown as typeof StockEmbedding) {
  static override readonly className: string = 'Int8Embedding';

  override call(inputs: tf.Tensor | tf.Tensor[], kwargs: Parameters<Layer['call']>[1]): tf.Tensor {
    return tf.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const input = onlyTensor(inputs);
      const ids = tf.cast(input, 'int32').reshape<tf.Tensor1D>([input.size]);
      const rows = (this.embeddings as unknown as Int8Weight).lookUp(ids);
      return rows.reshape(this.computeOutputShape(input.shape) as number[]);
    });
  }
}

const KERNEL: CompressibleWeight = {name: 'kernel', field: 'kernel', layout: 'columns'};
const TRANSPOSED: CompressibleWeight = {...KERNEL, layout: 'transposed'};
const DEPTHWISE: CompressibleWeight = {
  name: 'depthwise_kernel',
  field: 'depthwiseKernel',
  layout: 'depthwise',
};
const POINTWISE: CompressibleWeight = {name: 'pointwise_kernel', field: 'pointwiseKernel', layout: 'columns'};

/** The kernel of Dense, whose INT8 form is `SparsifyingDense`. */
export const DENSE_KERNEL = KERNEL;

const CONVOLUTIONS: readonly (readonly [LayerClass, readonly CompressibleWeight[]])[] = [
  [stockClass('Conv1D', () => tf.layers.conv1d({filters: 1, kernelSize: 1, name: 'stock'})), [KERNEL]],
  [stockClass('Conv2D', () => tf.layers.conv2d({filters: 1, kernelSize: 1, name: 'stock'})), [KERNEL]],
  [stockClass('Conv3D', () => tf.layers.conv3d({filters: 1, kernelSize: 1, name: 'stock'})), [KERNEL]],
  [
    stockClass('Conv2DTranspose', () =>
      tf.layers.conv2dTranspose({filters: 1, kernelSize: 1, name: 'stock'}),
    ),
    [TRANSPOSED],
  ],
  [
    stockClass('Conv3DTranspose', () =>
      tf.layers.conv3dTranspose({filters: 1, kernelSize: 1, name: 'stock'}),
    ),
    [TRANSPOSED],
  ],
  [
    stockClass('DepthwiseConv2D', () => tf.layers.depthwiseConv2d({kernelSize: 1, name: 'stock'})),
    [DEPTHWISE],
  ],
  [
    stockClass('SeparableConv2D', () =>
      tf.layers.separableConv2d({filters: 1, kernelSize: 1, name: 'stock'}),
    ),
    [DEPTHWISE, POINTWISE],
  ],
];

/** The classes other than Dense whose weights can be INT8, as NNCF compresses them. */
export const COMPRESSIBLE_CLASSES: readonly CompressibleClass[] = [
  {
    stock: StockEmbedding,
    int8: Int8Embedding,
    weights: [EMBEDDINGS],
  },
  ...CONVOLUTIONS.map(([stock, weights]) => ({stock, int8: int8ClassOf(stock, weights), weights})),
];
