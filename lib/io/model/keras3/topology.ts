/**
 * @file The topology of a model as Keras 3 writes it (keras/src/models/functional.py and sequential.py), converted to the
 * form of Keras 2, which TensorFlow.js reads: shapes of inputs, dtypes, calls by arguments, the indices of calls.
 */
import * as tf from '@tensorflow/tfjs';

import {ModelError} from '../../../errors.js';
import {isObject} from '../../../plain-object.js';
import {isKerasTensor, isSerialized, type JsonObject} from './config-values.js';
import {checkMasks, sourcesOf} from './masks.js';
import {KERAS3_REMEDY, layerClass, layerConfig, unsupported, type LayerPlace} from './layer-config.js';

/** Classes of models; all else is a layer. */
const MODEL_CLASSES: ReadonlySet<string> = new Set(['Functional', 'Sequential', 'Model']);
/** Operations on tensors (`x + y`) for which there is a layer that does the same. */
const OPERATION_LAYERS: ReadonlySet<string> = new Set(['Add', 'Multiply', 'Maximum', 'Minimum']);
/** Operations that have a layer's name, some of them without its meaning. */
const OPERATION_NAMES: ReadonlySet<string> = new Set([
  ...OPERATION_LAYERS,
  ...['Average', 'Concatenate', 'Dot', 'Flatten', 'Reshape', 'Softmax'],
]);
/** Layers that may be called with their states after the input. */
const RECURRENT = /^(RNN|LSTM|GRU|SimpleRNN|ConvLSTM2D|Bidirectional)$/;

/** A call's input: name of the layer, index of its call, index of its output, and no more arguments. */
type Reference = [name: string, call: number, output: number, kwargs: JsonObject];

/**
 * Whether a topology is of Keras 3 or later.
 *
 * @param topology `modelTopology` of a `model.json`.
 */
export function isKeras3(topology: JsonObject): boolean {
  const version = /^(\d+)\./.exec(String(topology['keras_version']))?.[1];
  if (version !== undefined) return Number(version) >= 3;
  const config = topology['model_config'] ?? topology;
  return isSerialized(config) && layersOf(config).some(isLayerOfKeras3);
}

function isLayerOfKeras3(layer: unknown): boolean {
  if (!isSerialized(layer) || !isObject(layer['config'])) return false;
  const nodes = layer['inbound_nodes'];
  return (
    'batch_shape' in layer['config'] ||
    isSerialized(layer['config']['dtype']) ||
    (Array.isArray(nodes) && nodes.some(isObject)) ||
    layersOf(layer).some(isLayerOfKeras3)
  );
}

/**
 * Converts a topology.
 *
 * @param topology `modelTopology` of a `model.json` for which `isKeras3` holds.
 * @param source Path or URL of the model.json, for errors.
 * @returns What `tf.models.modelFromJSON` takes.
 * @throws {ModelError} `unsupported-layer`, or `malformed-topology`.
 */
export function keras2Topology(topology: JsonObject, source: string): JsonObject {
  const config = topology['model_config'] ?? topology;
  if (!isSerialized(config) || !MODEL_CLASSES.has(config.class_name)) {
    const what = isSerialized(config) ? `a model of the class "${config.class_name}"` : 'no model';
    throw malformed(source, `holds ${what}; it must be Sequential or Functional`);
  }
  return {...topology, model_config: convertModel(config, {source, masked: makesMask(config)})};
}

/** What is known of the whole file. */
type File = Pick<LayerPlace, 'source' | 'masked'>;

/** Whether a layer of the model gives a mask to those after it. */
function makesMask(model: JsonObject): boolean {
  return layersOf(model).some(
    (layer) =>
      isSerialized(layer) &&
      (layer.class_name === 'Masking' ||
        (isObject(layer['config']) && layer['config']['mask_zero'] === true) ||
        makesMask(layer)),
  );
}

