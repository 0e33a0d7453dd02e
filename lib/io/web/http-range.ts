/**
 * @file Part of a file of a web server, from a byte on (RFC 9110, section 14), and what tells whether it is still the same
 * file. A server that has no ranges sends the whole file, which is as good if one reads up to the byte.
 */
import {FileError} from '../../errors.js';

/** What a server says of the state of a file; texts as it sends them. */
export interface FileState {
  /** Whole size in bytes; null if it is not said, as of a file that is compressed on the way. */
  readonly size: number | null;
  /** Strong ones only: a weak one may stay while bytes change. */
  readonly etag: string | null;
  readonly lastModified: string | null;
}

/** An answer that is being read. */
export interface RangeAnswer extends FileState {
  /** The first byte that it gives. */
  readonly start: number;
  /** The next bytes; null at the end. @throws {FileError} `connection-lost`. */
  read(): Promise<Uint8Array | null>;
  /** Ends the request. */
  cancel(): void;
}

export interface RangeRequest {
  readonly url: string;
  /** `Authorization` header. */
  readonly authorization: string | null;
  readonly start: number;
  /** Behind the last byte; null for the end of the file. */
  readonly end: number | null;
  /** The state that bytes are to be of; null for any. */
  readonly state: FileState | null;
  readonly signal?: AbortSignal;
  /** A server that sends nothing for so long is given up. */
  readonly silenceMs?: number;
}

/** Long enough for a slow disk behind a busy server. */
const SILENCE_MS = 60_000;
/** Answers that a later try may better: the server is busy, or its own servers are. */
const PASSING: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);

/**
 * Requests bytes.
 *
 * @returns An answer that begins at `start`, or at 0 if the server has no ranges or the file is another by now.
 * @throws {FileError} `unreachable` or `server-busy`, which a later try may better; `http-status`, `web-page`,
 *   `unsafe-redirect`, `bad-range`; the signal's reason.
 */
export async function requestRange(request: RangeRequest): Promise<RangeAnswer> {
  const {start, end, state} = request;
  const answer = await ask(request, true);
  const {status} = answer.response;
  if (status === 416) {
    // Behind its end, or any byte of an empty file.
    answer.cancel();
    return whole(request);
  }
  if (status !== 206) return answered(answer, 0, sizeOfWhole(answer.response));
  const size = sizeOfRange(answer.response, start, end, state);
  const isRight = size !== null && (state === null || isSame(state, fileState(answer.response, size)));
  if (isRight) return answered(answer, start, size);
  answer.cancel();
  return whole(request);
}

/** Whether two answers are of the same state of a file: no less than one thing that only it has must be known. */
export function isSame(a: FileState, b: FileState): boolean {
  if (a.size !== null && b.size !== null && a.size !== b.size) return false;
  if (a.etag !== null && b.etag !== null) return a.etag === b.etag;
  return a.lastModified !== null && a.lastModified === b.lastModified;
}

async function whole(request: RangeRequest): Promise<RangeAnswer> {
  const answer = await ask(request, false);
  if (answer.response.status === 200) return answered(answer, 0, sizeOfWhole(answer.response));
  answer.cancel();
  throw new FileError(
    'bad-range',
    `${request.url} answers ${answer.response.status} to a request for the whole file: its server is not set up right`,
    {url: request.url, status: answer.response.status},
  );
}

interface Asked {
  readonly response: Response;
  readonly awaited: <T>(step: Promise<T>) => Promise<T>;
  readonly cancel: () => void;
}

