/**
 * @file The server: the HTTP side in this process, which never computes and so always answers, and the workers that do
 * (worker-pool.ts).
 */
import type {Server as HttpsServer} from 'node:https';
import {createRequire} from 'node:module';
import cors from '@fastify/cors';
import Fastify, {
  LogController,
  type FastifyHttpsOptions,
  type FastifyInstance,
  type FastifyServerOptions,
} from 'fastify';
import {checkReach, keyCheck} from './access.js';
import {readBodies} from './bodies.js';
import {Dispatcher} from './dispatcher.js';
import {ServeError} from './http-errors.js';
import {HostCheck, originOf} from './hosts.js';
import {DEFAULT_HOST, listen, type ListenOptions} from './listen.js';
import type {ActualSparsity} from './messages.js';
import {Metrics} from './metrics.js';
import {
  checkServerOptions,
  DEFAULT_BODY_LIMIT,
  DEFAULT_HEADERS_TIMEOUT_MS,
  DEFAULT_POLL_MS,
  DEFAULT_POOL,
  DEFAULT_QUEUE,
  type HttpOptions,
  type ServerOptions,
} from './server-options.js';
import {openAi} from './protocols/openai.js';
import {openInference} from './protocols/open-inference.js';
import {tensorFlowServing} from './protocols/tensorflow-serving.js';
import {Repository} from './model-repository.js';
import {errorHandler, plainError, type Protocol, type Services} from './request.js';
import {statusPage} from './status-page/routes.js';
import {WorkerPool} from './worker-pool.js';
import {WorkerProcess} from './worker-process.js';

/** A request that comes slower than this, body and all, ends the connection. */
const REQUEST_TIMEOUT_MS = 60_000;
const TIMEOUT_CHECK_MS = 1000;
const DRAIN_POLL_MS = 20;

export interface Server {
  /** The fastify instance, for further routes and `inject`. */
  readonly fastify: FastifyInstance;
  /** Process ids of the workers that live. */
  readonly workerPids: readonly number[];
  /**
   * Starts to listen; models may still be loading, which `/v2/health/ready` tells.
   *
   * @returns The address, as `http://127.0.0.1:8501`.
   * @throws {SparsifyError} `cannot-listen`; `bad-option` where other machines could ask without a key, unless `noKey` says
   *   that they may.
   */
  listen(options?: ListenOptions): Promise<string>;
  /**
   * Waits until every model answers.
   *
   * @throws {ServeError} `load-failed` if one cannot be loaded.
   */
  ready(): Promise<void>;
  /** Takes no more requests, answers those that are there, and ends the workers. */
  close(): Promise<void>;
}

/**
 * Makes a server and starts its workers.
 *
 * @throws {SparsifyError} `bad-option`.
 * @example
 * const server = await createServer({models: [{name: 'digits', path: 'models/digits'}]});
 * console.log(await server.listen({port: 8501}));
 */