/** The layers of a model's config, in its order. */
export function layersOf(model: JsonObject): readonly unknown[] {
  const config = model['config'];
  const layers = isObject(config) ? config['layers'] : config; // the first Keras wrote a Sequential as a list
  return Array.isArray(layers) ? layers : [];
}

function convertModel(model: JsonObject & {readonly class_name: string}, file: File): JsonObject {
  const {config, class_name: className} = model;
  const layers = layersOf(model);
  if (!isObject(config) || layers.length === 0)
    throw malformed(file.source, `has a ${className} without layers`);
  const name = String(config['name']);
  if (file.masked) checkMasks(stepsOf(layers, className === 'Sequential', file));
  if (className === 'Sequential') {
    const converted = layers.map((layer) => convertLayer(layer, file));
    const own = {name, layers: withInputShape(converted, config['build_input_shape'])};
    return {class_name: className, config: own};
  }
  const graph = new Graph(layers, file);
  return {
    class_name: className,
    config: {
      name,
      layers: graph.layers.map((layer) => graph.convert(layer)),
      input_layers: graph.ends(config['input_layers']),
      output_layers: graph.ends(config['output_layers']),
    },
  };
}

/** The layers of a model with those before each. */
function stepsOf(
  layers: readonly unknown[],
  isSequential: boolean,
  file: File,
): Parameters<typeof checkMasks>[0] {
  const valid = layers.filter(isSerialized).filter(({config}) => isObject(config));
  const places = valid.map((layer) => placeOf(layer, file));
  return valid.flatMap((layer, i) => {
    const before = isSequential
      ? places.slice(Math.max(0, i - 1), i).map(({name}) => name)
      : sourcesOf(layer['inbound_nodes']);
    // The operations that Keras 3 writes for masks compute nothing that is kept.
    return layer.class_name === 'NotEqual' ? [] : [{layer, place: places[i], before}];
  });
}

/** A Sequential that was built by its first data has its shape beside the layers. */
function withInputShape(layers: JsonObject[], shape: unknown): JsonObject[] {
  const [first, ...others] = layers;
  const config = first['config'] as JsonObject;
  if (
    !Array.isArray(shape) ||
    'batch_input_shape' in config ||
    MODEL_CLASSES.has(String(first['class_name']))
  )
    return layers;
  return [{...first, config: {...config, batch_input_shape: shape as unknown[]}}, ...others];
}

function convertLayer(layer: unknown, file: File): JsonObject {
  if (!isSerialized(layer) || !isObject(layer['config']))
    throw malformed(file.source, 'has a layer without a config');
  const {class_name: className, config} = layer;
  if (MODEL_CLASSES.has(className)) return convertModel(layer, file);
  const place = placeOf(layer, file);
  return {
    class_name: registeredClass(layer, place),
    config: layerConfig(config, place, (inner) => convertLayer(inner, file)),
  };
}

/** The name under which a layer's class is known here; one of the user's own perhaps with its package. */
function registeredClass(layer: JsonObject, place: LayerPlace): string {
  const known = tf.serialization.SerializationMap.getMap().classNameMap;
  const names = [layer['registered_name'], layerClass(place.className)];
  const name = names.find((name) => typeof name === 'string' && Object.hasOwn(known, name));
  if (typeof name === 'string') return name;
  throw new ModelError(
    'unknown-layer',
    `${place.source} is a Keras 3 file, and its layer "${place.name}" is of the class "${place.className}", which is not ` +
      'registered: call tf.serialization.registerClass before loading if the class is your own; if TensorFlow.js does ' +
      `not have it, ${KERAS3_REMEDY}`,
    {source: place.source, layer: place.className},
  );
}

function placeOf(layer: JsonObject & {readonly class_name: string}, file: File): LayerPlace {
  const config = layer['config'] as JsonObject;
  return {...file, name: String(layer['name'] ?? config['name']), className: layer.class_name};
}

function malformed(source: string, what: string): ModelError {
  return new ModelError('malformed-topology', `${source} is a Keras 3 file that ${what}: ${KERAS3_REMEDY}`, {
    source,
  });
}