async function ask(
  {url, start, end, state, authorization, signal, silenceMs = SILENCE_MS}: RangeRequest,
  ranged: boolean,
): Promise<Asked> {
  signal?.throwIfAborted();
  const ended = new AbortController();
  let silent = false;
  const stop = () => ended.abort();
  signal?.addEventListener('abort', stop, {once: true});
  const cancel = () => {
    signal?.removeEventListener('abort', stop);
    ended.abort();
  };
  const awaited = async <T>(step: Promise<T>): Promise<T> => {
    const timer = setTimeout(() => {
      silent = true;
      ended.abort();
    }, silenceMs);
    try {
      return await step;
    } catch (cause) {
      signal?.throwIfAborted();
      throw new FileError(
        'unreachable',
        `${url} cannot be reached${silent ? ` (nothing came for ${silenceMs / 1000} s)` : ''}: check the address and the network; ` +
          'a server of another origin must allow this page (CORS)',
        {url},
        {cause},
      );
    } finally {
      clearTimeout(timer);
    }
  };
  // Bytes as they are: positions in a compressed answer are not those in the file.
  const headers: Record<string, string> = {'accept-encoding': 'identity'};
  if (authorization !== null) headers['authorization'] = authorization;
  if (ranged) headers['range'] = `bytes=${start}-${end === null ? '' : end - 1}`;
  const validator = state?.etag ?? state?.lastModified ?? null;
  // To other origins the header would need a permission of its own; the answer is compared anyway.
  if (ranged && start > 0 && validator !== null && isOwnOrigin(url)) headers['if-range'] = validator;
  try {
    const response = await awaited(fetch(url, {headers, signal: ended.signal, cache: 'no-store'}));
    checkAnswer(url, response, authorization !== null);
    return {response, awaited, cancel};
  } catch (error) {
    cancel();
    throw error;
  }
}

function checkAnswer(url: string, response: Response, authorized: boolean): void {
  const {status, statusText, headers} = response;
  if (url.startsWith('https:') && response.url.startsWith('http:')) {
    throw new FileError(
      'unsafe-redirect',
      `${url} redirects to ${new URL(response.url).origin}, which is not encrypted: give the address that it should lead to`,
      {url},
    );
  }
  if (!response.ok && status !== 416) {
    throw new FileError(
      PASSING.has(status) ? 'server-busy' : status === 404 || status === 410 ? 'missing-file' : 'http-status',
      `${url} answered ${status} ${statusText}: ${remedy(status, authorized)}`,
      {url, status},
    );
  }
  // Servers of pages answer any address with a page, and log-ins do.
  if (response.ok && /^text\/html\b/i.test(headers.get('content-type') ?? '')) {
    throw new FileError(
      'missing-file',
      `${url} answered with a web page, not with a file: check the address, and whether it needs a log-in`,
      {url, status},
    );
  }
}

function remedy(status: number, authorized: boolean): string {
  if (PASSING.has(status)) return 'try again later';
  if (status !== 401 && status !== 403) return 'check the address';
  return authorized
    ? 'check user and password in the address'
    : 'it wants authorization: a signed address that has expired, or none; https://USER:PASSWORD@HOST/... gives user and password';
}

function answered(asked: Asked, start: number, size: number | null): RangeAnswer {
  const {response, awaited, cancel} = asked;
  const body = response.body?.getReader();
  return {
    ...fileState(response, size),
    start,
    read: async () => {
      const next = body === undefined ? undefined : await awaited(body.read());
      if (next?.value !== undefined) return next.value;
      cancel();
      return null;
    },
    cancel: () => {
      cancel();
      void body?.cancel().catch(() => undefined); // it broke already
    },
  };
}

function fileState({headers}: Response, size: number | null): FileState {
  const etag = headers.get('etag');
  return {
    size,
    etag: etag === null || etag.startsWith('W/') ? null : etag,
    lastModified: headers.get('last-modified'),
  };
}

/** The file's size; null if the answer is not the range that was asked for, or does not say so. */
function sizeOfRange(
  {headers}: Response,
  start: number,
  end: number | null,
  state: FileState | null,
): number | null {
  if (isCompressed(headers)) return null;
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('content-range') ?? '');
  if (range !== null) return Number(range[1]) === start ? (numberOf(range[2]) ?? state?.size ?? null) : null;
  // Other origins may hide the range: the length of the answer is visible.
  const length = numberOf(headers.get('content-length'));
  if (length === null || headers.has('content-range')) return null;
  if (end === null) return start + length;
  return start + length === Math.min(end, state?.size ?? -1) ? state!.size : null;
}

/** Unknown where the answer was compressed, though nobody should: its length is that on the way. */
function sizeOfWhole({headers}: Response): number | null {
  return isCompressed(headers) ? null : numberOf(headers.get('content-length'));
}

function isCompressed(headers: Headers): boolean {
  return (headers.get('content-encoding') ?? 'identity') !== 'identity';
}

function numberOf(digits: string | null): number | null {
  return digits !== null && /^\d+$/.test(digits) ? Number(digits) : null;
}

/** Outside of pages every address is. */
function isOwnOrigin(url: string): boolean {
  const {location} = globalThis as {location?: Location};
  return location === undefined || new URL(url).origin === location.origin;
}
