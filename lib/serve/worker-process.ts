/**
 * @file The front's side of one worker process: questions and answers by number, pings that show a hang, and the end
 * of the process, which fails whatever it was asked. Does not restart it: worker-pool.ts does.
 */
import {spawn, type ChildProcess} from 'node:child_process';
import type {Socket} from 'node:net';
import {fileURLToPath} from 'node:url';
import {ServeError, receivedError} from './http-errors.js';
import {FrameReader, writeFrame} from './frames.js';
import {
  CHANNEL_FD,
  type ActualSparsity,
  type CallKind,
  type Calls,
  type FromWorker,
  type LoadedInfo,
  type ToWorker,
  type WorkerHealth,
  type WorkerSettings,
} from './messages.js';

/** The entry is TypeScript where this file is: in a clone under tsx, which `execArgv` loads. */
const ENTRY = fileURLToPath(
  new URL(`./worker/main${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url),
);
const PING_INTERVAL_MS = 1000;
/** Starting and loading read gigabytes and compile: what does not react for so long hangs there too. */
const LOAD_HANG_MS = 600_000;
/** A worker that is to end and has not by then, in the middle of a computation say, is killed. */
const END_MS = 5000;

/** The worker's process ended before it answered. */
export class WorkerGone extends ServeError {
  override name = 'WorkerGone';
  constructor() {
    super(503, 'worker-gone', 'the process that computed this ended; it is being restarted, ask again', 1);
  }
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  readonly onText: ((text: string) => void) | undefined;
}

/** What is told of a worker as it happens. */
export interface WorkerEvents {
  readonly onStarted: () => void;
  readonly onSparsity: (key: string, sparsity: ActualSparsity) => void;
  /** @param reason Exit code, signal, or `hang`. */
  readonly onExit: (reason: string) => void;
}

export class WorkerProcess {
  /** By key, what it has loaded and warmed up. */
  readonly loaded = new Map<string, LoadedInfo>();
  /** Keys whose loading has not ended. */
  readonly loading = new Set<string>();
  /** Batches, and generations, that it has not answered. */
  readonly busy = {predict: 0, generate: 0};
  health: WorkerHealth = {residentBytes: 0, tensors: 0, cacheBytes: 0};
  isAlive = true;

  private readonly child: ChildProcess;
  private readonly channel: Socket;
  private readonly pending = new Map<number, Pending>();
  private readonly pings: NodeJS.Timeout;
  private lastSign = performance.now();
  private lastCheck = performance.now();
  private isStarted = false;
  private lastId = 0;
  private endReason: string | null = null;
  private readonly ended: Promise<void>;

  /**
   * Starts the process.
   *
   * @param hangMs A worker that has loaded its models and says nothing for so long is killed.
   * @param entry The module that the process runs.
   */
  constructor(
    settings: WorkerSettings,
    private readonly hangMs: number,
    private readonly events: WorkerEvents,
    entry = ENTRY,
  ) {
    this.child = spawn(process.execPath, [...process.execArgv, entry, JSON.stringify(settings)], {
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    });
    this.channel = this.child.stdio[CHANNEL_FD] as Socket;
    const reader = new FrameReader<FromWorker>((message) => this.receive(message));
    this.channel.on('data', (bytes: Buffer) => reader.read(bytes));
    this.channel.on('error', (error) => this.kill(error.message));
    this.child.on('error', (error) => this.end(error.message));
    this.child.on('exit', (code, signal) => this.end(this.endReason ?? signal ?? `exit code ${code}`));
    this.ended = new Promise((resolve) => this.child.once('error', resolve).once('exit', resolve));
    this.pings = setInterval(() => this.checkHealth(), PING_INTERVAL_MS);
  }

  /** The process id. */
  get pid(): number | undefined {
    return this.child.pid;
  }

  /**
   * Asks the worker.
   *
   * @param onText For `generate`: pieces of text as they come.
   * @param signal For `generate`: tells the worker to stop, which then answers with an error.
   * @throws {WorkerGone} if the process ends first; {ServeError} what the worker could not do.
   */
  async ask<K extends CallKind>(
    kind: K,
    message: Calls[K]['ask'],
    {onText, signal}: {readonly onText?: (text: string) => void; readonly signal?: AbortSignal} = {},
  ): Promise<Calls[K]['answer']> {
    if (!this.isAlive) throw new WorkerGone();
    const id = ++this.lastId;
    const cancel = () => this.send({kind: 'cancel', id});
    const counted: CallKind = kind;
    if (counted === 'predict' || counted === 'generate') this.busy[counted]++;
    try {
      return await new Promise<Calls[K]['answer']>((resolve, reject) => {
        this.pending.set(id, {resolve: resolve as Pending['resolve'], reject, onText});
        this.send({...message, kind, id} as unknown as ToWorker);
        signal?.addEventListener('abort', cancel, {once: true});
      });
    } finally {
      signal?.removeEventListener('abort', cancel);
      if (counted === 'predict' || counted === 'generate') this.busy[counted]--;
    }
  }

  /** Loads a model; it is in `loaded` from then on. */
  async load(key: string, path: string): Promise<LoadedInfo> {
    this.loading.add(key);
    try {
      const info = await this.ask('load', {key, path});
      this.loaded.set(key, info);
      return info;
    } finally {
      // If the process ended, what it was loading stays to be read.
      if (this.isAlive) this.loading.delete(key);
    }
  }

  /** Frees a model that nothing is asked of any more. */
  async unload(key: string): Promise<void> {
    if (!this.loaded.delete(key)) return;
    await this.ask('unload', {key}).catch(() => null); // a process that ended has freed it
  }

  /**
   * Ends the process: it exits by itself once its channel closes, as a process must to leave what it writes at its exit, and
   * is killed if it does not, or has not even started.
   *
   * @returns Once it has ended.
   */
  async close(): Promise<void> {
    this.endReason ??= 'closed';
    if (!this.isStarted) this.kill();
    this.channel.end();
    const late = setTimeout(() => this.kill(), END_MS);
    await this.ended;
    clearTimeout(late);
  }

  /** Ends the process, now. */
  kill(reason = 'killed'): void {
    this.endReason ??= reason;
    this.child.kill('SIGKILL');
  }

  private send(message: ToWorker): void {
    if (this.channel.writable) writeFrame(this.channel, message);
  }

  private receive(message: FromWorker): void {
    this.lastSign = performance.now();
    switch (message.kind) {
      case 'started':
        this.isStarted = true;
        this.events.onStarted();
        return;
      case 'sparsity':
        this.events.onSparsity(message.key, message.sparsity);
        return;
      case 'text':
        this.pending.get(message.id)?.onText?.(message.text);
        return;
      case 'answer':
        this.pending.get(message.id)?.resolve(message.value);
        break;
      case 'tensors':
        this.pending.get(message.id)?.resolve(message.tensors);
        break;
      case 'error':
        this.pending.get(message.id)?.reject(receivedError(message.error));
        break;
    }
    this.pending.delete(message.id);
  }

  private checkHealth(): void {
    const isComputing = this.isStarted && this.loading.size === 0;
    const limit = isComputing ? this.hangMs : Math.max(this.hangMs, LOAD_HANG_MS);
    const now = performance.now();
    // The front itself stood still (paused with its container, say): what the worker said meanwhile is still unread.
    if (now - this.lastCheck > 2 * PING_INTERVAL_MS) this.lastSign = now;
    this.lastCheck = now;
    if (now - this.lastSign > limit) {
      this.kill('hang');
      return;
    }
    void this.ask('ping', {}).then(
      (health) => (this.health = health),
      () => undefined, // the end is told by onExit
    );
  }

  private end(reason: string): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    clearInterval(this.pings);
    this.loaded.clear();
    const gone = [...this.pending.values()];
    this.pending.clear();
    this.events.onExit(reason);
    for (const {reject} of gone) reject(new WorkerGone());
  }
}
