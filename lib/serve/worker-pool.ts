/**
 * @file The worker processes: kept at their number, restarted with back-off when they end, and made to load what is
 * to be served. A model that ends the process while it is loaded is given up after a few times.
 */
import type {FastifyBaseLogger} from 'fastify';
import {ServeError} from './http-errors.js';
import type {ActualSparsity, LoadedInfo} from './messages.js';
import {WorkerGone, type WorkerEvents, type WorkerProcess} from './worker-process.js';

const FIRST_RESTART_MS = 100;
const LONGEST_RESTART_MS = 30_000;
/** A worker that lived so long starts anew without delay. */
const HEALTHY_MS = 10_000;
/** A restarted worker that could not load a model tries again after it. */
const RELOAD_MS = 5000;
/** Processes that one model may take with it while it is loaded, one after the other. */
const MAX_LOAD_CRASHES = 3;

/** What the pool is to have loaded. */
interface Wanted {
  readonly path: string;
  crashes: number;
}

export interface PoolEvents {
  /** A worker can take more, or has loaded something. */
  readonly onFree: () => void;
  readonly onSparsity: (key: string, sparsity: ActualSparsity) => void;
  readonly onRestart: (reason: string) => void;
}

export class WorkerPool {
  /** Those that live. */
  readonly workers = new Set<WorkerProcess>();
  private readonly wanted = new Map<string, Wanted>();
  private failures = 0;
  private readonly timers = new Set<NodeJS.Timeout>();
  private readonly started = new WeakSet<WorkerProcess>();
  private isClosed = false;

  /** @param startProcess Starts one worker, which tells of itself by these events. */
  constructor(
    count: number,
    private readonly startProcess: (events: WorkerEvents) => WorkerProcess,
    private readonly events: PoolEvents,
    private readonly log: FastifyBaseLogger,
  ) {
    for (let i = 0; i < count; i++) this.start();
  }

  /**
   * Loads a model in every worker, and in those that start later.
   *
   * @returns Once every worker that lives by then has it; a worker that ends meanwhile is waited for again.
   * @throws {ServeError} `load-failed` with what is wrong, `worker-gone` if the pool is closed; it is not wanted then any
   *   more.
   */
  async load(key: string, path: string): Promise<LoadedInfo> {
    const wanted = {path, crashes: 0};
    this.wanted.set(key, wanted);
    try {
      for (;;) {
        if (this.isClosed) throw new WorkerGone();
        const ready = [...this.workers].filter((worker) => this.started.has(worker));
        const missing = ready.filter((worker) => !worker.loaded.has(key));
        const [first] = ready;
        const allStarted = ready.length === this.workers.size;
        if (first !== undefined && allStarted && missing.length === 0) return first.loaded.get(key)!;
        if (!this.wanted.has(key)) throw this.loadFailure(path, wanted);
        if (missing.length === 0) await pause(FIRST_RESTART_MS);
        for (const worker of missing) await this.loadInto(worker, key, path);
      }
    } catch (error) {
      await this.unload(key);
      throw error;
    }
  }

  /** Frees a model in every worker. */
  async unload(key: string): Promise<void> {
    this.wanted.delete(key);
    await Promise.all([...this.workers].map((worker) => worker.unload(key)));
  }

  /** Whether it is to be loaded in every worker: false once it has ended too many of them. */
  wants(key: string): boolean {
    return this.wanted.has(key);
  }

  /** Whether a worker has loaded it. */
  has(key: string): boolean {
    return [...this.workers].some(({loaded}) => loaded.has(key));
  }

  /** The worker with the least to do of those that have loaded a model and have less than `most` of a kind to do. */
  freeWorker(key: string, kind: 'predict' | 'generate', most: number): WorkerProcess | undefined {
    let best: WorkerProcess | undefined;
    for (const worker of this.workers) {
      if (!worker.loaded.has(key) || worker.busy[kind] >= most) continue;
      if (best === undefined || worker.busy[kind] < best.busy[kind]) best = worker;
    }
    return best;
  }

  /** Ends all processes, and returns once they have ended; nothing may be running. */
  async close(): Promise<void> {
    this.isClosed = true;
    for (const timer of this.timers) clearTimeout(timer);
    await Promise.all([...this.workers].map((worker) => worker.close()));
  }

  private start(): void {
    const startedAt = performance.now();
    const worker: WorkerProcess = this.startProcess({
      onStarted: () => {
        this.started.add(worker);
        void this.loadAll(worker);
      },
      onSparsity: this.events.onSparsity,
      onExit: (reason) => this.ended(worker, reason, performance.now() - startedAt),
    });
    this.workers.add(worker);
  }

  private ended(worker: WorkerProcess, reason: string, livedMs: number): void {
    this.workers.delete(worker);
    if (this.isClosed) return;
    for (const key of worker.loading) {
      const wanted = this.wanted.get(key);
      if (wanted !== undefined && ++wanted.crashes >= MAX_LOAD_CRASHES) this.wanted.delete(key);
    }
    this.failures = livedMs > HEALTHY_MS ? 0 : this.failures + 1;
    const delay = Math.min(LONGEST_RESTART_MS, FIRST_RESTART_MS * 2 ** Math.max(0, this.failures - 1));
    this.log.error({pid: worker.pid, reason, restartInMs: delay}, 'worker ended');
    this.events.onRestart(reason);
    this.after(delay, () => this.start());
    this.events.onFree();
  }

  private async loadAll(worker: WorkerProcess): Promise<void> {
    let isComplete = true;
    for (const [key, wanted] of this.wanted) {
      if (worker.loaded.has(key) || worker.loading.has(key)) continue;
      try {
        await worker.load(key, wanted.path);
        wanted.crashes = 0;
        this.events.onFree();
      } catch (error) {
        if (error instanceof WorkerGone) return;
        isComplete = false;
        this.log.error({model: key, err: error}, 'a restarted worker cannot load the model');
      }
    }
    this.events.onFree();
    if (!isComplete) this.after(RELOAD_MS, () => worker.isAlive && void this.loadAll(worker));
  }

  private after(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      work();
    }, ms);
    this.timers.add(timer);
  }

  private async loadInto(worker: WorkerProcess, key: string, path: string): Promise<void> {
    if (worker.loaded.has(key)) return; // by itself, while another worker was waited for
    if (worker.loading.has(key)) {
      await pause(FIRST_RESTART_MS); // it has just started and does so by itself
      return;
    }
    try {
      await worker.load(key, path);
      this.events.onFree();
    } catch (error) {
      if (error instanceof WorkerGone) return;
      const said = error instanceof Error ? error.message : String(error);
      throw new ServeError(503, 'load-failed', said);
    }
  }

  private loadFailure(path: string, {crashes}: Wanted): ServeError {
    const text = `loading ${path} ended the worker process ${crashes} times: is there enough memory for it?`;
    return new ServeError(503, 'load-failed', text);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
