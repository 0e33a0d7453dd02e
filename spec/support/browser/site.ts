/**
 * @file A static server on loopback for pages of specs: folders and texts under paths, with the headers that isolate a page
 * (COOP and COEP), ranges, and faults that a spec switches on for a path.
 */
import {createHash} from 'node:crypto';
import {createReadStream, statSync, type Stats} from 'node:fs';
import {createServer, type IncomingMessage, type Server, type ServerResponse} from 'node:http';
import type {AddressInfo, Socket} from 'node:net';
import {extname, join, relative, sep} from 'node:path';
import {Readable} from 'node:stream';
import {setTimeout} from 'node:timers/promises';

/** What goes wrong with the answer to a path. */
export type Fault =
  /** The connection breaks after so many bytes of the body. */
  | {readonly kind: 'abort'; readonly afterBytes: number}
  /** The body comes in pieces of so many bytes, with a pause before each. */
  | {readonly kind: 'slow'; readonly pieceBytes: number; readonly pauseMs: number}
  /** The byte at this offset of the file has all its bits turned round. */
  | {readonly kind: 'wrong-byte'; readonly at: number}
  /** The server answers with this status and no body. */
  | {readonly kind: 'status'; readonly status: number};

/** A request that the server was sent. */
export interface SeenRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  /** The header `Range`, as it was sent. */
  readonly range: string | undefined;
}

export interface SiteOptions {
  /** Whether the answers carry the headers that make a page cross-origin isolated, so that it has SharedArrayBuffer. */
  readonly isolated?: boolean;
  /** Folders by the path that they are served under, as `{'/models': '/home/me/models'}`. */
  readonly folders?: Readonly<Record<string, string>>;
}

const MIME_TYPES: Readonly<Record<string, string>> = {
  '.bin': 'application/octet-stream',
  '.css': 'text/css; charset=utf-8',
  '.gguf': 'application/octet-stream',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.map': 'application/json; charset=utf-8',
  '.mjs': 'text/javascript; charset=utf-8',
  '.npy': 'application/octet-stream',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
  '.wasm': 'application/wasm',
  '.webmanifest': 'application/manifest+json',
};

const ISOLATION = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
};

/** What a path gives: a file, or a text that a spec has put there. */
interface Resource {
  readonly type: string;
  readonly size: number;
  readonly etag: string;
  /** Bytes of it, both ends included. */
  open(first: number, last: number): Readable;
}

