/** @file Memory of a server under load: resident bytes of front and workers, tensors of the workers. */
import {median} from '../../lib/eval/latency.js';
import type {Resources, ServerProcess} from './server-process.js';

/** Megabytes, medians; `early` and `late` are the first and the last third of the calm part. */
export interface MemoryReport {
  readonly front: {readonly start: number; readonly early: number; readonly late: number};
  readonly workers: {readonly early: number; readonly late: number};
  readonly tensors: {readonly start: number; readonly end: number};
  readonly failures: readonly string[];
}

const INTERVAL_MS = 500;
/** Pings refresh what the front knows of its workers once a second. */
const SETTLE_MS = 3000;
/** Growth from `early` to `late` that is no leak: share, and bytes below which nothing is said. */
const FLAT_SHARE = 0.1;
const FLAT_BYTES = 24 * 1024 ** 2;

export class MemoryWatch {
  private samples: Resources[] = [];
  private calmFrom = 0;
  private readonly timer: NodeJS.Timeout;

  private constructor(
    private readonly server: ServerProcess,
    private readonly fill: () => Promise<void>,
    private readonly idle: Resources,
  ) {
    this.timer = setInterval(() => void this.look(), INTERVAL_MS);
  }

  /**
   * Begins to watch a server that nobody asks.
   *
   * @param fill Makes the server keep as much for later requests as it ever does.
   */
  static async start(server: ServerProcess, fill: () => Promise<void>): Promise<MemoryWatch> {
    await fill();
    await sleep(SETTLE_MS);
    return new MemoryWatch(server, fill, await server.resources());
  }

  /** From now on nothing is killed or loaded. */
  calm(): void {
    this.calmFrom = this.samples.length;
  }

  /** Ends watching, once the server is idle again. */
  async report(): Promise<MemoryReport> {
    clearInterval(this.timer);
    await this.fill();
    await sleep(SETTLE_MS);
    const end = await this.server.resources();
    const calm = this.samples.slice(this.calmFrom);
    const third = Math.max(1, Math.floor(calm.length / 3));
    const [early, late] = [calm.slice(0, third), calm.slice(-third)];
    const front = {start: this.idle.front, early: frontOf(early), late: frontOf(late)};
    const workers = {early: workersOf(early), late: workersOf(late)};
    const tensors = {start: tensorsOf(this.idle), end: tensorsOf(end)};
    const failures = [
      ...grown('the front', front),
      ...grown('the largest worker', workers),
      ...(tensors.start === tensors.end
        ? []
        : [`the workers hold ${tensors.end} tensors when idle again, ${tensors.start} before`]),
    ];
    return {front: inMegabytes(front), workers: inMegabytes(workers), tensors, failures};
  }

  private async look(): Promise<void> {
    try {
      this.samples.push(await this.server.resources());
    } catch {
      // Without an answer there is no sample; requests without answers are counted elsewhere.
    }
  }
}

function frontOf(samples: readonly Resources[]): number {
  return median(samples.map(({front}) => front));
}

function workersOf(samples: readonly Resources[]): number {
  return median(samples.map(({workers}) => Math.max(...[...workers.values()].map(({bytes}) => bytes))));
}

function tensorsOf({workers}: Resources): number {
  return [...workers.values()].reduce((sum, {tensors}) => sum + tensors, 0);
}

function grown(what: string, {early, late}: {readonly early: number; readonly late: number}): string[] {
  if (late - early <= Math.max(FLAT_BYTES, FLAT_SHARE * early)) return [];
  return [`${what} grew from ${megabytes(early)} to ${megabytes(late)} MB while nothing changed`];
}

function inMegabytes<T extends Readonly<Record<string, number>>>(bytes: T): T {
  return Object.fromEntries(Object.entries(bytes).map(([name, value]) => [name, megabytes(value)])) as T;
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1e5) / 10;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
