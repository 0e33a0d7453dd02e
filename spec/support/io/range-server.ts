/** @file A web server for files with everything that can be wrong with one: real sockets, on this machine. */
import {createHash} from 'node:crypto';
import {createServer, type IncomingMessage, type Server, type ServerResponse} from 'node:http';
import type {AddressInfo} from 'node:net';
import {gzipSync} from 'node:zlib';

/** How the server answers; changed while it runs. */
interface ServerHabits {
  /** Sends the whole file whatever is asked for. */
  noRanges?: boolean;
  /** Says no length. */
  noLength?: boolean;
  /** Compresses, though it was asked not to. */
  gzip?: boolean;
  /** Says 206 and sends the file from its start. */
  wrongRange?: boolean;
  /** Says 206 to a request without range. */
  always206?: boolean;
  /** Sends at most so many bytes of a range, though more were asked for. */
  mostBytes?: number;
  /** What it says of the state of files; `etag` is made of the content by default. */
  etag?: string | null;
  lastModified?: string | null;
  /** Breaks the connection after so many bytes of an answer, so often. */
  cut?: {bytes: number; times: number};
  /** Answers with this status, so often. */
  fails?: {status: number; times: number; contentType?: string};
  /** Is told of every answer before it is sent; it goes on when that is done. */
  before?: (path: string) => Promise<void>;
}

/** A request as the server saw it. */
interface SeenRequest {
  readonly path: string;
  readonly range: string | null;
  readonly ifRange: string | null;
  readonly authorization: string | null;
}

export interface RangeServer {
  readonly url: string;
  /** By path, such as `/model.gguf`. */
  readonly files: Map<string, Uint8Array>;
  habits: ServerHabits;
  readonly seen: SeenRequest[];
  /** Bytes of files that were sent. */
  sentBytes: number;
  close(): Promise<void>;
}

/** Starts a server; the caller closes it. */
export async function rangeServer(files: Readonly<Record<string, Uint8Array>> = {}): Promise<RangeServer> {
  const server: Server = createServer((request, response) => {
    void answer(made, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const made: RangeServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    files: new Map(Object.entries(files)),
    habits: {},
    seen: [],
    sentBytes: 0,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return made;
}

async function answer(
  server: RangeServer,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const {habits} = server;
  const {pathname: path} = new URL(request.url ?? '', 'http://host');
  const header = (name: string) => (request.headers[name] as string | undefined) ?? null;
  const range = header('range');
  server.seen.push({path, range, ifRange: header('if-range'), authorization: header('authorization')});
  await habits.before?.(path);
  if (habits.fails !== undefined && habits.fails.times > 0) {
    habits.fails.times--;
    const {status, contentType = 'text/plain'} = habits.fails;
    response.writeHead(status, {'content-type': contentType}).end('<h1>no</h1>');
    return;
  }
  const file = server.files.get(path);
  if (file === undefined) {
    response.writeHead(404).end();
    return;
  }
  const etag = habits.etag === undefined ? `"${createHash('sha1').update(file).digest('hex')}"` : habits.etag;
  if (etag !== null) response.setHeader('etag', etag);
  if (typeof habits.lastModified === 'string') response.setHeader('last-modified', habits.lastModified);
  if (habits.gzip === true) {
    const body = gzipSync(file);
    response.writeHead(200, {'content-encoding': 'gzip', 'content-length': body.length});
    response.end(body);
    return;
  }
  const asked = /^bytes=(\d+)-(\d*)$/.exec(range ?? '');
  const isSame = header('if-range') === null || [etag, habits.lastModified].includes(header('if-range'));
  const isPart = asked !== null && isSame && habits.noRanges !== true;
  let [start, end] = isPart
    ? [Number(asked[1]), asked[2] === '' ? file.length : Number(asked[2]) + 1]
    : [0, file.length];
  if (isPart && start >= file.length) {
    response.writeHead(416, {'content-range': `bytes */${file.length}`}).end();
    return;
  }
  end = Math.min(end, file.length, isPart ? start + (habits.mostBytes ?? Infinity) : Infinity);
  if (habits.wrongRange === true) start = 0;
  const body = file.subarray(start, end);
  if (isPart || habits.always206 === true)
    response.setHeader('content-range', `bytes ${start}-${end - 1}/${file.length}`);
  if (habits.noLength !== true) response.setHeader('content-length', body.length);
  response.writeHead(isPart || habits.always206 === true ? 206 : 200);
  if (habits.cut !== undefined && habits.cut.times > 0 && body.length > habits.cut.bytes) {
    habits.cut.times--;
    server.sentBytes += habits.cut.bytes;
    response.write(body.subarray(0, habits.cut.bytes), () => setTimeout(() => response.destroy(), 20));
    return;
  }
  server.sentBytes += body.length;
  response.end(body);
}
