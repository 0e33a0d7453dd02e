/** @file `/`, the status page, and `/status`, the JSON that it shows. */
import type {FastifyInstance} from 'fastify';
import type {ActualSparsity, WorkerHealth} from '../messages.js';
import type {ModelVersion} from '../model-repository.js';
import type {Services} from '../request.js';
import {statusPageHtml} from './page.js';
import {RecentRequests, type RequestFigures} from './request-figures.js';

/** What the page is told beside what the protocols work with. */
export interface StatusSource extends Pick<Services, 'repository' | 'dispatcher'> {
  readonly version: string;
  readonly isReady: () => boolean;
  readonly workers: () => readonly (WorkerHealth & {readonly pid: number})[];
  /** By model, what a worker measured last. */
  readonly sparsity: ReadonlyMap<string, ActualSparsity>;
}

/** What `/status` answers. */
export interface Status {
  readonly version: string;
  readonly ready: boolean;
  readonly workers: readonly (WorkerHealth & {readonly pid: number})[];
  readonly models: readonly {
    readonly name: string;
    readonly waiting: number;
    readonly requests: RequestFigures;
    readonly versions: readonly VersionStatus[];
    readonly sparsity: ActualSparsity | null;
  }[];
}

interface VersionStatus extends Pick<ModelVersion, 'version' | 'state' | 'error' | 'running'> {
  readonly isLanguageModel: boolean;
  /** Whether it can be asked in words. */
  readonly hasChat: boolean;
  /** Its sparsified layers and their targets. */
  readonly layers: readonly {readonly path: string; readonly target: number | null}[];
}

/** Adds both routes, and counts the requests of all routes that are added after it. */
export function statusPage(fastify: FastifyInstance, source: StatusSource): void {
  const requests = new RecentRequests();
  fastify.addHook('onResponse', (request, reply, done) => {
    if (request.servedModel !== '') requests.add(request.servedModel, reply.statusCode, reply.elapsedTime);
    done();
  });
  const {html, headers} = statusPageHtml();
  fastify.get('/', (_request, reply) => reply.type('text/html; charset=utf-8').headers(headers).send(html));
  fastify.get('/status', (_request, reply) => {
    void reply.header('cache-control', 'no-store');
    return statusOf(source, requests);
  });
}

function statusOf(
  {version, isReady, workers, repository, dispatcher, sparsity}: StatusSource,
  requests: RecentRequests,
): Status {
  const waiting = dispatcher.waiting();
  return {
    version,
    ready: isReady(),
    workers: workers(),
    models: repository.names.map((name) => ({
      name,
      waiting: waiting.get(name) ?? 0,
      requests: requests.of(name),
      versions: repository.all(name).map(versionStatus),
      sparsity: sparsity.get(name) ?? null,
    })),
  };
}

function versionStatus({version, state, error, running, info}: ModelVersion): VersionStatus {
  return {
    ...{version, state, error, running},
    isLanguageModel: info?.isLanguageModel === true,
    hasChat: info?.isLanguageModel === true && info.hasTokenizer,
    layers: info?.sparsified ?? [],
  };
}
