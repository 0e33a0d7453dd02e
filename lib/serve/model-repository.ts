/**
 * @file The models that are served, with their versions: a new version is loaded beside the old one, takes over once it
 * is warm, and the old one goes when its last request is answered.
 */
import type {FastifyBaseLogger} from 'fastify';
import {nearest} from '../errors.js';
import {ServeError} from './http-errors.js';
import type {LoadedInfo} from './messages.js';
import {versionsIn} from './model-folder.js';
import type {ServedModel} from './server-options.js';
import type {WorkerPool} from './worker-pool.js';

type VersionState = 'loading' | 'available' | 'draining' | 'failed';

/** One version of a model. */
export interface ModelVersion {
  readonly model: string;
  readonly version: number;
  /** What the workers know it by. */
  readonly key: string;
  readonly path: string;
  state: VersionState;
  /** Null until it is loaded. */
  info: LoadedInfo | null;
  /** Why it failed. */
  error: string | null;
  /** Requests that are not answered. */
  running: number;
  /** Seconds since 1970. */
  readonly created: number;
}

/** Which version a request wants; the latest if it does not say. */
export interface VersionChoice {
  readonly version?: number;
  readonly label?: string;
}

const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;
const DRAIN_POLL_MS = 20;

export class Repository {
  private readonly versions = new Map<string, Map<number, ModelVersion>>();
  private readonly failures = new Map<string, {count: number; until: number}>();
  /** Models whose path could not be read when it was looked at last. */
  private readonly unreadable = new Set<string>();
  private timer: NodeJS.Timeout | undefined;
  private work: Promise<void> = Promise.resolve();
  private isClosed = false;
  private loads = 0;

  constructor(
    private readonly models: readonly ServedModel[],
    private readonly pool: WorkerPool,
    private readonly pollMs: number,
    private readonly log: FastifyBaseLogger,
  ) {
    for (const {name} of models) this.versions.set(name, new Map());
    this.poll();
  }

  get names(): readonly string[] {
    return this.models.map(({name}) => name);
  }

  /** Whether every model can answer. */
  get isReady(): boolean {
    return this.names.every((name) => {
      const latest = this.latest(name);
      return latest !== undefined && this.pool.has(latest.key);
    });
  }

  /**
   * All versions of a model that were not unloaded, the latest first.
   *
   * @throws {ServeError} 404.
   */
  all(name: string): readonly ModelVersion[] {
    const versions = this.versions.get(name);
    if (versions !== undefined) return [...versions.values()].sort((a, b) => b.version - a.version);
    const [near] = nearest(name, this.names);
    const hint = near === undefined ? 'GET /v1/models lists them' : `did you mean "${near}"?`;
    throw new ServeError(404, 'unknown-model', `no model "${name.slice(0, 128)}" is served: ${hint}`);
  }

  /**
   * The version for a request.
   *
   * @throws {ServeError} 404 for an unknown model, version or label; 503 for one that is not loaded.
   */
  choose(name: string, {version, label}: VersionChoice = {}): ModelVersion & {readonly info: LoadedInfo} {
    const all = this.all(name);
    const wanted = label === undefined ? version : this.labelled(name, label);
    const found = wanted === undefined ? this.latest(name) : all.find((entry) => entry.version === wanted);
    if (found === undefined && wanted !== undefined) {
      const known = all.map((entry) => entry.version).join(', ');
      throw new ServeError(
        404,
        'unknown-version',
        `model "${name}" has no version ${wanted}; it has ${known}`,
      );
    }
    if (found !== undefined && found.info !== null && found.state === 'available')
      return found as ModelVersion & {info: LoadedInfo};
    const failed = found ?? all.find(({state}) => state === 'failed');
    throw failed?.state === 'failed'
      ? new ServeError(503, 'load-failed', `model "${name}" could not be loaded: ${failed.error}`, 10)
      : new ServeError(503, 'loading', `model "${name}" is being loaded`, 1);
  }

