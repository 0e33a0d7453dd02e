/**
 * @file How Keras 3 writes single values of a config (keras/src/saving/serialization_lib.py), and what Keras 2 and
 * TensorFlow.js expect in their place: an object with module, class and registered name becomes a class with its
 * config, a dtype policy its name, a tuple an array.
 */
import {isObject} from '../../../plain-object.js';

/** An object of JSON. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Keys that only Keras 3 has, beside `class_name` and `config`. */
const KERAS3_KEYS: ReadonlySet<string> = new Set([
  'module',
  'registered_name',
  'build_config',
  'compile_config',
  'shared_object_id',
]);

/** What TensorFlow.js calls classes of initializers that Keras 3 calls otherwise. */
const CLASS_NAMES: Readonly<Record<string, string>> = {
  OrthogonalInitializer: 'Orthogonal',
  IdentityInitializer: 'Identity',
  LecunNormal: 'LeCunNormal',
  LecunUniform: 'LeCunUniform',
};

/** Whether a value is a serialized object: a layer, an initializer, a policy. */
export function isSerialized(value: unknown): value is JsonObject & {readonly class_name: string} {
  return isObject(value) && typeof value['class_name'] === 'string' && 'config' in value;
}

/** Whether a value is a symbolic tensor of the graph. */
export function isKerasTensor(value: unknown): boolean {
  return isObject(value) && value['class_name'] === '__keras_tensor__';
}

/** A value of a config as Keras 2 writes it; values that both write alike stay as they are. */
export function plainValue(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plainValue);
  if (!isObject(value)) return value;
  if (value['class_name'] === '__tuple__' && Array.isArray(value['items']))
    return value['items'].map(plainValue);
  if (!isSerialized(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, plainValue(child)]));
  }
  const {class_name: className, config} = value;
  if (className === 'DTypePolicy') return dtypeName(value);
  if (className === 'function' && typeof config === 'string') return config;
  if ((className === '__numpy__' || className === '__tensor__') && isObject(config)) return config['value'];
  if (className === 'SeedGenerator') return isObject(config) ? (config['seed'] ?? null) : null;
  if (className === 'VarianceScaling' && isObject(config) && config['distribution'] === 'untruncated_normal')
    return {class_name: className, config: {...config, distribution: 'normal'}};
  if ((className === 'L1' || className === 'L2') && isObject(config))
    return {class_name: 'L1L2', config: {l1: config['l1'] ?? 0, l2: config['l2'] ?? 0}};
  const others = Object.entries(value).filter(([key]) => !KERAS3_KEYS.has(key));
  return {
    ...Object.fromEntries(others),
    class_name: CLASS_NAMES[className] ?? className,
    config: plainValue(config),
  };
}

/**
 * The dtype of a layer's weights as TensorFlow.js knows dtypes: it computes in float32 what a policy of fewer bits
 * computes in these.
 *
 * @param dtype A name, a policy, or nothing.
 * @returns The name; what is no policy of floats or integers comes back as it is.
 */
export function dtypeName(dtype: unknown): unknown {
  const name = isSerialized(dtype) && isObject(dtype['config']) ? dtype['config']['name'] : dtype;
  if (typeof name !== 'string') return name;
  if (/^(mixed_)?b?float(16|32|64)$/.test(name)) return 'float32';
  if (/^u?int(8|16|32|64)$/.test(name)) return 'int32';
  return name;
}
