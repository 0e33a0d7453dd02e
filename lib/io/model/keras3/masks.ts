/**
 * @file Where the mask of an Embedding or a Masking goes. TensorFlow.js hands masks on as Keras does, but most layers that use one
 * in Keras 3 pass over it there (a mean over time, softmax) and others lose it in one of the two: these are refused, the others
 * were held against Keras.
 */
import {isObject} from '../../../plain-object.js';
import {isKerasTensor, isSerialized, type JsonObject} from './config-values.js';
import {unsupported, type LayerPlace} from './layer-config.js';

/** Layers that hand a mask on and do not use it. */
const HAND_ON: ReadonlySet<string> = new Set([
  ...['Dropout', 'SpatialDropout1D', 'GaussianNoise', 'GaussianDropout', 'AlphaDropout'],
  ...['Dense', 'Activation', 'ReLU', 'LeakyReLU', 'ELU', 'PReLU', 'TimeDistributed'],
  ...['LayerNormalization', 'BatchNormalization'],
]);
/** Layers that use a mask, and hand it on if they return all steps. */
const RECURRENT: ReadonlySet<string> = new Set(['RNN', 'LSTM', 'GRU', 'SimpleRNN', 'Bidirectional']);
/** Where a mask ends. */
const END: ReadonlySet<string> = new Set(['Flatten', 'Sequential']);

/** A layer of a model's config, in its order, and what its calls take. */
interface Step {
  readonly layer: JsonObject & {readonly class_name: string};
  readonly place: LayerPlace;
  /** Names of the layers before it. */
  readonly before: readonly string[];
}

/**
 * Checks that no mask comes to a layer that would do something else with it than Keras.
 *
 * @param steps The layers of a model, not of those inside it.
 * @throws {ModelError} `unsupported-layer`.
 */
export function checkMasks(steps: readonly Step[]): void {
  const masked = new Set<string>();
  for (let size = -1; size < masked.size;) {
    size = masked.size; // until no further layer is masked: the order of the config need not be that of the calls
    for (const {layer, place, before} of steps) {
      const takesMask = before.some((name) => masked.has(name));
      if (givesMask(layer, place, takesMask)) masked.add(place.name);
    }
  }
}

function givesMask(
  {class_name: className, config}: Step['layer'],
  place: LayerPlace,
  takesMask: boolean,
): boolean {
  if (className === 'Masking') return true;
  if (isObject(config) && config['mask_zero'] === true) return true;
  if (!takesMask || END.has(className)) return false;
  if (HAND_ON.has(className)) return true;
  if (RECURRENT.has(className)) return isObject(config) && returnsSequences(config);
  throw unsupported(place, 'takes a mask (of mask_zero or Masking) as Keras 3 treats it');
}

function returnsSequences(config: JsonObject): boolean {
  const {layer} = config;
  const inner = isSerialized(layer) && isObject(layer['config']) ? layer['config'] : config;
  return inner['return_sequences'] === true;
}

/** Names of the layers whose outputs the calls of a layer take, by arguments of any form. */
export function sourcesOf(nodes: unknown): string[] {
  if (Array.isArray(nodes)) {
    const [name, call] = nodes as unknown[];
    return typeof name === 'string' && typeof call === 'number' ? [name] : nodes.flatMap(sourcesOf);
  }
  if (!isObject(nodes)) return [];
  if (isKerasTensor(nodes)) {
    const config = nodes['config'];
    return isObject(config) ? sourcesOf(config['keras_history']) : [];
  }
  return Object.entries(nodes).flatMap(([key, value]) => (key === 'mask' ? [] : sourcesOf(value)));
}
