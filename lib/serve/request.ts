/** @file What every protocol does with a request: its JSON, its errors, the client that goes away. */
import type {FastifyReply, FastifyRequest} from 'fastify';
import type {Static, TObject} from 'typebox';
import {Compile} from 'typebox/compile';
import {ServeError, badRequest} from './http-errors.js';
import {checkJsonCost} from './json-limits.js';
import type {Dispatcher} from './dispatcher.js';
import type {Metrics} from './metrics.js';
import type {Repository} from './model-repository.js';

/** What the protocols answer with. */
export interface Services {
  readonly repository: Repository;
  readonly dispatcher: Dispatcher;
  readonly metrics: Metrics;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** For metrics and log: empty until it is known to be served. */
    servedModel: string;
  }
}

/** Protocols, as metrics name them. */
export type Protocol = 'tensorflow-serving' | 'open-inference' | 'openai' | 'none';

/** Parses a body that need not say that it is JSON: `curl -d` says it is a form. */
export function parseJson(body: unknown): unknown {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
  checkJsonCost(bytes);
  const text = bytes.toString('utf8');
  if (text === '') throw badRequest('the body is empty; it must be a JSON object');
  try {
    return JSON.parse(text);
  } catch (cause) {
    const said = cause instanceof Error ? cause.message.slice(0, 200) : 'unreadable';
    throw badRequest(`the body is no JSON: ${said}`, 'malformed-json');
  }
}

/**
 * A check of an envelope by its schema.
 *
 * @param schema The `description` of a field says what it must be.
 * @returns Gives what it checked; throws a {ServeError} 400 that names the field.
 */
export function checker<T extends TObject>(schema: T): (value: unknown) => Static<T> {
  const compiled = Compile(schema);
  return (value) => {
    if (compiled.Check(value)) return value;
    // A field of several types has an error for each; the one that lies deepest is of the type that was meant.
    const errors = compiled.Errors(value).map(({instancePath, message}) => ({
      path: instancePath.split('/').slice(1),
      message,
    }));
    const {path, message} = errors.reduce((a, b) => (b.path.length > a.path.length ? b : a));
    if (path.length === 0) throw badRequest(`the body ${message}`);
    const field = path.join('.').slice(0, 100);
    const {description} = (schema.properties as Readonly<Record<string, {readonly description?: string}>>)[
      path[0]
    ];
    if (description === undefined) throw badRequest(`${field} ${message}`, 'bad-request', field);
    const got = JSON.stringify(path.reduce((inner, key) => (inner as Record<string, unknown>)[key], value));
    throw badRequest(
      `${field} is ${got.slice(0, 60)}; ${path[0]} must be ${description}`,
      'bad-request',
      field,
    );
  };
}

/** Aborts when the client closes its connection before it has the answer. */
export function clientSignal(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) controller.abort();
  });
  return controller.signal;
}

/** An error as status and text; what is not ours is told to the log, not to the client. */
function refusal(error: unknown, request: FastifyRequest): ServeError {
  if (error instanceof ServeError) return error;
  const {statusCode, message} = error as {readonly statusCode?: unknown; readonly message?: string};
  if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) {
    return new ServeError(statusCode, 'bad-request', message ?? 'the request cannot be read');
  }
  request.log.error({err: error}, 'request failed');
  return new ServeError(500, 'internal', 'the server failed; its log says more');
}

/**
 * An error handler for a protocol.
 *
 * @param form The body that the protocol gives to an error.
 */
export function errorHandler(form: (error: ServeError) => object) {
  return (error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const refused = refusal(error, request);
    if (refused.retryAfterSeconds !== undefined) reply.header('retry-after', refused.retryAfterSeconds);
    if (refused.status === 401) reply.header('www-authenticate', 'Bearer');
    return reply
      .code(refused.status)
      .type('application/json')
      .send(JSON.stringify(form(refused)));
  };
}

/** Errors as TensorFlow Serving and the Open Inference Protocol have them. */
export const plainError = ({message}: ServeError): object => ({error: message});
