/**
 * @file Progress of long work on stderr: one line that is rewritten on a terminal, a line every few seconds
 * elsewhere (logs, pipes).
 */
import type {Progress} from '../calibration/model-batches.js';
import {withoutCredentials} from '../io/files/url-credentials.js';

/** Between two lines where stderr is no terminal. */
const LINE_INTERVAL_MS = 5000;
/** Between two rewrites of the line on a terminal. */
const REWRITE_INTERVAL_MS = 100;

/** Something that progress can be written to; `process.stderr` is one. */
interface ProgressStream {
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
  output: ProgressOutput = {},
): Promise<T> {
  const shown = withoutCredentials(what); // it may name a model by its URL
  return withStages((onProgress) => work((progress) => onProgress(shown, unit, progress)), output);
}

/**
 * As `withProgress`, for work in stages, each with a line of its own.
 *
 * @param work Calls its argument after every step, with what is being done and what is counted.
 */
export async function withStages<T>(
  work: (onProgress: (what: string, unit: string, progress: Progress) => void) => Promise<T>,
  output: ProgressOutput = {},
): Promise<T> {
  const first = new ProgressLine(output); // whose time begins with the work
  const stages: {readonly what: string; readonly line: ProgressLine}[] = [];
  try {
    const result = await work((what, unit, progress) => {
      if (stages.at(-1)?.what !== what) {
        stages.at(-1)?.line.finish();
        stages.at(-1)?.line.end();
        stages.push({what, line: stages.length === 0 ? first : new ProgressLine(output)});
      }
      stages.at(-1)!.line.report(what, unit, progress);
    });
    stages.at(-1)?.line.finish();
    return result;
  } finally {
    stages.at(-1)?.line.end();
  }
}

/** One line, rewritten or repeated. */
class ProgressLine {
  private readonly stream: ProgressStream;
  private readonly now: () => number;
  private readonly isTerminal: boolean;
  private readonly start: number;
  private shownAt: number;
  private latest: string | null = null;
  private shown: string | null = null;

  constructor({stream = process.stderr, now = () => performance.now()}: ProgressOutput) {
    this.stream = stream;
    this.now = now;
    this.isTerminal = stream.isTTY === true;
    this.start = now();
    this.shownAt = this.isTerminal ? -Infinity : this.start;
  }

  report(what: string, unit: string, progress: Progress): void {
    const now = this.now();
    this.latest = `${what}: ${describeProgress(progress, unit, (now - this.start) / 1000)}`;
    if (now - this.shownAt >= (this.isTerminal ? REWRITE_INTERVAL_MS : LINE_INTERVAL_MS)) this.show();
  }

  /** Shows the last step. */
  finish(): void {
    if (this.latest !== this.shown) this.show();
  }

  /** Ends a line that was rewritten. */
  end(): void {
    if (this.isTerminal && this.shown !== null) this.stream.write('\n');
  }

  private show(): void {
    const line = this.latest!;
    const width = (this.stream.columns ?? Infinity) - 1; // a line that wraps could not be rewritten
    this.stream.write(this.isTerminal ? `\r\x1b[K${line.slice(0, width)}` : `${line}\n`);
    this.shownAt = this.now();
    this.shown = line;
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