  /** Waits until all models can answer; for programs that start a server. */
  async ready(): Promise<void> {
    while (!this.isReady && !this.isClosed) {
      const failed = this.names.flatMap((name) => this.all(name)).find(({state}) => state === 'failed');
      if (failed !== undefined && this.latest(failed.model) === undefined) {
        throw new ServeError(503, 'load-failed', `model "${failed.model}": ${failed.error}`);
      }
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
  }

  /** Stops watching. */
  async close(): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.timer);
    await Promise.race([this.work, new Promise((resolve) => setTimeout(resolve, 1000))]);
  }

  private latest(name: string): ModelVersion | undefined {
    return this.all(name).find(({state}) => state === 'available');
  }

  private labelled(name: string, label: string): number {
    const labels = this.models.find((model) => model.name === name)?.labels ?? {};
    if (Object.hasOwn(labels, label)) return labels[label];
    const known = Object.keys(labels).join(', ') || 'none';
    throw new ServeError(
      404,
      'unknown-label',
      `model "${name}" has no label "${label.slice(0, 128)}"; it has ${known}`,
    );
  }

  private poll(): void {
    this.work = this.scan()
      .catch((error: unknown) => this.log.error({err: error}, 'looking for versions failed'))
      .finally(() => {
        if (!this.isClosed) this.timer = setTimeout(() => this.poll(), this.pollMs);
      });
  }

  /** Makes what is served what is on the disk. */
  private async scan(): Promise<void> {
    for (const model of this.models) {
      const served = this.versions.get(model.name)!;
      const found = await this.versionsOf(model, served);
      const latest = Math.max(...found.keys());
      const pinned = new Set(Object.values(model.labels ?? {}));
      for (const entry of served.values()) {
        if (entry.state === 'available' && !this.pool.wants(entry.key)) {
          this.failed(entry, 'it ended the workers that were to load it again');
          void this.pool.unload(entry.key); // from a worker that still has it
        }
      }
      for (const [version, path] of found) {
        if (this.isClosed) return;
        const isWanted = model.versions === 'all' || version === latest || pinned.has(version);
        const present = served.get(version);
        if (isWanted && (present === undefined || this.mayRetry(present))) {
          await this.load(model.name, version, path);
        }
      }
      for (const entry of [...served.values()]) {
        const isWanted = found.has(entry.version) && (model.versions === 'all' || pinned.has(entry.version));
        // The old one stays until the new one answers.
        const isLatest = entry.version === latest || this.latest(model.name) === entry;
        if (isWanted || isLatest) continue;
        if (entry.state === 'failed') served.delete(entry.version);
        else if (entry.state === 'available') void this.retire(entry);
      }
    }
  }

  /** What is on the disk; what is served while that cannot be read, which may pass. */
  private async versionsOf(
    {name, path}: ServedModel,
    served: ReadonlyMap<number, ModelVersion>,
  ): Promise<ReadonlyMap<number, string>> {
    try {
      const found = await versionsIn(path);
      this.unreadable.delete(name);
      return found;
    } catch (error) {
      if (served.size === 0) return new Map([[1, path]]); // loading it says what is wrong
      if (!this.unreadable.has(name))
        this.log.warn({err: error, model: name}, 'no versions can be looked for');
      this.unreadable.add(name);
      return new Map([...served].map(([version, entry]) => [version, entry.path]));
    }
  }

  private async load(model: string, version: number, path: string): Promise<void> {
    const key = `${model}/${version}#${++this.loads}`;
    const created = Math.floor(Date.now() / 1000);
    const entry: ModelVersion = {
      ...{model, version, key, path, created},
      ...{state: 'loading', info: null, error: null, running: 0},
    };
    this.versions.get(model)!.set(version, entry);
    try {
      entry.info = await this.pool.load(key, path);
      entry.state = 'available';
      this.failures.delete(`${model}/${version}`);
      this.log.info({model, version}, 'model is ready');
    } catch (error) {
      this.failed(entry, error instanceof Error ? error.message : String(error));
    }
  }

  private failed(entry: ModelVersion, reason: string): void {
    const {model, version} = entry;
    entry.state = 'failed';
    entry.error = reason;
    const count = (this.failures.get(`${model}/${version}`)?.count ?? 0) + 1;
    const wait = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (count - 1));
    this.failures.set(`${model}/${version}`, {count, until: performance.now() + wait});
    this.log.error({model, version, reason, retryInMs: wait}, 'model cannot be loaded');
  }

  /** A version that failed is tried again: its files may have been on their way. */
  private mayRetry({model, version, state}: ModelVersion): boolean {
    return state === 'failed' && performance.now() >= (this.failures.get(`${model}/${version}`)?.until ?? 0);
  }

  private async retire(entry: ModelVersion): Promise<void> {
    entry.state = 'draining';
    while (entry.running > 0 && !this.isClosed) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
    this.versions.get(entry.model)!.delete(entry.version);
    await this.pool.unload(entry.key);
    this.log.info({model: entry.model, version: entry.version}, 'version was unloaded');
  }
}
