/**
 * @file Which weight of a file of Keras 3 is which of the model's. Keras 3 names weights by their path, `sequential/dense/kernel`,
 * in HDF5 files, and by their place, `layers/dense_1/vars/0`, in `.keras` files, where layers are counted by class
 * (keras/src/saving/saving_lib.py). TensorFlow.js has the name of the layer and that of the weight.
 */
import type {io} from '@tensorflow/tfjs';

import {ModelError} from '../../../errors.js';
import {NORMALIZATION_CLASS} from '../../../layers/normalization.js';
import {isContainer, type Container, type Layer, type LayerVariable} from '../../../tfjs.js';
import {isObject} from '../../../plain-object.js';
import {isSerialized, type JsonObject} from './config-values.js';
import {KERAS3_REMEDY} from './layer-config.js';
import {layersOf} from './topology.js';

/** A layer that holds weights itself, and how Keras 3 addresses it. */
interface Holder {
  /** Names of the models and wrappers around it and its own, without the outermost model's. */
  readonly names: readonly string[];
  /** `layers/sequential/layers/dense`. */
  readonly folder: string;
  readonly weights: readonly LayerVariable[];
  /** Whether Keras keeps a count beside them. */
  readonly counts: boolean;
}

/** Paths of state that no layer of TensorFlow.js has: of generators of random numbers, counts of what was adapted to. */
const STATE = /(^|\/)(seed_generator_state|count)$/;
/** A place: the layer's folder, and which of its weights. */
const PLACE = /^(.*?)(?:\/cell)?\/vars\/(\d+)$/;
/** Names of weights that differ from TensorFlow.js's. */
const ALIASES: Readonly<Record<string, string>> = {kernel: 'depthwise_kernel'};

/**
 * Finds the weight of the model that each stored one is.
 *
 * @param specs The weights of the manifest.
 * @param topology The topology as Keras 3 wrote it.
 * @param model The model built of it.
 * @param source Path or URL of the model.json, for errors.
 * @returns By stored name; weights that are no model's (an optimizer's, seeds) are left out.
 * @throws {ModelError} `weights-mismatch` unless each weight of the model is found once, and nothing else.
 */
export function matchWeights(
  specs: readonly io.WeightsManifestEntry[],
  topology: JsonObject,
  model: Container,
  source: string,
): Map<string, LayerVariable> {
  const config = (topology['model_config'] ?? topology) as JsonObject;
  const holders = holdersIn(config, model, [], '');
  const found = new Map<string, LayerVariable>();
  const taken = new Set<LayerVariable>();
  const take = (name: string, variable: LayerVariable | undefined): boolean => {
    if (variable === undefined || taken.has(variable)) return false;
    taken.add(variable);
    found.set(name, variable);
    return true;
  };
  const byPlace = specs.length > 0 && specs.every(({name}) => /(^|[/\\])vars[/\\]\d+$/.test(name));
  const left = specs.filter(({name}) => {
    if (byPlace ? isState(normalized(name), holders) : STATE.test(name)) return false;
    return !take(name, byPlace ? atPlace(name, holders) : atPath(name, holders, model.name));
  });
  // Keras 3 sometimes numbers a layer anew when it is saved: dense_10_1/kernel of the layer dense_10.
  const lost = left.filter(({name, shape}) => {
    const variable = byPlace ? undefined : atPath(name, holders, model.name, true);
    return String(variable?.shape) !== String(shape) || !take(name, variable);
  });
  const unset = holders.flatMap(({weights}) => weights).filter((variable) => !taken.has(variable));
  if (lost.length === 0 && unset.length === 0) return found;
  const named = [
    lost.length > 0 ? `no layer for the weights ${list(lost.map(({name}) => name))}` : '',
    unset.length > 0 ? `no weights for ${list(unset.map(({originalName}) => originalName))}` : '',
  ];
  throw new ModelError(
    'weights-mismatch',
    `${source} is a Keras 3 file that has ${named.filter((part) => part !== '').join(' and ')}: ${KERAS3_REMEDY}`,
    {source, weights: lost.map(({name}) => name), unset: unset.map(({originalName}) => originalName)},
  );
}

/** Whether what lies at a place is no weight: an optimizer's, a seed, or how much a Normalization has seen. */
function isState(place: string, holders: readonly Holder[]): boolean {
  if (!place.startsWith('layers/') || /\/seed_generator\/vars\/\d+$/.test(place)) return true;
  const [, folder, index] = PLACE.exec(place) ?? [];
  return holders.some(
    (holder) => holder.counts && holder.folder === folder && Number(index) === holder.weights.length,
  );
}

