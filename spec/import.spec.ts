/** @file Importing the package changes nothing: no name, id, class, kernel or global that a program would see. */
import {expect} from 'chai';
import {runModule, urlOf} from './support/child.js';

const DOORS = ['lib/index.ts', 'lib/node.ts', 'lib/serve/index.ts', 'lib/language/index.ts'];

/** Prints what a program sees of TensorFlow.js and of the process, after it imported a door. */
const code = (door: string | null) => `
import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-wasm';
const prototypes = [tf.layers.Layer, tf.LayersModel, tf.Sequential, tf.LayerVariable, tf.Tensor, Array, Object, Map, WeakMap, Promise];
const methods = () => prototypes.map(({prototype}) => Reflect.ownKeys(prototype).map((key) => Reflect.getOwnPropertyDescriptor(prototype, key)));
const before = methods();
${door === null ? '' : `await import('${urlOf(door)}');`}
const after = methods();
const same = before.every((list, i) => list.every((one, j) => one.value === after[i][j].value && one.get === after[i][j].get && one.set === after[i][j].set));
const dense = tf.layers.dense({units: 1});
console.log(JSON.stringify({
  same,
  dense: [dense.name, dense.id],
  embedding: tf.layers.embedding({inputDim: 1, outputDim: 1}).name,
  input: tf.input({shape: [1]}).name,
  model: tf.sequential().name,
  classes: Object.keys(tf.serialization.SerializationMap.getMap().classNameMap),
  kernels: ['cpu', 'wasm'].map((backend) => tf.getKernelsForBackend(backend).map(({kernelName}) => kernelName)),
  factories: Object.keys(tf.engine().registryFactory),
  globals: Reflect.ownKeys(globalThis).map(String),
  listeners: process.eventNames().map((name) => [String(name), process.listenerCount(name)]),
  handlers: tf.io.getSaveHandlers('file://x').length,
  tensors: tf.engine().state.numTensors,
}));`;

describe('importing the package', () => {
  for (const door of DOORS) {
    it(`changes nothing: ${door}`, async () => {
      const [without, wanted] = await Promise.all([runModule(code(null)), runModule(code(door))]);
      const read = ({stdout, stderr}: {stdout: string; stderr: string}) => {
        expect(stdout, stderr).to.include('"dense":["dense_Dense1",0]');
        return JSON.parse(stdout.trim().split('\n').at(-1)!) as Record<string, unknown>;
      };
      const [expected, found] = [read(without), read(wanted)];
      // Node makes some of its globals at their first use.
      expect(found).to.deep.equal({...expected, globals: found.globals});
      expect(found.globals).to.include.members(expected.globals as string[]);
    });
  }
});
