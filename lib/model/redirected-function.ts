/**
 * @file Functions of a model (penalties, losses, metrics) that refer to its variables, for a copy of the model: there they
 * read the copy's. A function's references cannot be seen or changed, so reading a variable is redirected while it runs.
 */
import {withReadsOf, type LayerVariable} from '../tfjs.js';

type AnyFunction = (...args: unknown[]) => unknown;

/** The functions that `redirected` has made. */
const made = new WeakSet<object>();

/**
 * A function that does what `original` does with the variables of a copy.
 *
 * @param copies By the variables that `original` refers to; read at each call.
 */
export function redirected(original: AnyFunction, copies: ReadonlyMap<object, object>): AnyFunction {
  const copy = function (this: unknown, ...args: unknown[]): unknown {
    return withReadsOf(
      (variable) => copies.get(variable) as LayerVariable | undefined,
      () => original.apply(this, args),
    );
  };
  Object.defineProperty(copy, 'name', {value: original.name, configurable: true});
  made.add(copy);
  return copy;
}

/** Whether a function is a copy's, which a copy of that copy redirects once more. */
export function isRedirected(value: object): boolean {
  return made.has(value);
}
