/** @file Who may ask: API keys, compared so that the time it takes tells nothing about them. */
import {createHash, timingSafeEqual} from 'node:crypto';
import type {FastifyRequest} from 'fastify';
import {ServeError} from './errors.js';

/** Probes have no keys, and the status page asks for one: it holds nothing of this server. */
const OPEN: ReadonlySet<string> = new Set([
  '/',
  '/healthz',
  '/readyz',
  '/v2/health/live',
  '/v2/health/ready',
]);

/**
 * A check for requests.
 *
 * @param keys At least one.
 * @returns Throws a {ServeError} 401 unless the request brings one as `Authorization: Bearer KEY` or `X-API-Key: KEY`.
 */
export function keyCheck(keys: readonly string[]): (request: FastifyRequest) => void {
  const known = keys.map(digest);
  return (request) => {
    if (OPEN.has(request.url.split('?', 1)[0])) return;
    const given = givenKey(request);
    if (given !== undefined) {
      const own = digest(given);
      let isKnown = false;
      for (const key of known) isKnown = timingSafeEqual(key, own) || isKnown; // all of them, always
      if (isKnown) return;
    }
    throw new ServeError(
      401,
      'invalid-api-key',
      given === undefined
        ? 'an API key is needed: send "Authorization: Bearer KEY"'
        : 'the API key is not known here',
    );
  };
}

function givenKey({headers}: FastifyRequest): string | undefined {
  const own = headers['x-api-key'];
  if (typeof own === 'string') return own;
  return /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
}

/** Digests have one length, whatever the keys have. */
function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}
