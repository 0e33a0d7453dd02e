/** @file One small model of every topology that sparsification must handle, with an input batch that fits it. */
import * as tf from '@tensorflow/tfjs';
import {normals} from '../normals.js';

export interface Topology {
  readonly name: string;
  /** Paths of its Dense layers, in the order of the graph. */
  readonly paths: readonly string[];
  readonly build: () => tf.LayersModel;
  /** One batch of inputs; the caller disposes it. */
  readonly batch: (seed: number) => tf.Tensor[];
}

/** A custom layer that holds Dense layers in a field, an array and a plain object; not registered. */
class Block extends tf.layers.Layer {
  static className = 'Block';
  private readonly up = tf.layers.dense({units: 12, activation: 'relu', name: 'up'});
  private readonly downs = [tf.layers.dense({units: 6, name: 'down'})];
  private readonly parts = {gate: tf.layers.dense({units: 12, activation: 'sigmoid', name: 'gate'})};

  override build(shape: tf.Shape): void {
    this.up.build(shape);
    this.parts.gate.build(shape);
    this.downs[0].build([null, 12]);
    for (const layer of [this.up, this.parts.gate, this.downs[0]]) layer.built = true;
    super.build(shape);
  }

  override computeOutputShape(shape: tf.Shape): tf.Shape {
    return [...shape.slice(0, -1), 6];
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const x = Array.isArray(inputs) ? inputs[0] : inputs;
      const hidden = tf.mul(this.up.apply(x) as tf.Tensor, this.parts.gate.apply(x) as tf.Tensor);
      return this.downs[0].apply(hidden) as tf.Tensor;
    });
  }
}

/** A custom layer with private fields, which only its constructor can make. */
class Scale extends tf.layers.Layer {
  static className = 'Scale';
  readonly #factor = 2;

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.mul(Array.isArray(inputs) ? inputs[0] : inputs, this.#factor);
  }
}

const dense = (name: string, units: number, activation?: 'relu' | 'tanh' | 'softmax') =>
  tf.layers.dense({name, units, activation, biasInitializer: 'randomNormal'});

const input = (shape: number[], name: string) => tf.input({shape, name});

const apply = (layer: tf.layers.Layer, ...x: tf.SymbolicTensor[]) =>
  layer.apply(x.length === 1 ? x[0] : x) as tf.SymbolicTensor;

const rank2 = (seed: number) => [tf.tensor2d(normals(5 * 8, seed), [5, 8])];
const rank3 = (seed: number) => [tf.tensor3d(normals(5 * 3 * 8, seed), [5, 3, 8])];

