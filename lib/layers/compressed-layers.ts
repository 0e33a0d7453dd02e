/**
 * @file Layers other than Dense with packed weights: embeddings, which dequantize the rows that they look up, and
 * convolutions, which dequantize their kernel for the time of a call. Each is a subclass of the stock layer that stores
 * its weights otherwise; a layer becomes one, and stock again, in place.
 */
import * as tf from '@tensorflow/tfjs';
import {onlyTensor, stockClass, type Layer, type LayerClass, type LayerVariable} from '../tfjs.js';
import {withActivations} from './activation-config.js';
import {
  asLayerVariable,
  compressionOf,
  type CompressedWeight,
  type Compression,
  type CompressionArgs,
  type WeightLayout,
} from './compressed-weight.js';
import {Int4Weight, type Int4Layout} from './int4-weight.js';
import {Int8Weight} from './int8-weight.js';

/** A weight of a layer class that can be packed. */
export interface CompressibleWeight {
  /** As the layer adds it: `depthwise_kernel`. */
  readonly name: string;
  /** The layer's field that holds it: `depthwiseKernel`. */
  readonly field: string;
  readonly layout: WeightLayout;
}

/** A stock layer class, its forms with packed weights, and which weights differ. */
export interface CompressibleClass {
  readonly stock: LayerClass;
  readonly int8: LayerClass;
  /** Null where there is none: NNCF makes only Dense layers and embeddings INT4. */
  readonly int4: LayerClass | null;
  readonly weights: readonly CompressibleWeight[];
}

/** A layer that may hold packed weights. */
export type CompressedLayer = Layer & {compression?: Compression | null} & Record<string, unknown>;

type Args = ConstructorParameters<LayerClass>[0] & CompressionArgs;
type AddWeight = Layer['addWeight'];

/** How weights of a layer class's packed form are quantized where its configuration does not say it. */
const DEFAULT_COMPRESSION: Compression = {int8: 'asym'};

/**
 * `layer.addWeight` that makes the weights that can be packed so: what a layer's `build` calls.
 *
 * @param add Bound to the layer.
 */
export function addCompressedWeight(
  add: AddWeight,
  weights: readonly CompressibleWeight[],
  compression: Compression,
): AddWeight {
  return (name, shape, ...rest) => {
    const weight = weights.find((candidate) => candidate.name === name);
    if (weight === undefined) return add(name, shape, ...rest);
    const zeros = tf.initializers.zeros();
    const plain = (part: string, size: number[], dtype: tf.DataType) =>
      add(part, size, dtype, zeros, undefined, false);
    return asLayerVariable(emptyWeight(name, shape as number[], weight.layout, compression, plain));
  };
}

/**
 * A packed weight of zeros, for a layer whose weights are loaded next.
 *
 * @throws {ModelError} `bad-int4-config`.
 */
export function emptyWeight(
  name: string,
  shape: readonly number[],
  layout: WeightLayout,
  compression: Compression,
  add: Parameters<typeof Int8Weight.build>[4],
): CompressedWeight {
  if ('int4' in compression)
    return Int4Weight.build(name, shape, layout as Int4Layout, compression.int4, add);
  return Int8Weight.build(name, shape, layout, `int8_${compression.int8}`, add);
}

/** The form with packed weights of a stock layer class. */
function compressedClassOf(
  stock: LayerClass,
  weights: readonly CompressibleWeight[],
  prefix: 'Int8' | 'Int4',
): LayerClass {
  return class extends stock {
    static override readonly className: string = `${prefix}${stock.className}`;
    declare compression: Compression;

    constructor(args: Args) {
      super(args);
      this.compression = compressionOf(args) ?? DEFAULT_COMPRESSION;
    }

    protected override addWeight(...args: Parameters<AddWeight>): LayerVariable {
      return addCompressedWeight(super.addWeight.bind(this), weights, this.compression)(...args);
    }

    override getConfig(): tf.serialization.ConfigDict {
      return withActivations(this, {
        ...super.getConfig(),
        ...this.compression,
      } as tf.serialization.ConfigDict);
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
) as unknown as LayerClass<EmbeddingLayer>;

/** Embedding with packed weights: ids int [...] to float32 [..., outputDim]. */
function compressedEmbedding(prefix: 'Int8' | 'Int4'): LayerClass {
  const Compressed = compressedClassOf(
    StockEmbedding,
    [EMBEDDINGS],
    prefix,
  ) as unknown as typeof StockEmbedding;
  return class extends Compressed {
    override call(inputs: tf.Tensor | tf.Tensor[], kwargs: Parameters<Layer['call']>[1]): tf.Tensor {
      return tf.tidy(() => {
        this.invokeCallHook(inputs, kwargs);
        const input = onlyTensor(inputs);
        const ids = tf.cast(input, 'int32').reshape<tf.Tensor1D>([input.size]);
        const rows = (this.embeddings as unknown as CompressedWeight).lookUp(ids);
        return rows.reshape(this.computeOutputShape(input.shape) as number[]);
      });
    }
  };
}

const KERNEL: CompressibleWeight = {name: 'kernel', field: 'kernel', layout: 'columns'};
const TRANSPOSED: CompressibleWeight = {...KERNEL, layout: 'transposed'};
const DEPTHWISE: CompressibleWeight = {
  name: 'depthwise_kernel',
  field: 'depthwiseKernel',
  layout: 'depthwise',
};
const POINTWISE: CompressibleWeight = {name: 'pointwise_kernel', field: 'pointwiseKernel', layout: 'columns'};

/** The kernel of Dense, whose packed form is `SparsifyingDense`. */
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

/** The classes other than Dense whose weights can be packed, as NNCF compresses them. */
export const COMPRESSIBLE_CLASSES: readonly CompressibleClass[] = [
  {
    stock: StockEmbedding,
    int8: compressedEmbedding('Int8'),
    int4: compressedEmbedding('Int4'),
    weights: [EMBEDDINGS],
  },
  ...CONVOLUTIONS.map(([stock, weights]) => ({
    stock,
    int8: compressedClassOf(stock, weights, 'Int8'),
    int4: null,
    weights,
  })),
];

/** The class of an embedding or convolution with its packed forms; undefined for other layers, Dense among them. */
export function compressibleClassOf(layer: Layer): CompressibleClass | undefined {
  const prototype: unknown = Object.getPrototypeOf(layer);
  return COMPRESSIBLE_CLASSES.find((known) =>
    [known.stock, known.int8, known.int4].some((form) => form?.prototype === prototype),
  );
}
