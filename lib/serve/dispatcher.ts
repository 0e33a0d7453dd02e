/**
 * @file Requests on their way to the workers: bounded queues, one a version, joined to batches by shape, sent to the
 * worker with the least to do, given up at their deadline or when the client has gone, and asked once more if a worker
 * ends on them.
 */
import type {Generation} from '../language/decoding/generate.js';
import {joinRows, splitRows} from './batch.js';
import {ServeError} from './http-errors.js';
import type {GenerationRequest} from './messages.js';
import type {QueueOptions} from './server-options.js';
import type {ModelVersion} from './model-repository.js';
import type {WireTensor} from './tensors.js';
import type {WorkerPool} from './worker-pool.js';
import {WorkerGone, type WorkerProcess} from './worker-process.js';

/** Batches a worker holds: one that it computes, one that is on its way. */
const BATCHES_PER_WORKER = 2;
/** How often a request is sent; a worker that ends on it every time may end because of it. */
const MAX_ATTEMPTS = 2;

/** How a request ends before its answer. */
export interface RequestControl {
  readonly signal: AbortSignal;
  /** Instead of the server's own. */
  readonly timeoutMs?: number;
}

interface Entry {
  readonly version: ModelVersion;
  /** Requests with the same are joined; null never. */
  readonly batchKey: string | null;
  readonly rows: number;
  readonly kind: 'predict' | 'generate';
  readonly inputs: readonly WireTensor[];
  readonly since: number;
  readonly resolve: (outputs: readonly WireTensor[]) => void;
  readonly reject: (error: unknown) => void;
  /** For a generation: runs it on a worker. */
  readonly run: ((worker: WorkerProcess, onStart: () => void) => Promise<void>) | null;
  /** Ends the deadline. */
  readonly onStart: () => void;
  attempts: number;
  isOver: boolean;
}

export interface DispatchEvents {
  readonly onBatch: (model: string, rows: number) => void;
}

