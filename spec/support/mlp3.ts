/** @file The 8-16-16-4 MLP of NNCF's reference vectors, as a tf.LayersModel, and its file of runs. */
import {readFileSync} from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import {IgnoredScope, TargetScope, type ScopeOptions} from '../../lib/scope/target-scope.js';

/** The scopes of a run; nodes are named as in NNCF's graph. */
interface ReferenceScopes {
  target_sparsity_by_scope: {scope: ScopeOptions; sparsity: number}[];
  ignored_scope: ScopeOptions | null;
}

export interface ReferenceRun extends ReferenceScopes {
  name: string;
  batch_order: number[];
  layers: Record<string, {threshold: number; running_thresholds: number[]; num_batches_tracked: number}>;
  test: {
    output: number[][];
    layers: Record<string, {input_zero_fraction_after_mask: number; masked_input: number[][]}>;
  };
}

interface ReferenceFile {
  weights: Record<string, number[]> & Record<string, number[][]>;
  calibration_batches: number[][][];
  test_input: number[][];
  dense_test_output: number[][];
  runs: ReferenceRun[];
}

/** A file of `spec/fixtures/nncf`. */
export function readVectors<T>(file: string): T {
  return JSON.parse(readFileSync(new URL(`../fixtures/nncf/${file}`, import.meta.url), 'utf8')) as T;
}

export const MLP3 = readVectors<ReferenceFile>('mlp3_sparsity.json');

/** Layer path of a node of NNCF's graph: `fc1/linear/0` is our `fc1`. */
export const pathOf = (node: string): string => node.replace(/\/linear\/\d+$/, '');

/** fc3(tanh(fc2(relu(fc1(x))))) with the reference weights. */
export function mlp3(): tf.LayersModel {
  const sizes = [
    {name: 'fc1', units: 16, activation: 'relu'},
    {name: 'fc2', units: 16, activation: 'tanh'},
    {name: 'fc3', units: 4, activation: 'linear'},
  ] as const;
  const model = tf.sequential({
    layers: sizes.map((size, i) => tf.layers.dense({...size, ...(i === 0 ? {inputShape: [8]} : {})})),
  });
  tf.tidy(() => {
    for (const {name} of sizes) {
      const kernel = tf.transpose(tf.tensor2d(MLP3.weights[`${name}.weight`]));
      model.getLayer(name).setWeights([kernel, tf.tensor1d(MLP3.weights[`${name}.bias`])]);
    }
  });
  return model;
}

/** A reference run's scopes for `mlp3`: names by path, the type `linear` as `Dense`. */
export function scopesOf(run: ReferenceScopes) {
  const translate = ({names, types, ...rest}: ScopeOptions): ScopeOptions => ({
    ...rest,
    ...(names && {names: names.map(pathOf)}),
    ...(types && {types: types.map((type) => (type === 'linear' ? 'Dense' : type))}),
  });
  return {
    targetSparsityByScope: run.target_sparsity_by_scope.map(
      ({scope, sparsity}) => [new TargetScope(translate(scope)), sparsity] as const,
    ),
    ignoredScope: run.ignored_scope && new IgnoredScope(translate(run.ignored_scope)),
  };
}
