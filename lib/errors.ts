/**
 * @file Errors of this package. Every one carries a `code` that programs can test and a text that says what
 * was got, what is allowed and what to do next.
 */

/** Base class of all errors thrown on purpose by this package. */
export class SparsifyError extends Error {
  override name = 'SparsifyError';
  /** Stable identifier, kebab-case, for programs. */
  readonly code: string;
  /** What the error is about, by name: numbers, paths, allowed values. */
  readonly data: Readonly<Record<string, unknown>>;

  constructor(
    code: string,
    message: string,
    data: Readonly<Record<string, unknown>> = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.code = code;
    this.data = data;
  }
}

/** Scopes and targets that cannot be applied to the model. */
export class ScopeError extends SparsifyError {
  override name = 'ScopeError';
}

/** A data set, or one of its items, that cannot be used. */
export class DatasetError extends SparsifyError {
  override name = 'DatasetError';
}

/** A model that cannot be sparsified, measured or retargeted. */
export class ModelError extends SparsifyError {
  override name = 'ModelError';
}

/** A file that is malformed, missing, or cannot be written. */
export class FileError extends SparsifyError {
  override name = 'FileError';
}

/** A backend that cannot be loaded or lacks what was asked of it. */
export class BackendError extends SparsifyError {
  override name = 'BackendError';
}

/** The names in `known` nearest to `name` by edit distance, best first, at most three. */
export function nearest(name: string, known: Iterable<string>): string[] {
  const limit = Math.max(3, Math.ceil(name.length / 2));
  return [...new Set(known)]
    .map((candidate) => ({candidate, distance: editDistance(name.toLowerCase(), candidate.toLowerCase())}))
    .filter(({distance}) => distance <= limit)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({candidate}) => candidate);
}

/** Levenshtein distance of two strings. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({length: b.length + 1}, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(previous[j] + 1, current[j - 1] + 1, substitution));
    }
    previous = current;
  }
  return previous[b.length];
}
