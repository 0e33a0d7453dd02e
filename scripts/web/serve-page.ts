/**
 * @file A static server for the page on loopback, with the headers that give a page threads (COOP and COEP) and with Range,
 * so that a download that was cut off goes on where it ended.
 */
import {createReadStream, statSync, type Stats} from 'node:fs';
import {createServer, type IncomingMessage, type Server, type ServerResponse} from 'node:http';
import type {AddressInfo} from 'node:net';
import {extname, join, normalize, sep} from 'node:path';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.wasm': 'application/wasm',
};

const HEADERS = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'X-Content-Type-Options': 'nosniff',
  // What changed is asked for; what did not is answered with 304.
  'Cache-Control': 'no-cache',
  'Accept-Ranges': 'bytes',
};

/** A page that is served. */
export interface ServedPage {
  readonly url: string;
  readonly server: Server;
  close(): Promise<void>;
}

/**
 * Serves a folder on 127.0.0.1.
 *
 * @param port 0 for any that is free.
 * @throws {Error} if the port is taken.
 */
export async function servePage(folder: string, port: number): Promise<ServedPage> {
  const server = createServer((request, response) => answer(folder, request, response));
  await new Promise<void>((listening, failed) => {
    server.once('error', failed);
    server.listen(port, '127.0.0.1', () => listening());
  });
  const {port: bound} = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${bound}/`,
    server,
    close: () =>
      new Promise((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  };
}

function answer(folder: string, request: IncomingMessage, response: ServerResponse): void {
  if (request.method !== 'GET' && request.method !== 'HEAD') return end(response, 405);
  const path = fileOf(folder, request.url ?? '/');
  const stats = path === null ? undefined : statSync(path, {throwIfNoEntry: false});
  if (path === null || stats?.isFile() !== true) return end(response, 404);
  const etag = `"${stats.size.toString(36)}-${Math.round(stats.mtimeMs).toString(36)}"`;
  const headers = {
    ...HEADERS,
    ETag: etag,
    'Content-Type': TYPES[extname(path)] ?? 'application/octet-stream',
  };
  if (request.headers['if-none-match'] === etag) {
    response.writeHead(304, headers).end();
    return;
  }
  const asked = request.headers['if-range'] === undefined || request.headers['if-range'] === etag;
  const range = asked ? rangeOf(request.headers.range, stats) : undefined;
  if (range === null) {
    response.writeHead(416, {...headers, 'Content-Range': `bytes */${stats.size}`}).end();
    return;
  }
  const {start, end: last} = range ?? {start: 0, end: stats.size - 1};
  response.writeHead(range === undefined ? 200 : 206, {
    ...headers,
    'Content-Length': last - start + 1,
    ...(range === undefined ? {} : {'Content-Range': `bytes ${start}-${last}/${stats.size}`}),
  });
  if (request.method === 'HEAD' || stats.size === 0) {
    response.end();
    return;
  }
  createReadStream(path, {start, end: last})
    .on('error', () => response.destroy())
    .pipe(response);
}

/** The file that an address names; null if it leads out of the folder. */
function fileOf(folder: string, url: string): string | null {
  let path: string;
  try {
    path = decodeURIComponent(url.split(/[?#]/)[0]);
  } catch {
    return null;
  }
  if (path.includes('\0')) return null;
  const file = normalize(join(folder, path.endsWith('/') ? `${path}index.html` : path));
  return file.startsWith(folder + sep) ? file : null;
}

/** The bytes that are asked for: undefined for all, null for what is not in the file. Several ranges are answered with all. */
function rangeOf(header: string | undefined, {size}: Stats): {start: number; end: number} | null | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (match === null || (match[1] === '' && match[2] === '')) return undefined;
  const [first, last] = [match[1], match[2]].map((text) => (text === '' ? null : Number(text)));
  const start = first ?? Math.max(0, size - last!);
  const end = first === null || last === null ? size - 1 : Math.min(last, size - 1);
  return start <= end && start < size ? {start, end} : null;
}

function end(response: ServerResponse, status: number): void {
  response
    .writeHead(status, {...HEADERS, 'Content-Type': 'text/plain'})
    .end(status === 404 ? 'not found' : '');
}
