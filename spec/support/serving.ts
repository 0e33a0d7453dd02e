/**
 * @file A server on a free port, the built one, whose workers start sooner than from the sources, on the cpu backend,
 * which starts soonest; and small models to serve.
 */
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {saveLayersModel} from '../../lib/io/model/model-files.js';
import type {createServer as CreateServer, Server, ServerOptions} from '../../lib/serve/index.js';
import {urlOf} from './child.js';

/** What a request was answered. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly json: unknown;
}

export interface Serving {
  readonly url: string;
  readonly server: Server;
  get(path: string, headers?: Record<string, string>): Promise<Answer>;
  /** Without a content type but the one that `curl -d` sends. */
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Answer>;
  /** The values of a metric, by its labels as they are written. */
  metric(name: string): Promise<ReadonlyMap<string, number>>;
}

/** Starts a server; ends once it is ready, unless `isWaiting` is false. */
export async function serving(options: ServerOptions, isWaiting = true): Promise<Serving> {
  const built = urlOf('dist/lib/serve/index.js');
  const {createServer} = (await import(built)) as {createServer: typeof CreateServer};
  const server = await createServer({pollMs: 50, ...options, pool: {backend: 'cpu', ...options.pool}});
  const url = await server.listen({port: 0});
  if (isWaiting) await server.ready();
  const ask = async (path: string, init: RequestInit): Promise<Answer> => {
    const response = await fetch(url + path, init);
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
    return {status: response.status, headers: response.headers, json: isJson ? JSON.parse(text) : text};
  };
  return {
    url,
    server,
    get: (path, headers = {}) => ask(path, {headers}),
    post: (path, body, headers = {}) =>
      ask(path, {
        method: 'POST',
        body: typeof body === 'string' ? body : JSON.stringify(body),
        headers: {'content-type': 'application/x-www-form-urlencoded', ...headers},
      }),
    async metric(name) {
      const text = await (await fetch(`${url}/metrics`)).text();
      const lines = [...text.matchAll(new RegExp(`^${name}(?:\\{(.*)\\})? (\\S+)$`, 'gm'))];
      return new Map(lines.map(([, labels = '', value]) => [labels, Number(value)]));
    },
  };
}

/** A folder that goes after the suite. */
export function modelFolder(): {readonly path: string} {
  const folder = {path: ''};
  before(() => {
    folder.path = mkdtempSync(join(tmpdir(), 'serve-spec-'));
  });
  after(() => rmSync(folder.path, {recursive: true}));
  return folder;
}

/** y = factor * (the sum of the three inputs), the answer of which is known. */
export async function saveSumModel(path: string, factor: number): Promise<void> {
  const model = tf.sequential({
    layers: [tf.layers.dense({units: 1, inputShape: [3], useBias: false, name: 'sum'})],
  });
  tf.tidy(() => model.setWeights([tf.fill([3, 1], factor)]));
  await saveLayersModel(model, path);
  model.dispose();
}

/** A dense layer so large that a batch takes some tenths of a second on the cpu backend. */
export async function saveSlowModel(path: string): Promise<void> {
  const model = tf.sequential({
    layers: [
      tf.layers.dense({units: 700, inputShape: [2], kernelInitializer: 'ones', name: 'wide'}),
      ...['a', 'b', 'c'].map((name) => tf.layers.dense({units: 700, kernelInitializer: 'ones', name})),
      tf.layers.dense({units: 1, kernelInitializer: 'ones', name: 'out'}),
    ],
  });
  await saveLayersModel(model, path);
  model.dispose();
}
