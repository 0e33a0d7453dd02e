/**
 * @file Threads for an instance on shared memory: workers of the page or of Node, each with an instance of its own over the same
 * memory. Those of the pool wait for tasks in the module; a caller makes the calls that take long, one after another, so that the
 * event loop of the thread that asks goes on.
 */
import {SparsifyError} from '../../errors.js';
import {nodeWorkerClass} from './in-node.js';
import type {ThreadPlace, WasmInstance} from './instance.js';

/** What a worker is given first. */
interface ThreadTask extends ThreadPlace {
  readonly role: 'pool' | 'caller';
}

/** Calls of the module that a caller makes. */
export type LongCall = 'decoder_append' | 'decoder_step';

/** A call on its way to the caller, and its answer. */
interface CallMessage {
  readonly id: number;
  readonly name: LongCall;
  readonly args: readonly number[];
}
interface AnswerMessage {
  readonly id: number;
  readonly problem: string | null;
}

/** What a worker says first, when it has an instance. */
interface ReadyMessage {
  readonly isReady: true;
}

/** What this file needs of a worker, of a page or of Node. */
interface Thread {
  /** Rejects if it ends before. */
  readonly ready: Promise<void>;
  post(message: ThreadTask | CallMessage): void;
  /** Says whether a program of Node goes on as long as the thread does. */
  keepProgram(keep: boolean): void;
  end(): void;
}

/**
 * The program of a worker, in plain JavaScript: it is handed over as text, so that there is no file to be found. It does what
 * `instantiate` and `takeNext` of instance.ts do.
 */
const THREAD_SOURCE = `
const threads = typeof process === 'object' && process.getBuiltinModule?.('node:worker_threads');
const port = threads ? threads.parentPort : self;
const listen = (handle) => threads ? port.on('message', handle) : (port.onmessage = ({data}) => handle(data));
let exports, memory, stack, stackEnd;
function start(task) {
  memory = task.memory;
  stackEnd = task.stackEnd;
  stack = new WebAssembly.Global({value: 'i32', mutable: true}, stackEnd);
  const i32 = (value) => new WebAssembly.Global({value: 'i32'}, value);
  const take = (size) => {
    if (task.nextPlace === 0) return 0;
    const place = task.nextPlace / 4;
    const start = new Uint32Array(memory.buffer)[place];
    const end = start + Math.ceil((size + 16) / 64) * 64;
    const missing = Math.ceil(end / 65536) - memory.buffer.byteLength / 65536;
    if (missing > 0) {
      try { memory.grow(missing); } catch { return 0; }
    }
    new Uint32Array(memory.buffer)[place] = end;
    return start;
  };
  exports = new WebAssembly.Instance(task.module, {
    env: {
      memory,
      __indirect_function_table: new WebAssembly.Table({initial: task.tableSize + 1, element: 'anyfunc'}),
      __stack_pointer: stack,
      __memory_base: i32(task.data),
      __table_base: i32(1),
    },
    host: {
      more_memory: take,
      fail(text, length) {
        throw new Error(new TextDecoder().decode(new Uint8Array(memory.buffer, text >>> 0, length).slice()));
      },
    },
  }).exports;
  exports.__wasm_init_tls(task.variables);
  port.postMessage({isReady: true});
  if (task.role === 'pool') exports.pool_join();
}
listen((message) => {
  if (message.role !== undefined) return start(message);
  const {id, name, args} = message;
  let problem = null;
  try {
    exports[name](...args);
  } catch (error) {
    problem = String(error?.message ?? error);
    stack.value = stackEnd; // an error leaves the module without putting it back
  }
  port.postMessage({id, problem});
});
`;

/** Threads of one instance. */
export class InstanceThreads {
  /** Settles when all threads compute, or one of them cannot be started. */
  readonly ready: Promise<void>;
  private readonly pool: readonly Thread[];
  private readonly caller: Thread;
  private readonly waiting = new Map<number, {resolve: () => void; reject: (error: Error) => void}>();
  private nextId = 0;
  private lost: Error | undefined;

