/**
 * @file What `compile` keeps of a model's weights, brought up to date after weights of the model were replaced: the list of
 * those that `fit` trains, and what the optimizer remembers of each, in the order of that list.
 */
import * as tf from '@tensorflow/tfjs';
import {asContainer, isContainer, trainingOf, type Container, type LayerVariable} from '../tfjs.js';
import {walkModel} from './walk.js';

/** What an optimizer keeps of one variable. */
interface Remembered {
  readonly variable: tf.Variable;
}

/** Takes variables, disposed or not, out of the lists of what `fit` trains, and what optimizers remember of them. */
export function forgetVariables(model: tf.LayersModel, gone: ReadonlySet<LayerVariable>): void {
  const seen = new Set<tf.Optimizer>();
  for (const container of compiled(model)) {
    const training = trainingOf(container);
    const collected = training.collectedTrainableWeights!;
    const {optimizer_: optimizer} = training;
    if (optimizer !== undefined && !seen.has(optimizer)) {
      seen.add(optimizer);
      for (const memory of memoriesOf(optimizer, collected.length)) {
        const kept = memory.filter((_, i) => !gone.has(collected[i]));
        tf.dispose(memory.filter((one) => !kept.includes(one)).map(({variable}) => variable));
        memory.splice(0, memory.length, ...kept);
      }
    }
    training.collectedTrainableWeights = collected.filter((variable) => !gone.has(variable));
  }
}

/** Lets `fit` train all that is trainable now; optimizers start anew. */
export function trainAll(model: tf.LayersModel): void {
  for (const container of compiled(model)) {
    const training = trainingOf(container);
    const {optimizer_: optimizer} = training;
    if (optimizer !== undefined) {
      for (const memory of memoriesOf(optimizer, training.collectedTrainableWeights!.length)) {
        tf.dispose(memory.map(({variable}) => variable));
        memory.length = 0;
      }
    }
    training.collectedTrainableWeights = container.trainableWeights;
  }
}

/** A model, the model inside a Sequential, and nested ones, as far as they are compiled. */
function compiled(model: tf.LayersModel): Container[] {
  const containers = new Set<Container>([asContainer(model)]);
  for (const {layer} of walkModel(asContainer(model)).layers) if (isContainer(layer)) containers.add(layer);
  // The set grows while it is walked.
  for (const container of containers) {
    const {model: inner} = container as Container & {model?: object};
    if (inner !== undefined && isContainer(inner)) containers.add(inner);
  }
  return [...containers].filter((container) => trainingOf(container).collectedTrainableWeights !== undefined);
}

/** The lists of an optimizer that hold something of each of `count` variables. */
function memoriesOf(optimizer: tf.Optimizer, count: number): Remembered[][] {
  return (Object.values(optimizer) as unknown[]).filter(
    (field): field is Remembered[] =>
      Array.isArray(field) &&
      field.length === count &&
      field.every((one: Partial<Remembered> | null) => one?.variable instanceof tf.Variable),
  );
}
