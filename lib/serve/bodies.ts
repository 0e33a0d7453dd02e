/**
 * @file The bodies of requests: each read into one piece of memory, which is used again once its request is answered.
 * Memory outside the JavaScript heap that is new for every request makes V8 collect the whole heap several times a second:
 * tensors of 100 KB spent more time on that than on being served.
 */
import type {IncomingMessage} from 'node:http';
import type {FastifyInstance} from 'fastify';
import {ServeError} from './http-errors.js';

/** How many bytes of JSON a body begins with, in the Open Inference Protocol's binary extension. */
export const JSON_LENGTH = 'inference-header-content-length';

/** What comes after the JSON begins at a multiple of it, so that a tensor can be read where it lies. */
const ALIGNMENT = 8;
/** Pieces are of one size, which is enough for most tensors. Larger bodies take memory only as they come. */
const PIECE_BYTES = 512 * 1024;
/**
 * What any web page may send to any server, and no client of an API does. A form's type is the third, and is what `curl -d`
 * says: of that, `Origin` tells pages (hosts.ts).
 */
const REFUSED_TYPES: ReadonlySet<string | undefined> = new Set(['text/plain', 'multipart/form-data']);
/** A smaller body is no burden. */
const SMALL_BYTES = 4096;
/** As many as wait in the queues of a busy server, without holding on to what a rush needed. */
const MAX_KEPT = 16;

declare module 'fastify' {
  interface FastifyRequest {
    /** Of the body, if it is to be used again. */
    bodyMemory: Buffer | null;
  }
}

/**
 * Makes a server give its handlers every body as a Buffer, which is theirs until the answer is out; 415 for types that only
 * forms of web pages have.
 *
 * @param limit Bytes; more are refused with 413.
 */
export function readBodies(fastify: FastifyInstance, limit: number): void {
  const kept: Buffer[] = [];
  fastify.decorateRequest('bodyMemory', null);
  fastify.addContentTypeParser('*', (request, payload, done) => {
    const type = request.headers['content-type']?.split(';', 1)[0].trim().toLowerCase();
    if (REFUSED_TYPES.has(type)) return done(unreadType(type));
    const length = Number(request.headers['content-length']); // NaN for a body in chunks
    if (length > limit) return done(tooLarge(limit));
    const start = padding(Number(request.headers[JSON_LENGTH]));
    if (!(length > SMALL_BYTES && start + length <= PIECE_BYTES)) return gather(payload, limit, done);
    const memory = kept.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES);
    request.bodyMemory = memory;
    fill(payload, memory.subarray(start, start + length), done);
  });
  // Frames to a worker hold the body itself, but only while its request waits; of one that was given up, nobody takes what
  // comes back.
  fastify.addHook('onResponse', (request, _reply, done) => {
    if (request.bodyMemory !== null && kept.length < MAX_KEPT) kept.push(request.bodyMemory);
    request.bodyMemory = null;
    done();
  });
}

type Done = (error: Error | null, body?: Buffer) => void;

/** Node sees to it that a body is as long as was announced. */
function fill(payload: IncomingMessage, body: Buffer, done: Done): void {
  let place = 0;
  payload.on('data', (chunk: Buffer) => (place += chunk.copy(body, place)));
  payload.once('end', () => done(null, body));
  payload.once('error', (error) => done(brokenOff(error)));
}

/** A body of any length up to the limit. */
function gather(payload: IncomingMessage, limit: number, done: Done): void {
  const chunks: Buffer[] = [];
  let length = 0;
  const take = (chunk: Buffer) => {
    length += chunk.length;
    if (length <= limit) {
      chunks.push(chunk);
      return;
    }
    payload.off('data', take).off('end', end);
    done(tooLarge(limit));
  };
  const end = () => done(null, Buffer.concat(chunks));
  payload.on('data', take).once('end', end);
  payload.once('error', (error) => done(brokenOff(error)));
}

function padding(jsonBytes: number): number {
  return Number.isSafeInteger(jsonBytes) && jsonBytes > 0
    ? (ALIGNMENT - (jsonBytes % ALIGNMENT)) % ALIGNMENT
    : 0;
}

function tooLarge(limit: number): ServeError {
  return new ServeError(413, 'body-too-large', `the body is too large; at most ${limit} bytes are read`);
}

function unreadType(type: string | undefined): ServeError {
  return new ServeError(
    415,
    'content-type',
    `bodies of type ${type} are not read: send application/json, or leave the content type out`,
  );
}

function brokenOff(error: Error): ServeError {
  return new ServeError(400, 'body-broken-off', `the body broke off: ${error.message}`);
}