/** The holders of weights in a model, in the order of its config. */
function holdersIn(config: JsonObject, model: Container, names: readonly string[], folder: string): Holder[] {
  const counts = new Map<string, number>();
  return layersOf(config).flatMap((layer) => {
    if (!isSerialized(layer) || !isObject(layer['config'])) return [];
    const name = String(layer['name'] ?? layer['config']['name']);
    const kind = snakeCase(layer.class_name);
    const count = counts.get(kind) ?? 0;
    counts.set(kind, count + 1);
    const built = model.layers.find((each) => each.name === name);
    if (built === undefined) return []; // the input layer of a Sequential
    const place = `${folder}layers/${kind}${count === 0 ? '' : `_${count}`}`;
    return isContainer(built)
      ? holdersIn(layer, built, [...names, name], `${place}/`)
      : holdersOf(built, [...names, name], place);
  });
}

/** A layer's own weights, or those of the layers that it wraps. */
function holdersOf(layer: Layer, names: readonly string[], folder: string): Holder[] {
  const {forwardLayer, backwardLayer, layer: wrapped} = layer as Wrapper;
  const inner: Readonly<Record<string, Layer>> | undefined =
    forwardLayer !== undefined && backwardLayer !== undefined
      ? {forward_layer: forwardLayer, backward_layer: backwardLayer}
      : layer.getClassName() === 'TimeDistributed' && wrapped !== undefined
        ? {layer: wrapped}
        : undefined;
  if (inner === undefined)
    return [{names, folder, weights: layer.weights, counts: layer.getClassName() === NORMALIZATION_CLASS}];
  return Object.entries(inner).flatMap(([field, held]) =>
    isContainer(held) ? [] : holdersOf(held, [...names, held.name], `${folder}/${field}`),
  );
}

/** Fields of Bidirectional and of TimeDistributed. */
interface Wrapper extends Layer {
  readonly forwardLayer?: Layer;
  readonly backwardLayer?: Layer;
  readonly layer?: Layer;
}

/** `layers/lstm/cell/vars/1` is the second weight of the first LSTM. */
function atPlace(name: string, holders: readonly Holder[]): LayerVariable | undefined {
  const [, folder, index] = PLACE.exec(normalized(name)) ?? [];
  return holders.find((holder) => holder.folder === folder)?.weights[Number(index)];
}

/** `sequential/lstm/lstm_cell/kernel` is the weight `kernel` of the layer `lstm`. */
function atPath(
  name: string,
  holders: readonly Holder[],
  root: string,
  renumbered = false,
): LayerVariable | undefined {
  const path = name.split('/');
  const leaf = path.pop()!;
  const matching = holders
    .map((holder) => ({holder, missing: missingNames(path, holder.names, root, renumbered)}))
    .filter(({missing}) => missing < Infinity)
    .sort((a, b) => a.missing - b.missing);
  if (matching.length === 0 || matching[0].missing === matching.at(1)?.missing) return undefined;
  const {weights} = matching[0].holder;
  const called = (wanted: string) =>
    weights.find(({originalName}) => originalName.split('/').at(-1) === wanted);
  return called(leaf) ?? (leaf in ALIASES ? called(ALIASES[leaf]) : undefined);
}

/**
 * How many of a holder's names a weight's path leaves out, as Keras 3 leaves out models that a layer was built before:
 * infinitely many if the path is another's.
 */
function missingNames(
  path: readonly string[],
  names: readonly string[],
  root: string,
  renumbered: boolean,
): number {
  const same = (segment: string, name: string) =>
    segment === name || (renumbered && segment.replace(/_\d+$/, '') === name);
  const own = names.length - 1;
  let at = path.length - 1;
  while (at >= 0 && !same(path[at], names[own])) at--; // what follows is a cell
  if (at < 0 || path.length - at > 2) return Infinity;
  const around = [root, ...names.slice(0, own)];
  let next = 0;
  for (const segment of path.slice(0, at)) {
    while (next < around.length && !same(segment, around[next])) next++;
    if (next++ >= around.length) return Infinity;
  }
  return names.length - 1 - path.slice(0, at).filter((segment) => !same(segment, root)).length;
}

/** On Windows the paths in a `.keras` file have backslashes; an older name of `layers` is long. */
function normalized(name: string): string {
  return name.replaceAll('\\', '/').replaceAll('_layer_checkpoint_dependencies', 'layers');
}

/** As keras/src/utils/naming.py. */
function snakeCase(className: string): string {
  return className
    .replace(/\W+/g, '')
    .replace(/(.)([A-Z][a-z]+)/g, '$1_$2')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase();
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, 5).join(', ');
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}
