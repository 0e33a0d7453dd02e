/** @file Whether a layer gives probabilities. */
import {isContainer, type Layer} from '../tfjs.js';

/** The function that makes a layer's output probabilities: its activation, or itself; null if it does not. */
export function probabilityOf(layer: Layer): 'softmax' | 'sigmoid' | null {
  if (isContainer(layer)) return probabilityOf(layer.outputLayers[0]);
  const {activation} = layer as unknown as {activation?: {getClassName?: () => string} | null};
  const name = activation?.getClassName?.() ?? layer.getClassName().toLowerCase();
  return name === 'softmax' || name === 'sigmoid' ? name : null;
}
