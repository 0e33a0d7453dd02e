/** @file Ctrl-C and SIGTERM as an abort signal: work stops between two steps, and nothing is half-written. */
import {constants} from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Why work stopped: a signal from outside. */
export class Interruption extends Error {
  override name = 'AbortError';
  /** As shells count it: 130 after Ctrl-C. */
  readonly exitCode: number;

  constructor(signal: (typeof SIGNALS)[number]) {
    super(`stopped by ${signal}`);
    this.exitCode = 128 + constants.signals[signal];
  }
}

/**
 * Runs `work` with a signal that aborts at the first Ctrl-C; a second one ends the process as usual.
 *
 * @throws {Interruption} If work throws the reason of its signal.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const abort = (name: (typeof SIGNALS)[number]) => {
    controller.abort(new Interruption(name));
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
