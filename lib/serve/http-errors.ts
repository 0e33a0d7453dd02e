/** @file What a request can be refused with: an HTTP status beside code and text; each protocol writes it in its own form. */
import {SparsifyError} from '../errors.js';

/** A request that cannot be answered. */
export class ServeError extends SparsifyError {
  override name = 'ServeError';

  /**
   * @param status HTTP status, 4xx or 5xx.
   * @param retryAfterSeconds When asking again makes sense; sent as `Retry-After`.
   * @param field The field of the request that is wrong, as `messages.0.role`.
   */
  constructor(
    readonly status: number,
    code: string,
    message: string,
    readonly retryAfterSeconds?: number,
    readonly field?: string,
  ) {
    super(code, message, {status});
  }
}

/** A request that is wrong in itself: 400. */
export function badRequest(message: string, code = 'bad-request', field?: string): ServeError {
  return new ServeError(400, code, message, undefined, field);
}

/** Codes of a worker's errors that tell what is wrong with the request. */
const REQUEST_CODES: ReadonlySet<string> = new Set([
  'prompt-too-long',
  'empty-prompt',
  'bad-token',
  'bad-option',
  'no-tokenizer',
  'no-chat-template',
  'chat-template',
  'cache-too-small',
  'bad-id',
  'cannot-compute',
]);

/** An error as it crosses from a worker to the front. */
export interface SentError {
  readonly code: string;
  readonly message: string;
}

/** For sending: the code of ours, else `worker-failed`. */
export function sentError(error: unknown): SentError {
  const code = error instanceof SparsifyError ? error.code : 'worker-failed';
  return {code, message: error instanceof Error ? error.message : String(error)};
}

/** A worker's error as the answer to a request: 400 if the request is at fault, else 500. */
export function receivedError({code, message}: SentError): ServeError {
  return new ServeError(REQUEST_CODES.has(code) ? 400 : 500, code, message);
}
