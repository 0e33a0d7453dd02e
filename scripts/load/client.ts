/** @file Requests over connections that are kept: what went out, what came back, and how long it took. */
import {Agent, request} from 'node:http';

/** A request, ready to be sent. */
export interface Outgoing {
  readonly method?: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
}

/** An answer; status 0 is none at all, and `text` says why. */
export interface Incoming {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly bytes: Buffer;
  readonly ms: number;
}

/** No answer after so long is no answer. */
const PATIENCE_MS = 60_000;

export class Client {
  private readonly agent: Agent;
  private readonly port: number;

  /** @param connections Kept at most. */
  constructor(url: string, connections: number) {
    this.port = Number(new URL(url).port);
    this.agent = new Agent({keepAlive: true, maxSockets: connections});
  }

  /** Sends a request and waits for the whole answer; never throws. */
  ask(outgoing: Outgoing): Promise<Incoming> {
    const start = performance.now();
    return new Promise((resolve) => {
      const none = (error: Error) =>
        resolve({status: 0, headers: {}, bytes: Buffer.from(error.message), ms: performance.now() - start});
      const sent = this.send(outgoing);
      sent.on('error', none);
      sent.on('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', none);
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            bytes: Buffer.concat(chunks),
            ms: performance.now() - start,
          }),
        );
      });
    });
  }

  /** Sends a request and goes away after a time, or when the answer begins. */
  async abandon(outgoing: Outgoing, ms: number): Promise<void> {
    const sent = this.send(outgoing);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => sent.destroy(), ms);
      sent.on('response', (response) => {
        response.on('error', () => undefined);
        sent.destroy();
      });
      sent.on('error', () => undefined);
      sent.on('close', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  close(): void {
    this.agent.destroy();
  }

  private send({method = 'POST', path, headers = {}, body = ''}: Outgoing) {
    const length = {'content-length': Buffer.byteLength(body)};
    const options = {agent: this.agent, host: '127.0.0.1', port: this.port, timeout: PATIENCE_MS};
    const sent = request({
      ...options,
      method,
      path,
      headers: {...headers, ...(method === 'GET' ? {} : length)},
    });
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${PATIENCE_MS} ms`)));
    sent.end(method === 'GET' ? undefined : body);
    return sent;
  }
}
