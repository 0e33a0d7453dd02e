/** @file Errors on their way from the worker to the page, where they are of the same class, with code and data. */
import {BackendError, DatasetError, FileError, ModelError, ScopeError, SparsifyError} from '../../errors.js';

/** An error as it is sent. */
export interface SentError {
  readonly name: string;
  readonly message: string;
  /** Null if the error is not one of this package's. */
  readonly code: string | null;
  readonly data: Readonly<Record<string, unknown>>;
  /** What led to it, if that is known. */
  readonly cause?: SentError;
}

const CLASSES = {SparsifyError, ScopeError, DatasetError, ModelError, FileError, BackendError};
const BUILT_IN = {Error, TypeError, RangeError, SyntaxError, ReferenceError};
/** Causes of causes that are sent: more help nobody, and a cause may lead back to itself. */
const MOST_CAUSES = 3;

/** For sending. */
export function sentError(error: unknown, causes = MOST_CAUSES): SentError {
  if (!(error instanceof Error)) {
    return {name: 'Error', message: messageOf(error), code: null, data: {}};
  }
  const {name, message, cause} = error;
  const sent =
    error instanceof SparsifyError
      ? {name, message, code: error.code, data: sendable(error.data)}
      : {name, message, code: null, data: {}};
  return cause === undefined || causes === 0 ? sent : {...sent, cause: sentError(cause, causes - 1)};
}

/** The error again. */
export function receivedError({name, message, code, data, cause}: SentError): Error {
  const options = cause === undefined ? undefined : {cause: receivedError(cause)};
  if (code !== null) {
    const ErrorType = Object.hasOwn(CLASSES, name) ? CLASSES[name as keyof typeof CLASSES] : SparsifyError;
    return new ErrorType(code, message, data, options);
  }
  if (Object.hasOwn(BUILT_IN, name)) return new BUILT_IN[name as keyof typeof BUILT_IN](message, options);
  // What a browser throws itself: AbortError, QuotaExceededError …
  return new DOMException(message, name);
}

/** TensorFlow.js rejects with objects that are no errors. */
function messageOf(error: unknown): string {
  const {message} = (error ?? {}) as {message?: unknown};
  return typeof message === 'string' ? message : String(error);
}

/** The fields that can be sent as they are, and the others as text. */
function sendable(data: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(data).map(([field, value]) => {
      try {
        return [field, structuredClone(value)];
      } catch {
        return [field, String(value)];
      }
    }),
  );
}