/** What the graph knows of a layer. */
interface GraphLayer {
  /** Its calls in this model. */
  readonly count: number;
  readonly isModel: boolean;
  readonly isFunctional: boolean;
}

/** The layers of a functional model and the calls between them. */
class Graph {
  private readonly byName = new Map<string, GraphLayer>();
  /** Operations that only make the mask that an Embedding makes too. */
  private readonly masks: ReadonlySet<string>;
  /** All others, in the order of the config. */
  readonly layers: readonly unknown[];

  constructor(
    layers: readonly unknown[],
    private readonly file: File,
  ) {
    this.masks = masksIn(layers);
    for (const layer of layers) {
      if (!isSerialized(layer) || !isObject(layer['config']))
        throw malformed(file.source, 'has a layer without a config');
      const nodes = layer['inbound_nodes'];
      const {class_name: className} = layer;
      this.byName.set(placeOf(layer, file).name, {
        count: className === 'InputLayer' ? 1 : Array.isArray(nodes) ? nodes.length : 0,
        isModel: MODEL_CLASSES.has(className),
        isFunctional: MODEL_CLASSES.has(className) && className !== 'Sequential',
      });
    }
    this.layers = layers.filter((layer) => !this.masks.has(String((layer as JsonObject)['name'])));
  }

  convert(layer: unknown): JsonObject {
    const checked = layer as JsonObject & {readonly class_name: string}; // by the constructor
    const place = placeOf(checked, this.file);
    const nodes = checked['inbound_nodes'] ?? [];
    if (!Array.isArray(nodes))
      throw malformed(this.file.source, `has no calls for its layer "${place.name}"`);
    const operation = isOperation(checked);
    if (operation && !OPERATION_LAYERS.has(place.className))
      throw unsupported(place, 'is an operation on tensors, no layer');
    return {
      ...convertLayer(layer, this.file),
      name: place.name,
      inbound_nodes: nodes.map((node: unknown) => this.inputs(node, place, operation)),
    };
  }

  /** `["in", 0, 0]`, a list of such, or an object of them, as a list. */
  ends(layers: unknown): Reference[] {
    if (Array.isArray(layers) && typeof layers[0] === 'string') {
      const [name, call, output] = layers as unknown[];
      // Keras 3 counts the calls of a functional model from 1 here, from 0 inside of calls.
      const functional = this.byName.get(String(name))?.isFunctional === true;
      return [this.reference([name, functional ? Number(call) - 1 : call, output])];
    }
    if (Array.isArray(layers)) return layers.flatMap((each) => this.ends(each));
    if (isObject(layers)) return Object.values(layers).flatMap((each) => this.ends(each));
    throw malformed(this.file.source, 'has no inputs or outputs');
  }

  /** The inputs of a call, in TensorFlow.js's order. */
  private inputs(node: unknown, place: LayerPlace, operation: boolean): Reference[] {
    if (Array.isArray(node)) return node as Reference[]; // as Keras 2 writes it
    if (!isObject(node) || !Array.isArray(node['args']))
      throw malformed(this.file.source, `has a call of its layer "${place.name}" without arguments`);
    const args = (node['args'] as unknown[]).filter((argument) => argument !== null);
    const kwargs = isObject(node['kwargs']) ? node['kwargs'] : {};
    const inputs = args.map((argument) => tensorsOf(argument, place));
    const most = operation ? Infinity : RECURRENT.test(place.className) ? 2 : 1;
    if (inputs.length > most && (most > 1 || this.byName.get(place.name)?.isModel === true))
      throw unsupported(place, `is called with ${inputs.length} arguments`);
    if (operation && new Set(inputs.flat().map(rankOf)).size > 1)
      throw unsupported(place, 'is an operation on tensors of several ranks, no layer');
    for (const [name, value] of Object.entries(kwargs)) {
      if (value === null || (name === 'training' && value === false)) continue;
      if (name === 'inputs' || name === 'sequences') inputs.unshift(tensorsOf(value, place));
      else if (name === 'initial_state') inputs.push(tensorsOf(value, place));
      else if (name === 'mask' && this.isKnownMask(value)) continue;
      else throw unsupported(place, `is called with ${name}`);
    }
    return inputs.flat().map((tensor) => this.reference(historyOf(tensor)));
  }

