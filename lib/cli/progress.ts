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
  write(text: string): unknown;
}

/**
 * A reporter for one piece of work.
 *
 * @param what What is being done: `calibrating`.
 * @param unit What is counted: `batches`.
 * @returns To be called after every step.
 */
export function reportProgress(
  what: string,
  unit: string,
  stream: ProgressStream = process.stderr,
  now: () => number = () => performance.now(),
): (progress: Progress) => void {
  const start = now();
  let last = stream.isTTY === true ? -Infinity : start;
  return ({done, total}) => {
    const time = now();
    const finished = done === total;
    const interval = stream.isTTY === true ? REWRITE_INTERVAL_MS : LINE_INTERVAL_MS;
    if (!finished && time - last < interval) return;
    last = time;
    const rate = done / Math.max((time - start) / 1000, 1e-3);
    const left = total === null || finished ? '' : `, ${((total - done) / rate).toFixed(0)} s left`;
    const line = `${what}: ${done}${total === null ? '' : `/${total}`} ${unit}, ${rate.toFixed(1)} a second${left}`;
    stream.write(stream.isTTY === true ? `\r\x1b[K${line}${finished ? '\n' : ''}` : `${line}\n`);
  };
}
