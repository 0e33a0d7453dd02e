/**
 * @file One file of a web server as a stream, with limits: a server that says nothing is given up, redirects are followed by
 * hand, so that a password stays with the host that it is for and an encrypted connection stays encrypted.
 */
import {FileError} from '../../errors.js';
import type {ShardStream} from './model-source.js';

/** How long to wait. */
export interface HttpLimits {
  /** A server that sends nothing for so long is given up, before its answer and in the middle of it. */
  readonly silenceMs?: number;
  /** The most bytes of a model.json; `MAX_MODEL_JSON_BYTES` by default. */
  readonly maxJsonBytes?: number;
}

export interface HttpFileOptions extends HttpLimits {
  /** Header for the host of the URL; not sent to others that it redirects to. */
  readonly authorization?: string | null;
}

/** Long enough for a slow disk behind a busy server. */
const SILENCE_MS = 60_000;
/** As browsers. */
const MAX_REDIRECTS = 20;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/**
 * Requests a file.
 *
 * @param url http or https URL without user and password.
 * @throws FileError `unreachable` if there is no answer, or it breaks off; `http-status` for an answer that is no file;
 *     `unsafe-redirect`.
 */
export async function openHttpFile(
  url: string,
  {silenceMs = SILENCE_MS, authorization = null}: HttpFileOptions = {},
): Promise<ShardStream> {
  const silence = new AbortController();
  /** What a step of the server gives, or the error that it did not come. */
  const awaited = async <T>(step: Promise<T>): Promise<T> => {
    const timer = setTimeout(() => silence.abort(), silenceMs);
    try {
      return await step;
    } catch (cause) {
      throw unreachable(url, silence.signal.aborted ? silenceMs : null, cause);
    } finally {
      clearTimeout(timer);
    }
  };
  let response: Response;
  let at = new URL(url);
  for (let redirects = 0; ; redirects++) {
    const headers: Record<string, string> =
      authorization !== null && at.origin === new URL(url).origin ? {authorization} : {};
    response = await awaited(fetch(at, {headers, redirect: 'manual', signal: silence.signal}));
    const location = REDIRECTS.has(response.status) ? response.headers.get('location') : null;
    if (location === null) break;
    await response.body?.cancel();
    at = redirectTarget(url, at, location, redirects + 1);
  }
  if (!response.ok) {
    await response.body?.cancel();
    throw new FileError(
      'http-status',
      `${url} answered ${response.status} ${response.statusText}: ${remedy(response.status, authorization !== null)}`,
      {url, status: response.status},
    );
  }
  const body = response.body?.getReader();
  let rest: Uint8Array = new Uint8Array(0);
  return {
    read: async (target) => {
      while (rest.byteLength === 0) {
        const next = body === undefined ? undefined : await awaited(body.read());
        if (next?.value === undefined) return 0;
        rest = next.value;
      }
      const taken = rest.subarray(0, target.byteLength);
      target.set(taken);
      rest = rest.subarray(taken.byteLength);
      return taken.byteLength;
    },
    close: async () => {
      await body?.cancel().catch(() => undefined); // a connection that broke is closed already
    },
  };
}

/**
 * Where a redirect leads, if it may be followed.
 *
 * @param url What was asked for first, for errors.
 * @param from Who redirects.
 * @param location What the answer says.
 * @param count How many redirects there were with this one.
 * @throws FileError `unsafe-redirect`.
 */
export function redirectTarget(url: string, from: URL, location: string, count: number): URL {
  const to = URL.canParse(location, from) ? new URL(location, from) : null;
  const fail = (what: string) =>
    new FileError('unsafe-redirect', `${url} redirects ${what}: give the address that it should lead to`, {
      url,
    });
  if (count > MAX_REDIRECTS) throw fail(`more than ${MAX_REDIRECTS} times`);
  if (to === null || !/^https?:$/.test(to.protocol)) throw fail('to what is no address on the web');
  if (from.protocol === 'https:' && to.protocol === 'http:')
    throw fail(`to ${to.origin}, which is not encrypted, from ${from.origin}, which is`);
  to.username = '';
  to.password = '';
  return to;
}

function remedy(status: number, authorized: boolean): string {
  if (status !== 401 && status !== 403) return 'check the address';
  return authorized
    ? 'check user and password in the address'
    : 'it wants authorization: a signed address that has expired, or none; https://USER:PASSWORD@HOST/... gives user and password';
}

function unreachable(url: string, silenceMs: number | null, cause: unknown): FileError {
  const why = silenceMs === null ? '' : ` (nothing came for ${silenceMs / 1000} s)`;
  return new FileError(
    'unreachable',
    `${url} cannot be reached${why}: check the address and the network`,
    {url},
    {cause},
  );
}