  /**
   * @param threads That compute together, the caller included; 1 or more.
   * @throws {Error} If no worker can be started here.
   */
  constructor(instance: WasmInstance, threads: number) {
    const fail = (reason: string) => {
      this.lose(reason);
    };
    const task = (role: ThreadTask['role']): ThreadTask => ({...instance.threadPlace(), role});
    this.caller = startThread((answer) => this.answer(answer), fail);
    this.caller.post(task('caller'));
    this.pool = Array.from({length: threads - 1}, () => startThread(() => {}, fail));
    for (const thread of this.pool) thread.post(task('pool'));
    instance.exports.pool_set_threads(threads);
    this.ready = Promise.all([this.caller, ...this.pool].map(({ready}) => ready)).then(() => undefined);
  }

  /**
   * Makes a call on the caller's thread, behind those that were asked for before.
   *
   * @throws {Error} What the module says; {SparsifyError} `lost-worker` if a thread has ended.
   */
  call(name: LongCall, args: readonly number[]): Promise<void> {
    if (this.lost !== undefined) return Promise.reject(this.lost);
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, {resolve, reject});
      this.caller.keepProgram(true);
      this.caller.post({id, name, args});
    });
  }

  private answer({id, problem}: AnswerMessage): void {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    if (this.waiting.size === 0) this.caller.keepProgram(false);
    if (problem === null) waiting?.resolve();
    else waiting?.reject(new Error(problem));
  }

  /** A thread that is missing may hold a task that the others wait for. */
  private lose(reason: string): void {
    this.lost ??= new SparsifyError(
      'lost-worker',
      `a worker that decodes has ended (${reason}): load the model again; if that repeats, the device lacks memory`,
    );
    for (const {reject} of this.waiting.values()) reject(this.lost);
    this.waiting.clear();
    for (const thread of [this.caller, ...this.pool]) thread.end();
  }
}

/** The workers of the pool alone, for calls that the current thread makes itself. */
export function startPool(instance: WasmInstance, threads: number): void {
  // A worker that is lost leaves its tasks to the others, but for one that it has begun.
  const pool = Array.from({length: threads - 1}, () =>
    startThread(
      () => {},
      () => {},
    ),
  );
  for (const thread of pool) thread.post({...instance.threadPlace(), role: 'pool'});
  instance.exports.pool_set_threads(threads);
}

/** A thread's first message, and what comes afterwards. */
function beginning(answer: (message: AnswerMessage) => void, fail: (reason: string) => void) {
  let isReady = (): void => undefined;
  let isLost = (_: Error): void => undefined;
  const ready = new Promise<void>((resolve, reject) => {
    isReady = resolve;
    isLost = reject;
  });
  ready.catch(() => {}); // told to who waits for it
  return {
    ready,
    hear: (message: AnswerMessage | ReadyMessage) => ('isReady' in message ? isReady() : answer(message)),
    lose: (reason: string) => {
      isLost(new Error(reason));
      fail(reason);
    },
  };
}

/** Of the program of workers, in a page; its fragment tells a reader of the browser's list of workers what they are. */
let threadUrl: string | undefined;

function startThread(answer: (message: AnswerMessage) => void, fail: (reason: string) => void): Thread {
  const {ready, hear, lose} = beginning(answer, fail);
  const InNode = nodeWorkerClass();
  if (InNode !== undefined) {
    const worker = new InNode(THREAD_SOURCE, {eval: true});
    worker.on('message', hear);
    worker.on('error', ({message}: Error) => lose(message));
    worker.on('exit', () => lose('it was ended'));
    // A program goes on until its threads have started, and then as long as it waits for an answer.
    void ready.then(() => worker.unref()).catch(() => undefined);
    return {
      ready,
      post: (message) => worker.postMessage(message),
      keepProgram: (keep) => (keep ? worker.ref() : worker.unref()),
      end: () => {
        worker.removeAllListeners('exit');
        void worker.terminate();
      },
    };
  }
  threadUrl ??= `${URL.createObjectURL(new Blob([THREAD_SOURCE], {type: 'text/javascript'}))}#decoder-thread`;
  const worker = new Worker(threadUrl);
  worker.onmessage = ({data}: MessageEvent<AnswerMessage | ReadyMessage>) => hear(data);
  worker.onerror = (event) => lose(event.message || 'it could not be started'); // without a message where a policy forbids it
  return {
    ready,
    post: (message) => worker.postMessage(message),
    keepProgram: () => undefined,
    end: () => worker.terminate(),
  };
}
