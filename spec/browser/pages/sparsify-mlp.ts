/** @file A small model of Dense layers, sparsified on seeded data: the same program for a page and for Node. */
import * as tf from '@tensorflow/tfjs';
import {Dataset, compressWeights, inspect, retarget, sparsifyActivations} from '../../../lib/index.js';
import {normals} from '../../support/normals.js';
import {useBackend} from './backend.js';

/** What a model is and computes, in plain numbers. */
interface Outcome {
  readonly thresholds: readonly number[];
  readonly outputs: readonly number[];
}

export interface Outcomes {
  readonly dense: Outcome;
  readonly sparse: Outcome;
  /** The sparse model with INT8 weights. */
  readonly compressed: Outcome;
  readonly retargeted: Outcome;
}

const INPUTS = 24;
/** relu(x W1) W2: products and sums alone, which every machine rounds alike. */
const SIZES = [
  {name: 'hidden', units: 32, activation: 'relu'},
  {name: 'out', units: 5, activation: 'linear'},
] as const;

function mlp(): tf.LayersModel {
  const model = tf.sequential({
    layers: SIZES.map((size, i) => tf.layers.dense({...size, ...(i === 0 ? {inputShape: [INPUTS]} : {})})),
  });
  tf.tidy(() => {
    model.getLayer('hidden').setWeights([matrix(INPUTS, 32, 1), tf.tensor1d(normals(32, 2, 0.1))]);
    model.getLayer('out').setWeights([matrix(32, 5, 3), tf.tensor1d(normals(5, 4, 0.1))]);
  });
  return model;
}

function matrix(rows: number, columns: number, seed: number): tf.Tensor2D {
  return tf.tensor2d(normals(rows * columns, seed), [rows, columns]);
}

function outcome(model: tf.LayersModel): Outcome {
  const outputs = tf.tidy(() => [...(model.predict(matrix(8, INPUTS, 5)) as tf.Tensor).dataSync()]);
  return {thresholds: inspect(model).map(({threshold}) => threshold ?? 0), outputs};
}

/** Sparsifies a model at 50 %, makes its weights INT8, and moves it to 70 %. */
export async function sparsifyMlp(backend: 'cpu' | 'wasm'): Promise<Outcomes> {
  await useBackend(backend);
  const model = mlp();
  const dataset = new Dataset([6, 7, 8].map((seed) => matrix(32, INPUTS, seed)));
  const sparse = await sparsifyActivations(model, dataset, {
    targetSparsityByScope: {'.*': 0.5},
    saveStatistics: true,
  });
  const outcomes = {dense: outcome(model), sparse: outcome(sparse)};
  const compressed = outcome(await compressWeights(sparse));
  retarget(sparse, {'.*': 0.7});
  return {...outcomes, compressed, retargeted: outcome(sparse)};
}
