/**
 * @file A layer of one's own that holds Dense layers: they are found inside it, sparsified, saved, and loaded again.
 *
 * Usage: npm run build && node scripts/examples/custom-layer.mjs
 */
import {mkdtemp, rm} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {inspect, measureSparsity, sparsifyActivations, withLayers} from 'tfjs-sparsify';
import {loadBackend, loadLayersModel, saveLayersModel} from 'tfjs-sparsify/node';

/**
 * A feed-forward part with a gate: down(silu(gate(x)) * up(x)). Its Dense layers are in public fields, where they are found
 * and replaced by sparsified ones; its configuration holds theirs, so that a saved model has them sparsified again.
 */
class GatedFeedForward extends tf.layers.Layer {
  static className = 'GatedFeedForward';

  constructor({hidden, units, gate, up, down, ...config}) {
    super(config);
    this.hidden = hidden;
    this.units = units;
    this.gate = dense('gate', hidden, gate);
    this.up = dense('up', hidden, up);
    this.down = dense('down', units, down);
  }

  getConfig() {
    const parts = Object.entries({gate: this.gate, up: this.up, down: this.down}).map(([name, layer]) => [
      name,
      {className: layer.getClassName(), config: layer.getConfig()},
    ]);
    return {...super.getConfig(), hidden: this.hidden, units: this.units, ...Object.fromEntries(parts)};
  }

  build(shape) {
    // A layer that is applied makes its weights, under a name of its own: ffn/gate/kernel.
    tf.tidy(() => {
      const x = tf.zeros([1, shape.at(-1)]);
      this.down.apply(this.gate.apply(x).mul(this.up.apply(x)));
    });
    super.build(shape);
  }

  // The weights of the inner layers are the layer's own: so they are saved and loaded. A threshold is one that is not trained.
  get trainableWeights() {
    return [this.gate, this.up, this.down].flatMap((layer) => layer.trainableWeights);
  }

  get nonTrainableWeights() {
    return [this.gate, this.up, this.down].flatMap((layer) => layer.nonTrainableWeights);
  }

  computeOutputShape(shape) {
    return [...shape.slice(0, -1), this.units];
  }

  call(inputs) {
    return tf.tidy(() => {
      const x = Array.isArray(inputs) ? inputs[0] : inputs;
      const gate = this.gate.apply(x);
      return this.down.apply(gate.sigmoid().mul(gate).mul(this.up.apply(x)));
    });
  }
}

/** A new Dense layer, or the layer of a saved configuration, whose class TensorFlow.js knows by its name. */
function dense(name, units, saved) {
  if (saved === undefined) return tf.layers.dense({name, units, useBias: false});
  const [layerClass, fromConfig] = tf.serialization.SerializationMap.getMap().classNameMap[saved.className];
  return fromConfig(layerClass, saved.config);
}

await loadBackend();
const input = tf.input({shape: [64]});
const outputs = new GatedFeedForward({name: 'ffn', hidden: 256, units: 64}).apply(input);
const model = tf.model({inputs: input, outputs});
const data = tf.randomNormal([8, 32, 64], 0, 1, 'float32', 1); // 8 batches of 32 rows

const sparse = await sparsifyActivations(model, data, {
  targetSparsityByScope: {'ffn/(gate|up)': 0.3, 'ffn/down': 0.5},
});
for (const {path, target, actual} of await measureSparsity(sparse, data)) {
  console.log(`${path}: target ${target}, actual ${actual.toFixed(3)}`);
}

const folder = await mkdtemp(join(tmpdir(), 'tfjs-sparsify-example-'));
try {
  await saveLayersModel(sparse, folder);
  const loaded = await withLayers([GatedFeedForward], () => loadLayersModel(folder));
  const paths = inspect(loaded).map(({path, target}) => `${path} ${target}`);
  console.log(`loaded: ${paths.join(', ')}`);
  const difference = tf.tidy(() => {
    const x = data.slice(0, 1).squeeze([0]);
    return sparse.predict(x).sub(loaded.predict(x)).abs().max().dataSync()[0];
  });
  console.log(`largest difference of their predictions: ${difference}`);
} finally {
  await rm(folder, {recursive: true});
}
