/**
 * @file What of an object its fields do not show: state that only its own class reaches, in `#private` members, or in
 * functions that were made for that one object. And which layer classes surely have none.
 */
import * as tf from '@tensorflow/tfjs';
import {isOwnLayer} from '../layers/registry.js';
import type {Layer} from '../tfjs.js';

/** A `#private` member in a class's text; not after a quote, where it would be a colour. */
const PRIVATE_MEMBER = /(^|[^\w'"`$])#[A-Za-z_$]/;

/** Names of the functions that make TensorFlow.js's layers: their classes' names but for the case of letters. */
const FACTORIES: ReadonlySet<string> = new Set(Object.keys(tf.layers).map((name) => name.toLowerCase()));

/** Functions that TensorFlow.js's layers hold without harm: a hook is the program's own. */
const OPEN_FIELDS: ReadonlySet<string> = new Set(['_callHook']);

/** Whether a class or one that it extends has private members, by its prototype. */
const known = new WeakMap<object, boolean>();

/** Whether the class of an object, or a class that it extends, has `#private` members, which only constructors make. */
export function hasPrivateMembers(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype === null || prototype === Object.prototype) return false;
  const before = known.get(prototype);
  if (before !== undefined) return before;
  const {constructor} = prototype;
  const found =
    (typeof constructor === 'function' &&
      PRIVATE_MEMBER.test(Function.prototype.toString.call(constructor))) ||
    hasPrivateMembers(prototype);
  known.set(prototype, found);
  return found;
}

/** Whether an object has functions or accessors of its own, which may refer to that one object. */
export function hasOwnFunctions(value: object): boolean {
  return Object.entries(Object.getOwnPropertyDescriptors(value)).some(
    ([field, descriptor]) =>
      !OPEN_FIELDS.has(field) && (!('value' in descriptor) || typeof descriptor.value === 'function'),
  );
}

/** Whether a layer keeps all its state in fields: it is exactly of a class of TensorFlow.js or of this package. */
export function isOpen(layer: Layer): boolean {
  return (isStock(layer) || isOwnLayer(layer)) && !hasOwnFunctions(layer);
}

function isStock(layer: Layer): boolean {
  const {className} = layer.constructor as unknown as {className: string};
  const [registered] = tf.serialization.SerializationMap.getMap().classNameMap[className] ?? [];
  return (registered as unknown) === layer.constructor && FACTORIES.has(className.toLowerCase());
}
