/** @file What the kernels in WebAssembly use of Node where they run there, found without an import, which bundles for pages would miss. */

/** What is needed of a worker of Node. */
interface NodeWorker {
  on(event: 'message' | 'error' | 'exit', listener: (value: never) => void): unknown;
  removeAllListeners(event: 'exit'): unknown;
  postMessage(message: unknown): void;
  ref(): void;
  unref(): void;
  terminate(): Promise<number>;
}

type NodeWorkerClass = new (source: string, options: {eval: true}) => NodeWorker;

/** Node's class of workers; undefined in a page. */
export function nodeWorkerClass(): NodeWorkerClass | undefined {
  if (typeof process !== 'object') return undefined;
  return process.getBuiltinModule?.('node:worker_threads').Worker as unknown as NodeWorkerClass | undefined;
}

/** Cores that this program may use. */
export function availableCores(): number {
  const os = typeof process === 'object' ? process.getBuiltinModule?.('node:os') : undefined;
  return os?.availableParallelism() ?? globalThis.navigator.hardwareConcurrency;
}
