/**
 * @file Scopes on their way to the worker. A message carries data alone, no classes: a scope would arrive as an object that
 * no function takes. So it is sent as its rules, and is made again on the other side.
 */
import {isObject} from '../../plain-object.js';
import {IgnoredScope, Scope, TargetScope, type ScopeOptions} from '../../scope/target-scope.js';

/** The field by which a sent scope is known. */
const KEY = 'tfjs-sparsify scope';

interface SentScope extends ScopeOptions {
  readonly [KEY]: Scope['role'];
}

/** A value with its scopes as data, at any depth of arrays, Maps and plain objects. */
export function withSentScopes(value: unknown): unknown {
  return mapped(value, (one) => {
    if (!(one instanceof Scope)) return undefined;
    const {role, names, patterns, types, subgraphs, validate} = one;
    return {[KEY]: role, names, patterns, types, subgraphs, validate};
  });
}

/** The value as it was before `withSentScopes`. */
export function withScopes(value: unknown): unknown {
  return mapped(value, (one) => {
    if (!isObject(one) || !Object.hasOwn(one, KEY)) return undefined;
    const {[KEY]: role, ...rules} = one as unknown as SentScope;
    return role === 'target' ? new TargetScope(rules) : new IgnoredScope(rules);
  });
}

/** @param replace Gives what to put in a value's place, or undefined to look inside. */
function mapped(value: unknown, replace: (value: object) => object | undefined): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const other = replace(value);
  if (other !== undefined) return other;
  if (Array.isArray(value)) {
    return value.every((entry) => typeof entry === 'number')
      ? value
      : value.map((entry) => mapped(entry, replace));
  }
  if (value instanceof Map) {
    return new Map([...value].map(([key, entry]) => [mapped(key, replace), mapped(entry, replace)]));
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return value; // a File, an array of bytes
  return Object.fromEntries(Object.entries(value).map(([field, entry]) => [field, mapped(entry, replace)]));
}