/** A server for pages; {@link Site.close} ends it. */
export class Site {
  /** Requests in the order in which they came; a spec may empty it. */
  readonly requests: SeenRequest[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #isolated: boolean;
  readonly #folders: readonly (readonly [path: string, folder: string])[];
  readonly #texts = new Map<string, Buffer>();
  readonly #faults = new Map<string, Fault>();
  #isOffline = false;

  private constructor({isolated = true, folders = {}}: SiteOptions) {
    this.#isolated = isolated;
    // The longest path first, so that a folder within another one can be exchanged.
    this.#folders = Object.entries(folders).sort(([a], [b]) => b.length - a.length);
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
    this.#server.on('connection', (socket) => {
      if (this.#isOffline) socket.destroy();
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  /** Starts a server on a free port. */
  static async open(options: SiteOptions = {}): Promise<Site> {
    const site = new Site(options);
    await new Promise<void>((resolve) => site.#server.listen(0, '127.0.0.1', resolve));
    return site;
  }

  /** Without a slash at its end. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Puts a text or bytes under a path; the type follows from the path's ending. */
  put(path: string, content: string | Uint8Array): void {
    this.#texts.set(path, Buffer.from(content as string));
  }

  /** Lets all answers to a path fail, until `undefined` mends them. */
  fail(path: string, fault: Fault | undefined): void {
    if (fault === undefined) this.#faults.delete(path);
    else this.#faults.set(path, fault);
  }

  /** Cuts every connection and refuses new ones, or takes them again. */
  set offline(isOffline: boolean) {
    this.#isOffline = isOffline;
    if (isOffline) this.#cut();
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#cut();
    await closed;
  }

  #cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const {method = 'GET', url = '/', headers} = request;
    this.requests.push({method, path: url, range: headers.range});
    if (this.#isolated)
      for (const [name, value] of Object.entries(ISOLATION)) response.setHeader(name, value);
    const path = decodeURIComponent(url.replace(/[?#].*$/, ''));
    const fault = this.#faults.get(path);
    const resource = this.#find(path);
    if (fault?.kind === 'status' || resource === undefined) {
      return void response.writeHead(fault?.kind === 'status' ? fault.status : 404).end();
    }
    const {size, type} = resource;
    const range = rangeOf(headers.range, size);
    if (range === 'outside') return void response.writeHead(416, {'Content-Range': `bytes */${size}`}).end();
    const [first, last] = range ?? [0, size - 1];
    response.writeHead(range === undefined ? 200 : 206, {
      'Content-Type': type,
      'Content-Length': last - first + 1,
      'Accept-Ranges': 'bytes',
      ETag: resource.etag,
      'Cache-Control': 'no-store',
      ...(range === undefined ? {} : {'Content-Range': `bytes ${first}-${last}/${size}`}),
    });
    if (method === 'HEAD' || size === 0) return void response.end();
    await send(resource, first, last, fault, response);
  }

  #find(path: string): Resource | undefined {
    const text = this.#texts.get(path);
    if (text !== undefined) {
      const open = (first: number, last: number) => Readable.from([text.subarray(first, last + 1)]);
      const etag = `"${createHash('sha1').update(text).digest('hex')}"`;
      return {type: typeOf(path), size: text.length, etag, open};
    }
    for (const [prefix, folder] of this.#folders) {
      if (path !== prefix && !path.startsWith(prefix.endsWith('/') ? prefix : `${prefix}/`)) continue;
      const file = fileIn(folder, path.slice(prefix.length));
      if (file === undefined) continue;
      const open = (first: number, last: number) => createReadStream(file.path, {start: first, end: last});
      const {size, mtimeMs} = file.stats;
      return {type: typeOf(file.path), size, etag: `"${size}-${mtimeMs}"`, open};
    }
    return undefined;
  }
}

function typeOf(path: string): string {
  return MIME_TYPES[path.endsWith('/') ? '.html' : extname(path)] ?? 'application/octet-stream';
}

/** A file of a folder, `index.html` for a folder in it; nothing outside. */
function fileIn(folder: string, path: string): {path: string; stats: Stats} | undefined {
  const file = join(folder, path);
  if (relative(folder, file).split(sep)[0] === '..') return undefined;
  const stats = statSync(file, {throwIfNoEntry: false});
  if (stats?.isDirectory() === true) return fileIn(file, 'index.html');
  return stats?.isFile() === true ? {path: file, stats} : undefined;
}

/** The first and last byte of a `Range` header; undefined without one, or with one that this server does not know. */
function rangeOf(header: string | undefined, size: number): [number, number] | 'outside' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (match === null || (match[1] === '' && match[2] === '')) return undefined;
  const [, from, to] = match;
  const first = from === '' ? Math.max(0, size - Number(to)) : Number(from);
  const last = from === '' || to === '' ? size - 1 : Math.min(Number(to), size - 1);
  return first > last ? 'outside' : [first, last];
}

/** Writes the bytes from `first` to `last` as the fault says. */
async function send(
  resource: Resource,
  first: number,
  last: number,
  fault: Fault | undefined,
  response: ServerResponse,
): Promise<void> {
  let at = first;
  for await (const read of resource.open(first, last) as AsyncIterable<Buffer>) {
    const pieceBytes = fault?.kind === 'slow' ? fault.pieceBytes : read.length;
    for (let start = 0; start < read.length; start += pieceBytes) {
      let piece = read.subarray(start, start + pieceBytes);
      if (fault?.kind === 'slow') await setTimeout(fault.pauseMs);
      if (fault?.kind === 'wrong-byte' && fault.at >= at && fault.at < at + piece.length) {
        piece = Buffer.from(piece);
        piece[fault.at - at] ^= 0xff;
      }
      if (fault?.kind === 'abort' && at + piece.length - first >= fault.afterBytes) {
        response.write(piece.subarray(0, first + fault.afterBytes - at), () => response.destroy());
        return;
      }
      if (response.destroyed) return; // the page went away, or stopped reading
      if (!response.write(piece)) await drained(response);
      at += piece.length;
    }
  }
  response.end();
}

/** Ends when more may be written, or when nobody reads any more. */
function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      response.off('drain', end).off('close', end);
      resolve();
    };
    response.on('drain', end).on('close', end);
  });
}