export const TOPOLOGIES: readonly Topology[] = [
  {
    name: 'Sequential',
    paths: ['first', 'second', 'third'],
    build: () =>
      tf.sequential({
        layers: [
          tf.layers.dense({name: 'first', units: 16, activation: 'relu', inputShape: [8]}),
          tf.layers.dropout({rate: 0.5}),
          dense('second', 16, 'tanh'),
          dense('third', 4, 'softmax'),
        ],
      }),
    batch: rank2,
  },
  {
    name: 'directed graph with a residual',
    paths: ['a', 'b', 'c'],
    build: () => {
      const x = input([8], 'x');
      const a = apply(dense('a', 8, 'relu'), x);
      const b = apply(dense('b', 8), a);
      const sum = apply(tf.layers.add({name: 'sum'}), x, b);
      return tf.model({inputs: x, outputs: apply(dense('c', 3), sum)});
    },
    batch: rank2,
  },
  {
    name: 'Dense without bias on a rank-3 input',
    paths: ['q', 'k', 'out'],
    build: () => {
      const x = input([3, 8], 'x');
      const q = apply(tf.layers.dense({name: 'q', units: 8, useBias: false}), x);
      const k = apply(tf.layers.dense({name: 'k', units: 8, useBias: false}), x);
      return tf.model({inputs: x, outputs: apply(dense('out', 4), apply(tf.layers.multiply(), q, k))});
    },
    batch: rank3,
  },
  {
    name: 'shared Dense',
    paths: ['shared', 'out'],
    build: () => {
      const x = input([8], 'x');
      const shared = dense('shared', 8, 'tanh');
      return tf.model({inputs: x, outputs: apply(dense('out', 3), apply(shared, apply(shared, x)))});
    },
    batch: rank2,
  },
  {
    name: 'nested models',
    paths: ['outer/inner/deep', 'outer/after', 'head'],
    build: () => {
      const x = input([8], 'x');
      const inner = tf.sequential({
        name: 'inner',
        layers: [tf.layers.dense({name: 'deep', units: 10, activation: 'relu', inputShape: [8]})],
      });
      const y = input([8], 'y');
      const outer = tf.model({inputs: y, outputs: apply(dense('after', 6), apply(inner, y)), name: 'outer'});
      return tf.model({inputs: x, outputs: apply(dense('head', 3), apply(outer, x))});
    },
    batch: rank2,
  },
  {
    name: 'nested model used twice',
    paths: ['tower/embed', 'join'],
    build: () => {
      const tower = tf.sequential({
        name: 'tower',
        layers: [tf.layers.dense({name: 'embed', units: 6, activation: 'relu', inputShape: [8]})],
      });
      const [left, right] = [input([8], 'left'), input([8], 'right')];
      const joined = apply(tf.layers.concatenate(), apply(tower, left), apply(tower, right));
      return tf.model({inputs: [left, right], outputs: apply(dense('join', 2), joined)});
    },
    batch: (seed) => [...rank2(seed), ...rank2(seed + 1)],
  },
  {
    name: 'Sequential that begins with a model',
    paths: ['base/base_1/first', 'base/second', 'head'],
    build: () => {
      const base = tf.sequential({
        name: 'base',
        layers: [
          tf.sequential({
            name: 'base_1',
            layers: [tf.layers.dense({name: 'first', units: 8, activation: 'relu', inputShape: [8]})],
          }),
          dense('second', 6, 'tanh'),
        ],
      });
      return tf.sequential({layers: [base, dense('head', 3)]});
    },
    batch: rank2,
  },
  {
    name: 'several inputs and outputs',
    paths: ['from_a', 'from_b', 'out_1', 'out_2'],
    build: () => {
      const [a, b] = [input([8], 'a'), input([8], 'b')];
      const joined = apply(
        tf.layers.add(),
        apply(dense('from_a', 7, 'relu'), a),
        apply(dense('from_b', 7, 'relu'), b),
      );
      const outputs = [apply(dense('out_1', 2), joined), apply(dense('out_2', 3, 'softmax'), joined)];
      return tf.model({inputs: [a, b], outputs});
    },
    batch: (seed) => [...rank2(seed), ...rank2(seed + 1)],
  },
  {
    name: 'timeDistributed',
    paths: ['steps/inner', 'out'],
    build: () =>
      tf.sequential({
        layers: [
          tf.layers.timeDistributed({layer: dense('inner', 6, 'relu'), name: 'steps', inputShape: [3, 8]}),
          tf.layers.flatten(),
          dense('out', 2),
        ],
      }),
    batch: rank3,
  },
  {
    name: 'bidirectional',
    paths: ['before', 'after'],
    build: () => {
      const x = input([3, 8], 'x');
      const lstm = tf.layers.lstm({units: 4, returnSequences: false});
      const states = apply(
        tf.layers.bidirectional({layer: lstm, mergeMode: 'concat', name: 'both'}),
        apply(dense('before', 6, 'relu'), x),
      );
      return tf.model({inputs: x, outputs: apply(dense('after', 2), states)});
    },
    batch: rank3,
  },
  {
    name: 'Dense inside a custom layer',
    paths: ['block/up', 'block/down', 'block/gate', 'out'],
    build: () => {
      const x = input([8], 'x');
      const block = apply(new Block({name: 'block'}), x);
      return tf.model({inputs: x, outputs: apply(dense('out', 3), block)});
    },
    batch: rank2,
  },
  {
    name: 'custom layer with private fields',
    paths: ['out'],
    build: () => {
      const x = input([8], 'x');
      return tf.model({inputs: x, outputs: apply(dense('out', 3), apply(new Scale({name: 'scale'}), x))});
    },
    batch: rank2,
  },
  {
    name: 'Dense after an embedding',
    paths: ['head'],
    build: () => {
      const ids = tf.input({shape: [4], name: 'ids', dtype: 'int32'});
      const embedded = apply(tf.layers.embedding({inputDim: 20, outputDim: 8, name: 'embed'}), ids);
      return tf.model({inputs: ids, outputs: apply(dense('head', 5), embedded)});
    },
    batch: (seed) => [
      tf.tensor2d(
        [...normals(12, seed)].map((v) => (Math.abs(v * 7) % 20) | 0),
        [3, 4],
        'int32',
      ),
    ],
  },
  {
    name: 'one Dense on the input alone',
    paths: ['only'],
    build: () =>
      tf.sequential({layers: [tf.layers.dense({name: 'only', units: 2, useBias: false, inputShape: [8]})]}),
    batch: rank2,
  },
];
