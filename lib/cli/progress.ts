/**
 * @file Progress of long work on stderr: one line that is rewritten on a terminal, a line every few seconds
 * elsewhere (logs, pipes).
 */
import type {Progress} from '../calibration/run.js';

/** Between two lines where stderr is no terminal. */
const LINE_INTERVAL_MS = 5000;
/** Between two rewrites of the line on a terminal. */
const REWRITE_INTERVAL_MS = 100;

/** Something that progress can be written to; `process.stderr` is one. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Where progress goes and what time it is. */
export interface ProgressOutput {
  readonly stream?: ProgressStream;
  /** In milliseconds, from any start. */
  readonly now?: () => number;
}

/**
 * Runs a piece of work and shows how far it is; the last step is always shown, and the line is ended whether the
 * work succeeds or fails.
 *
 * @param what What is being done: `calibrating`.
 * @param unit What is counted: `batches`.
 * @param work Calls its argument after every step.
 * @returns What `work` returns.
 */
export async function withProgress<T>(
  what: string,
  unit: string,
  work: (onProgress: (progress: Progress) => void) => Promise<T>,
  {stream = process.stderr, now = () => performance.now()}: ProgressOutput = {},
): Promise<T> {
  const terminal = stream.isTTY === true;
  const interval = terminal ? REWRITE_INTERVAL_MS : LINE_INTERVAL_MS;
  const start = now();
  let shownAt = terminal ? -Infinity : start;
  let shown: Progress | undefined;
  let latest: Progress | undefined;
  const show = (progress: Progress) => {
    const line = `${what}: ${describeProgress(progress, unit, (now() - start) / 1000)}`;
    const width = (stream.columns ?? Infinity) - 1; // a line that wraps could not be rewritten
    stream.write(terminal ? `\r\x1b[K${line.slice(0, width)}` : `${line}\n`);
    shownAt = now();
    shown = progress;
  };
  try {
    const result = await work((progress) => {
      latest = progress;
      if (now() - shownAt >= interval) show(progress);
    });
    if (latest !== shown) show(latest!);
    return result;
  } finally {
    if (terminal && shown !== undefined) stream.write('\n');
  }
}

/** `3/16 batches, 37.9 a second, 12 s left`. */
function describeProgress({done, total}: Progress, unit: string, seconds: number): string {
  const rate = done / Math.max(seconds, 1e-3);
  const speed = `${rate < 1 ? rate.toPrecision(2) : rate.toFixed(1)} a second`;
  if (total === null) return `${done} ${unit}, ${speed}`;
  const left = done === total ? '' : `, ${describeDuration((total - done) / rate)} left`;
  return `${done}/${total} ${unit}, ${speed}${left}`;
}

function describeDuration(seconds: number): string {
  if (seconds < 120) return `${Math.ceil(seconds)} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