export async function createServer(options: ServerOptions): Promise<Server> {
  checkServerOptions(options);
  const {http = {}, pollMs = DEFAULT_POLL_MS} = options;
  const queue = {...DEFAULT_QUEUE, ...options.queue};
  const {backend = null, ...poolOptions} = {...DEFAULT_POOL, ...options.pool};
  const {workers, hangMs, ...settings} = poolOptions;
  const fastify = createFastify(http);
  const sparsity = new Map<string, ActualSparsity>();
  const metrics: Metrics = new Metrics({
    queues: () => dispatcher.waiting(),
    workers: () => workersHealth(),
    isReady: () => isReady(),
  });
  const pool: WorkerPool = new WorkerPool(
    workers,
    (events) => new WorkerProcess({...settings, backend}, hangMs, events),
    {
      onFree: () => dispatcher.pump(),
      onSparsity: (key, measured) => {
        const model = key.slice(0, key.indexOf('/'));
        sparsity.set(model, measured);
        metrics.sparsified(model, measured);
      },
      onRestart: () => metrics.restarted(),
    },
    fastify.log,
  );
  const dispatcher: Dispatcher = new Dispatcher(pool, queue, settings.maxSequences, {
    onBatch: (model, rows) => metrics.batch(model, rows),
  });
  const repository: Repository = new Repository(options.models, pool, pollMs, fastify.log);
  let isDraining = false;
  let running = 0;
  const workersHealth = () => [...pool.workers].map(({pid = 0, health}) => ({pid, ...health}));
  const isReady = () => repository.isReady && !isDraining;

  const {version} = createRequire(import.meta.url)('tfjs-sparsify/package.json') as {version: string};
  const services: Services = {repository, dispatcher, metrics};
  fastify.addHook('onRequest', (_request, reply, done) => {
    running++;
    reply.raw.once('close', () => running--); // comes after every answer, and when the client goes away amid it
    done();
  });
  const origins = (http.cors ?? []).map((origin) => originOf(origin) ?? origin); // '*' is none
  const hosts = new HostCheck(http.allowedHosts ?? [], origins);
  addHooks(fastify, {apiKeys: http.apiKeys ?? [], origins, hosts}, metrics);
  statusPage(fastify, {...services, version, isReady, workers: workersHealth, sparsity});
  await fastify.register((scope) => openAi(scope, services));
  await fastify.register((scope) => tensorFlowServing(scope, services));
  await fastify.register((scope) =>
    openInference(scope, {...services, version, isDraining: () => isDraining}),
  );
  fastify.get('/healthz', () => ({live: true}));
  fastify.get('/readyz', (_request, reply) => {
    const ready = isReady();
    return reply.code(ready ? 200 : 503).send({ready});
  });
  fastify.get('/metrics', async (_request, reply) => {
    const {type, text} = await metrics.text();
    return reply.type(type).send(text);
  });

  let closing: Promise<void> | undefined;
  const close = async () => {
    isDraining = true;
    let isClosed = false;
    const closed = fastify.close().finally(() => (isClosed = true)); // no new connections, 503 on old ones
    while (running > 0) await pause(DRAIN_POLL_MS);
    await repository.close();
    const ended = pool.close();
    while (!isClosed) {
      // All is answered. Connections are kept alive for more than a minute otherwise, and one that never had a request, as
      // a client opens it after going away from another, does not count as idle.
      fastify.server.closeAllConnections();
      await pause(DRAIN_POLL_MS);
    }
    await Promise.all([closed, ended]);
  };
  return {
    fastify,
    get workerPids() {
      return [...pool.workers].flatMap(({pid}) => pid ?? []);
    },
    async listen(options = {}) {
      const {host = DEFAULT_HOST} = options;
      await checkReach(host, http);
      hosts.listensAt(host);
      return listen(fastify, options);
    },
    ready: () => repository.ready(),
    close: () => (closing ??= close()),
  };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function createFastify({
  bodyLimit = DEFAULT_BODY_LIMIT,
  headersTimeoutMs = DEFAULT_HEADERS_TIMEOUT_MS,
  log = false,
  tls,
}: HttpOptions): FastifyInstance {
  const options: FastifyServerOptions = {
    bodyLimit,
    logger: log === false ? false : {level: log},
    logController: new LogController({disableRequestLogging: true}), // addHooks has a shorter line
    requestTimeout: REQUEST_TIMEOUT_MS,
    forceCloseConnections: 'idle',
    routerOptions: {maxParamLength: 512},
  };
  const timeouts = {headersTimeout: headersTimeoutMs, connectionsCheckingInterval: TIMEOUT_CHECK_MS};
  const httpsOptions = {...options, https: {...tls, ...timeouts}} as FastifyHttpsOptions<HttpsServer>;
  const fastify =
    tls === undefined
      ? Fastify({...options, http: timeouts})
      : (Fastify(httpsOptions) as unknown as FastifyInstance);
  fastify.decorateRequest('servedModel', '');
  // Protocols read their bodies themselves: clients send JSON under several names or none, and tensors behind it.
  fastify.removeAllContentTypeParsers();
  readBodies(fastify, bodyLimit);
  fastify.setErrorHandler(errorHandler(plainError));
  fastify.setNotFoundHandler((request) => {
    throw new ServeError(
      404,
      'unknown-path',
      `nothing is served at ${request.method} ${pathOf(request.url)}`,
    );
  });
  return fastify;
}

function addHooks(
  fastify: FastifyInstance,
  {apiKeys, origins, hosts}: {apiKeys: readonly string[]; origins: readonly string[]; hosts: HostCheck},
  metrics: Metrics,
): void {
  const checkKey = apiKeys.length > 0 ? keyCheck(apiKeys) : null;
  fastify.addHook('onRequest', (request, _reply, done) => {
    if (checkKey === null) hosts.check(request);
    else if (request.method !== 'OPTIONS') checkKey(request);
    done();
  });
  if (origins.length > 0) {
    void fastify.register(cors, {origin: origins.includes('*') ? '*' : [...origins]});
  }
  fastify.addHook('onRequest', (request, _reply, done) => {
    const encoding = request.headers['content-encoding'];
    if (encoding === undefined || encoding === 'identity') return done();
    throw new ServeError(
      415,
      'content-encoding',
      `bodies in ${encoding.slice(0, 40)} are not read: send them plain`,
    );
  });
  fastify.addHook('onSend', (_request, reply, payload, done) => {
    // fastify would close the connection, and a client that is still sending see that instead of the answer; kept, the
    // connection takes the rest and forgets it, until the request's time is over.
    if (reply.statusCode === 413) reply.removeHeader('connection');
    done(null, payload);
  });
  fastify.addHook('onResponse', (request, reply, done) => {
    const {statusCode, elapsedTime} = reply;
    const protocol = protocolOf(request.url);
    if (protocol !== 'none') metrics.answered(request.servedModel, protocol, statusCode, elapsedTime / 1000);
    request.log.info(
      {
        ...{method: request.method, path: pathOf(request.url), status: statusCode},
        ...{model: request.servedModel, ms: Math.round(elapsedTime * 10) / 10},
      },
      'request',
    );
    done();
  });
}

function pathOf(url: string): string {
  return url.split('?', 1)[0].slice(0, 200);
}

function protocolOf(url: string): Protocol {
  const path = pathOf(url);
  if (/^\/v1\/(chat\/)?completions$|^\/v1\/models$/.test(path)) return 'openai';
  if (path.startsWith('/v1/models/')) return 'tensorflow-serving';
  return path.startsWith('/v2/models/') ? 'open-inference' : 'none';
}
