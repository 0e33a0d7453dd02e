/** @file Rate and latency of each model's requests over the last seconds, in bounded memory. */

/** Of one model. */
export interface RequestFigures {
  /** Since the server's start. */
  readonly total: number;
  /** In the window. */
  readonly perSecond: number;
  /** Answered with a status of 400 or more, in the window. */
  readonly refusedPerSecond: number;
  /** Milliseconds to the end of the answer, to a tenth; null without a request in the window. */
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
}

/** How far back figures look. */
const WINDOW_SECONDS = 10;

/** Latencies are counted in buckets, each this much wider than the one before. */
const RATIO = 1.1;
const FIRST_MS = 0.1;
/** The last one is above two minutes. */
const BUCKETS = 150;

interface Second {
  readonly second: number;
  count: number;
  refused: number;
  readonly buckets: Float64Array;
}

export class RecentRequests {
  private readonly models = new Map<string, {total: number; seconds: Second[]}>();

  /** @param now Milliseconds from any start. */
  constructor(private readonly now: () => number = () => performance.now()) {}

  /** A request was answered. */
  add(model: string, status: number, ms: number): void {
    const own = this.models.get(model) ?? {total: 0, seconds: []};
    this.models.set(model, own);
    const second = Math.floor(this.now() / 1000);
    let last = own.seconds.at(-1);
    if (last?.second !== second) {
      last = {second, count: 0, refused: 0, buckets: new Float64Array(BUCKETS)};
      own.seconds.push(last);
      if (own.seconds.length > WINDOW_SECONDS) own.seconds.shift();
    }
    own.total++;
    last.count++;
    if (status >= 400) last.refused++;
    last.buckets[bucketOf(ms)]++;
  }

  /** The figures of a model over the seconds that are over. */
  of(model: string): RequestFigures {
    const {total, seconds} = this.models.get(model) ?? {total: 0, seconds: []};
    const current = Math.floor(this.now() / 1000);
    const recent = seconds.filter(({second}) => second < current && second >= current - WINDOW_SECONDS);
    const sum = (pick: (second: Second) => number) =>
      recent.reduce((total, second) => total + pick(second), 0);
    const count = sum(({count}) => count);
    const quantile = (q: number) => {
      let left = Math.ceil(q * count);
      for (let i = 0; i < BUCKETS; i++) {
        left -= sum(({buckets}) => buckets[i]);
        if (left <= 0) return FIRST_MS * RATIO ** i;
      }
      return FIRST_MS * RATIO ** BUCKETS;
    };
    return {
      total,
      perSecond: count / WINDOW_SECONDS,
      refusedPerSecond: sum(({refused}) => refused) / WINDOW_SECONDS,
      p50Ms: count === 0 ? null : quantile(0.5),
      p99Ms: count === 0 ? null : quantile(0.99),
    };
  }
}

/** The bucket that ends at or above a latency. */
function bucketOf(ms: number): number {
  return Math.min(BUCKETS - 1, Math.max(0, Math.ceil(Math.log(ms / FIRST_MS) / Math.log(RATIO))));
}
