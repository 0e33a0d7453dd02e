/** @file Ctrl-C and SIGTERM as an abort signal: work stops between two steps, and nothing is half-written. */

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Runs `work` with a signal that aborts at the first Ctrl-C; a second one ends the process as usual. */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const abort = () => {
    controller.abort();
    stopListening();
  };
  const stopListening = () => SIGNALS.forEach((name) => process.off(name, abort));
  SIGNALS.forEach((name) => process.on(name, abort));
  try {
    return await work(controller.signal);
  } finally {
    stopListening();
  }
}