export class Dispatcher {
  private readonly queues = new Map<ModelVersion, Entry[]>();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly pool: WorkerPool,
    private readonly options: Required<QueueOptions>,
    private readonly maxSequences: number,
    private readonly events: DispatchEvents,
  ) {}

  /** Requests that wait, by model. */
  waiting(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const [{model}, queue] of this.queues) counts.set(model, (counts.get(model) ?? 0) + queue.length);
    return counts;
  }

  /**
   * Computes the outputs for inputs that fit the version's signature.
   *
   * @throws {ServeError} 429 if too many wait, 503 without a worker, 504 at the deadline, 499 if the client has gone,
   *   500 if the model cannot compute it.
   */
  predict(
    version: ModelVersion,
    inputs: readonly WireTensor[],
    control: RequestControl,
  ): Promise<readonly WireTensor[]> {
    const rows = inputs[0].shape[0] ?? 1;
    const canJoin = version.info?.canBatch === true && rows < this.options.maxBatch;
    const batchKey = canJoin ? inputs.map(({shape}) => shape.slice(1).join('x')).join(';') : null;
    return this.enqueue(version, control, {kind: 'predict', batchKey, rows, inputs, run: null});
  }

  /**
   * Generates text.
   *
   * @param onText Pieces of text as they come. Once the first has come, there is no deadline any more, and the end of a
   *   worker is the end of the request.
   * @throws {ServeError} as `predict`; 400 for a prompt that is too long or cannot be encoded.
   */
  async generate(
    version: ModelVersion,
    request: GenerationRequest,
    onText: (text: string) => void,
    control: RequestControl,
  ): Promise<Generation> {
    let generation: Generation | null = null;
    let hasText = false;
    const stop = new AbortController();
    const run = async (worker: WorkerProcess, onStart: () => void) => {
      const take = (text: string) => {
        if (!hasText) onStart();
        hasText = true;
        onText(text);
      };
      try {
        const {key} = version;
        generation = await worker.ask('generate', {key, request}, {onText: take, signal: stop.signal});
      } catch (error) {
        if (!(error instanceof WorkerGone) || !hasText) throw error;
        throw new ServeError(503, 'worker-gone', 'the process that computed this ended amid the answer', 1);
      }
    };
    try {
      await this.enqueue(version, control, {kind: 'generate', batchKey: null, rows: 1, inputs: [], run});
    } finally {
      stop.abort(); // deadline or a client that went away: the worker stops too
    }
    return generation!;
  }

  /** Sends what can be sent. */
  pump(): void {
    let hasSent: boolean;
    do {
      hasSent = false;
      // One of each in turn, so that no model keeps the others waiting.
      for (const [version, queue] of [...this.queues]) {
        if (queue.length > 0 && this.sendNext(version, queue)) hasSent = true;
        if (queue.length === 0) this.queues.delete(version);
      }
    } while (hasSent);
  }

  private async enqueue(
    version: ModelVersion,
    {signal, timeoutMs = this.options.timeoutMs}: RequestControl,
    entry: Pick<Entry, 'kind' | 'batchKey' | 'rows' | 'inputs' | 'run'>,
  ): Promise<readonly WireTensor[]> {
    const queue = this.queues.get(version) ?? [];
    if (!this.pool.has(version.key)) {
      throw new ServeError(503, 'no-worker', 'the process that computes is being restarted: ask again', 1);
    }
    if (queue.length >= this.options.maxQueue) {
      const text = `${queue.length} requests wait for model "${version.model}": ask again later`;
      throw new ServeError(429, 'queue-full', text, 1);
    }
    version.running++;
    let give: (error: ServeError) => void = () => {};
    const timer = setTimeout(
      () => give(new ServeError(504, 'deadline', `there was no answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    const leave = () => give(new ServeError(499, 'cancelled', 'the client has gone'));
    try {
      return await new Promise<readonly WireTensor[]>((resolve, reject) => {
        const full: Entry = {
          ...entry,
          ...{version, resolve, reject, onStart: () => clearTimeout(timer)},
          ...{attempts: 0, isOver: false, since: performance.now()},
        };
        give = (error) => {
          full.isOver = true;
          const place = this.queues.get(version)?.indexOf(full) ?? -1;
          if (place >= 0) this.queues.get(version)!.splice(place, 1);
          reject(error);
        };
        if (signal.aborted) leave();
        else {
          signal.addEventListener('abort', leave, {once: true});
          queue.push(full);
          this.queues.set(version, queue);
          this.pump();
        }
      });
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', leave);
      version.running--;
    }
  }

  /** Sends the next batch or generation of a queue; false if it must wait. */
  private sendNext(version: ModelVersion, queue: Entry[]): boolean {
    const [first] = queue;
    const most = first.kind === 'predict' ? BATCHES_PER_WORKER : this.maxSequences;
    const worker = this.pool.freeWorker(version.key, first.kind, most);
    if (worker === undefined) return false;
    if (first.run !== null) {
      queue.shift();
      void this.runGeneration(worker, first, first.run);
      return true;
    }
    const batch = this.nextBatch(queue);
    const rows = batch.reduce((sum, entry) => sum + entry.rows, 0);
    const age = performance.now() - first.since;
    const {maxBatch, maxDelayMs} = this.options;
    if (first.batchKey !== null && first.attempts === 0 && rows < maxBatch && age < maxDelayMs) {
      this.wakeIn(maxDelayMs - age);
      return false;
    }
    for (const entry of batch) queue.splice(queue.indexOf(entry), 1);
    void this.runBatch(worker, version, batch);
    return true;
  }

  /** The first request, and those behind it that can be joined to it. One that was sent before goes alone. */
  private nextBatch(queue: readonly Entry[]): Entry[] {
    const [first] = queue;
    const batch = [first];
    if (first.batchKey === null || first.attempts > 0) return batch;
    let rows = first.rows;
    for (let i = 1; i < queue.length && rows < this.options.maxBatch; i++) {
      const entry = queue[i];
      const joins = entry.batchKey === first.batchKey && entry.attempts === 0;
      if (!joins || rows + entry.rows > this.options.maxBatch) continue;
      batch.push(entry);
      rows += entry.rows;
    }
    return batch;
  }

  private async runBatch(
    worker: WorkerProcess,
    version: ModelVersion,
    batch: readonly Entry[],
  ): Promise<void> {
    const counts = batch.map(({rows}) => rows);
    this.events.onBatch(
      version.model,
      counts.reduce((sum, rows) => sum + rows, 0),
    );
    try {
      const tensors = joinRows(batch.map((entry) => entry.inputs));
      const outputs = await worker.ask('predict', {key: version.key, tensors});
      const parts = splitRows(outputs, counts);
      batch.forEach((entry, i) => entry.resolve(parts[i]));
    } catch (error) {
      // One request of a batch may be what the model cannot compute: each alone tells.
      const isRetried = error instanceof WorkerGone || batch.length > 1;
      // From the last: each that is retried goes to the front, where the first must end up.
      for (const entry of [...batch].reverse()) this.failed(entry, error, isRetried);
    } finally {
      this.pump();
    }
  }

  private async runGeneration(
    worker: WorkerProcess,
    entry: Entry,
    run: NonNullable<Entry['run']>,
  ): Promise<void> {
    try {
      await run(worker, entry.onStart);
      entry.resolve([]);
    } catch (error) {
      this.failed(entry, error, error instanceof WorkerGone);
    } finally {
      this.pump();
    }
  }

  private failed(entry: Entry, error: unknown, isRetried: boolean): void {
    if (entry.isOver) return;
    if (!isRetried || ++entry.attempts >= MAX_ATTEMPTS) {
      entry.reject(error);
      return;
    }
    const queue = this.queues.get(entry.version) ?? [];
    queue.unshift(entry);
    this.queues.set(entry.version, queue);
  }

  private wakeIn(ms: number): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.pump();
    }, Math.ceil(ms));
  }
}
