/**
 * @file A copy of a model that shares the weights' memory: same layers, names and graph, new objects, so that
 * changing a layer of one leaves the other as it was.
 *
 * The objects are copied field by field with their prototypes rather than rebuilt from their configurations: that
 * also covers custom layers that are not registered or hold inner layers, runs no initializer, and costs no second
 * copy of the weights even for a moment. Each copied variable refers to the same data as its original (tfjs counts
 * references), so either model can be disposed or trained without harm to the other. Custom layers that keep state
 * where fields do not show it are found out beforehand, and made anew or refused (`copy-plan.ts`).
 */
import * as tf from '@tensorflow/tfjs';
import {asContainer, isContainer, rawValue, setReferenceCount, type Container, type Layer} from '../tfjs.js';
import {Cloner} from './cloner.js';
import {planCopy} from './copy-plan.js';
import {walkModel} from './walk.js';

/**
 * @param model Built; its variables must not be disposed.
 * @returns A model that computes the same and shares the weights' memory, with its own state, optimizer and user-defined
 *   fields; the caller disposes it.
 * @throws {ModelError} `cannot-copy` if a custom layer keeps state that cannot be copied; nothing is left then.
 */
export function cloneModel(model: tf.LayersModel): tf.LayersModel {
  const cloner = new Cloner(planCopy(asContainer(model)));
  const copy = cloner.clone(asContainer(model));
  countReferences(copy);
  return disposingAll(copy as unknown as tf.LayersModel, cloner);
}

/**
 * Lets `dispose` free all that the copy owns: also weights of layers inside custom layers, which a custom layer may not
 * list among its weights, states of recurrent layers, and tensors in fields.
 */
function disposingAll(copy: tf.LayersModel, cloner: Cloner): tf.LayersModel {
  const dispose = () => {
    const result = tf.LayersModel.prototype.dispose.call(copy);
    if (result.refCountAfterDispose === 0) {
      for (const {layer} of walkModel(asContainer(copy)).layers) {
        for (const weight of layer.weights) if (!rawValue(weight).isDisposed) weight.dispose();
      }
      cloner.dispose();
    }
    return result;
  };
  return Object.assign(copy, {dispose});
}

/**
 * Sets how often each layer must be disposed until its weights are: once for every time that a model of the copy disposes it.
 * (TensorFlow.js counts calls instead, so that a layer called twice outlives its model.)
 */
function countReferences(model: Container): void {
  const references = new Map<Layer, number>();
  const containers = [model];
  for (let container = containers.pop(); container !== undefined; container = containers.pop()) {
    for (const layer of [...container.layers, ...container.internalContainerRefs]) {
      const before = references.get(layer) ?? 0;
      references.set(layer, before + 1);
      if (before === 0 && isContainer(layer)) containers.push(layer);
    }
  }
  for (const [layer, uses] of references) setReferenceCount(layer, uses);
}
