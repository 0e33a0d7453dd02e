/**
 * @file Who may ask: API keys, compared so that the time it takes tells nothing about them; without any, this machine alone
 * (hosts.ts).
 */
import {createHash, timingSafeEqual} from 'node:crypto';
import type {FastifyRequest} from 'fastify';
import {SparsifyError} from '../errors.js';
import {ServeError} from './http-errors.js';
import {isLoopback} from './hosts.js';
import type {HttpOptions} from './server-options.js';

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

/**
 * Refuses to listen where other machines can ask without a key, unless that is meant.
 *
 * @param host A name or an address.
 * @throws {SparsifyError} `bad-option`.
 */
export async function checkReach(host: string, {apiKeys = [], noKey = false}: HttpOptions): Promise<void> {
  if (apiKeys.length > 0 || noKey) return;
  // What a name without address means, listening to it tells.
  if (await isLoopback(host).catch(() => true)) return;
  throw new SparsifyError(
    'bad-option',
    `host is ${JSON.stringify(host)}, where other machines can ask, and there is no API key: give one (--api-key KEY, ` +
      'SPARSIFY_API_KEYS, or http.apiKeys), listen at 127.0.0.1, or say that everyone may ask (--no-key, or http.noKey)',
    {option: 'host', got: host},
  );
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
