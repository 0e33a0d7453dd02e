/** @file Whether a layer gives probabilities. */
import {isContainer, type Layer} from '../tfjs.js';

/** The function that makes a layer's output probabilities: its activation, or itself; null if it does not. */
export function probabilityOf(layer: Layer): 'softmax' | 'sigmoid' | null {
  let last = layer;
  while (isContainer(last)) last = last.outputLayers[0];
  const {activation} = last as unknown as {activation?: {getClassName?: () => string} | null};
  // An activation may be a Softmax layer too.
  const name = (activation?.getClassName?.() ?? last.getClassName()).toLowerCase();
  return name === 'softmax' || name === 'sigmoid' ? name : null;
}