  /** Whether a mask is the Embedding's own, which TensorFlow.js hands on by itself. */
  private isKnownMask(value: unknown): boolean {
    return isKerasTensor(value) && this.masks.has(String(historyOf(value as KerasTensor)?.[0]));
  }

  /** A tensor by the layer that made it, its call and output, checked: TensorFlow.js waits for ever for one that is not there. */
  private reference(history: readonly unknown[] | undefined): Reference {
    const [name, call, output] = history ?? [];
    const layer = typeof name === 'string' ? this.byName.get(name) : undefined;
    if (
      layer === undefined ||
      this.masks.has(name as string) ||
      !Number.isInteger(call) ||
      !Number.isInteger(output) ||
      (call as number) < 0 ||
      (call as number) >= layer.count
    ) {
      throw malformed(
        this.file.source,
        `has a call with an output that is not there, ${JSON.stringify(history)}`,
      );
    }
    // A nested model of TensorFlow.js has a call of its own, the first, since it was made.
    return [name as string, (call as number) + (layer.isModel ? 1 : 0), output as number, {}];
  }
}

type KerasTensor = JsonObject;

function tensorsOf(argument: unknown, place: LayerPlace): KerasTensor[] {
  if (isKerasTensor(argument)) return [argument as KerasTensor];
  const items = isObject(argument) && argument['class_name'] === '__tuple__' ? argument['items'] : argument;
  if (Array.isArray(items)) return items.flatMap((item) => tensorsOf(item, place));
  throw unsupported(place, `is called with ${JSON.stringify(argument)?.slice(0, 80)}`);
}

/** `["dense", 0, 0]`: the layer that made a tensor, by which call, as which output. */
function historyOf(tensor: KerasTensor): readonly unknown[] | undefined {
  const config = tensor['config'];
  const history = isObject(config) ? config['keras_history'] : undefined;
  return Array.isArray(history) ? history : undefined;
}

/**
 * Names of the operations `ids != 0` that Keras 3 writes for the mask of an Embedding of these ids: the mask goes with the
 * Embedding's output in TensorFlow.js.
 */
function masksIn(layers: readonly unknown[]): ReadonlySet<string> {
  const firstInput = (layer: unknown): string => {
    const nodes = isObject(layer) ? layer['inbound_nodes'] : undefined;
    const node: unknown = Array.isArray(nodes) ? nodes[0] : undefined;
    const args = isObject(node) && Array.isArray(node['args']) ? (node['args'] as unknown[]) : [];
    return isKerasTensor(args[0]) ? JSON.stringify(historyOf(args[0] as KerasTensor)) : '';
  };
  const embedded = new Set(
    layers
      .filter(
        (layer) => isSerialized(layer) && isObject(layer['config']) && layer['config']['mask_zero'] === true,
      )
      .map(firstInput),
  );
  return new Set(
    layers.flatMap((layer) => {
      if (!isSerialized(layer) || layer.class_name !== 'NotEqual') return [];
      const nodes = layer['inbound_nodes'] as {readonly args?: readonly unknown[]}[] | undefined;
      const isMask = nodes?.length === 1 && nodes[0].args?.[1] === 0 && embedded.has(firstInput(layer));
      return isMask ? [String(layer['name'])] : [];
    }),
  );
}

function rankOf(tensor: KerasTensor): number {
  const config = tensor['config'];
  return isObject(config) && Array.isArray(config['shape']) ? config['shape'].length : NaN;
}

/** An operation on tensors has a layer's class name but none of the fields that all layers have. */
function isOperation({class_name: className, config}: JsonObject): boolean {
  return (
    OPERATION_NAMES.has(String(className)) &&
    isObject(config) &&
    !('trainable' in config) &&
    !('dtype' in config)
  );
}
