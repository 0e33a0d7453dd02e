/**
 * @file The configs of Keras 3's layers in the words of TensorFlow.js. What a layer of TensorFlow.js does not have is
 * an error here: TensorFlow.js passes over fields that it does not know, and would compute something else.
 */
import {ModelError} from '../../../errors.js';
import {NORMALIZATION_CLASS} from '../../../layers/normalization.js';
import {isObject} from '../../../plain-object.js';
import {dtypeName, isSerialized, plainValue, type JsonObject} from './config-values.js';

/** Where a layer stands, for errors. */
export interface LayerPlace {
  /** Path or URL of the model.json. */
  readonly source: string;
  readonly name: string;
  readonly className: string;
  /** Whether some layer of the model makes a mask. */
  readonly masked: boolean;
}

/** What to do where a model cannot be had from a Keras 3 file. */
export const KERAS3_REMEDY =
  'replace that in the model, or save it with tf_keras (TF_USE_LEGACY_KERAS=1), and convert it again';

/** The error for what TensorFlow.js has no layer for. */
export function unsupported({source, name, className}: LayerPlace, what: string): ModelError {
  return new ModelError(
    'unsupported-layer',
    `${source} is a Keras 3 file, and its layer "${name}" (${className}) ${what}, which TensorFlow.js does not have: ` +
      KERAS3_REMEDY,
    {source, layer: name, type: className},
  );
}

/** Fields whose other values TensorFlow.js would pass over, by class: what they must be, or be left out. */
const ONLY: Readonly<Record<string, Readonly<Record<string, readonly unknown[]>>>> = {
  InputLayer: {sparse: [false], ragged: [false]},
  GRU: {reset_after: [false]},
  GRUCell: {reset_after: [false]},
  ReLU: {negative_slope: [0], threshold: [0]},
  LayerNormalization: {rms_scaling: [false]},
  BatchNormalization: {renorm: [false]},
  Conv1D: {groups: [1], padding: ['valid', 'same']},
  Conv2D: {groups: [1]},
  Conv3D: {groups: [1]},
  GlobalAveragePooling1D: {keepdims: [false]},
  GlobalMaxPooling1D: {keepdims: [false]},
  GlobalAveragePooling2D: {keepdims: [false]},
  GlobalMaxPooling2D: {keepdims: [false]},
  Conv2DTranspose: {output_padding: [], groups: [1]},
  Conv3DTranspose: {output_padding: [], groups: [1]},
  // TensorFlow.js lays the corners of images elsewhere when it resizes them.
  UpSampling2D: {interpolation: ['nearest']},
  Resizing: {interpolation: []},
  Normalization: {invert: [false], mean: [], variance: []},
};

/** Fields of layers of any class. */
const ONLY_ANYWHERE: Readonly<Record<string, readonly unknown[]>> = {
  zero_output_for_mask: [false],
  lora_rank: [],
  quantization_config: [],
  gptq_unpacked_column_size: [],
};

/** Fields that have another name in TensorFlow.js, by class. */
const RENAMED: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  LeakyReLU: {negative_slope: 'alpha'},
};

/** Fields that say nothing to TensorFlow.js, which refuses some of them. */
const DROPPED: Readonly<Record<string, readonly string[]>> = {
  SeparableConv2D: ['kernel_initializer', 'kernel_regularizer', 'kernel_constraint'],
};

/** Activations that have another name in TensorFlow.js. */
const ACTIVATIONS: Readonly<Record<string, string>> = {silu: 'swish', swish: 'swish'};
/** Keras 3's is relu6(x + 3) / 6, that of TensorFlow.js and Keras 2 clips 0.2 x + 0.5. */
const CHANGED_ACTIVATIONS: ReadonlySet<unknown> = new Set(['hard_sigmoid']);

/**
 * The config of a layer, nested layers left to `nested`.
 *
 * @param config As Keras 3 wrote it.
 * @param nested Converts a layer inside this one: a wrapper's, a cell.
 * @throws {ModelError} `unsupported-layer`.
 */
export function layerConfig(
  config: JsonObject,
  place: LayerPlace,
  nested: (layer: JsonObject & {readonly class_name: string}) => unknown,
): JsonObject {
  const {className} = place;
  const converted: Record<string, unknown> = {};
  for (const [field, value] of Object.entries(config)) {
    checkField(field, value, place);
    if (DROPPED[className]?.includes(field)) continue;
    const name = RENAMED[className]?.[field] ?? field;
    if (field === 'dtype') converted['dtype'] = layerDtype(value, place);
    else if (field === 'batch_shape' || field === 'batch_input_shape')
      converted['batch_input_shape'] = plainValue(value);
    else if (/^(recurrent_)?activation$/.test(field)) converted[name] = activation(value, place);
    else if (/^(layer|backward_layer|cell)$/.test(field) && isSerialized(value))
      converted[name] = nested(value);
    else converted[name] = plainValue(value);
  }
  return className === 'Bidirectional' ? mirrored(converted, place) : converted;
}

/** The class that stands for a layer's in TensorFlow.js. */
export function layerClass(className: string): string {
  return className === 'Normalization' ? NORMALIZATION_CLASS : className;
}

function checkField(field: string, value: unknown, place: LayerPlace): void {
  // Without a mask there is nothing to be zero: Bidirectional sets it on all that it holds.
  if (field === 'zero_output_for_mask' && !place.masked) return;
  const allowed = ONLY[place.className]?.[field] ?? ONLY_ANYWHERE[field];
  if (allowed === undefined || value === null || allowed.includes(value)) return;
  throw unsupported(place, `has ${field} ${JSON.stringify(value)}`);
}

function layerDtype(value: unknown, place: LayerPlace): unknown {
  const name = dtypeName(value);
  if (typeof name === 'string' || value === null) return name;
  throw unsupported(place, `has the dtype policy ${JSON.stringify(value)}`);
}

function activation(value: unknown, place: LayerPlace): unknown {
  const plain = plainValue(value);
  if (isObject(plain)) throw unsupported(place, 'has a layer or function of its own as its activation');
  if (CHANGED_ACTIVATIONS.has(plain)) {
    throw unsupported(place, `has the activation ${String(plain)} as Keras 3 defines it`);
  }
  return typeof plain === 'string' ? (ACTIVATIONS[plain] ?? plain) : plain;
}

/** TensorFlow.js makes the backward layer out of the forward one, and gives both their prefixes. */
function mirrored(config: JsonObject, place: LayerPlace): JsonObject {
  const [forward, backward] = [config['layer'], config['backward_layer']].map((layer) => {
    const own = isObject(layer) && isObject(layer['config']) ? layer['config'] : {};
    const {name, go_backwards: backwards, ...rest} = own;
    return {name: String(name), backwards: backwards === true, rest: JSON.stringify(rest)};
  });
  const hasBackward = config['backward_layer'] !== undefined && config['backward_layer'] !== null;
  if (hasBackward && (forward.rest !== backward.rest || forward.backwards === backward.backwards))
    throw unsupported(place, 'has a backward layer of its own');
  const layer = config['layer'] as {readonly config: JsonObject};
  const name = forward.name.replace(/^forward_/, '');
  const {backward_layer: _, ...others} = config;
  return {...others, layer: {...layer, config: {...layer.config, name}}};
}
