/** @file Answers counted by kind of request: statuses, latencies, and what was wrong. */
import {quantile} from './latencies.js';
import type {Incoming} from './client.js';

/** A row of the report. */
export interface KindReport {
  readonly kind: string;
  readonly sent: number;
  readonly statuses: Readonly<Record<string, number>>;
  readonly wrong: number;
  readonly p50: number;
  readonly p99: number;
}

/** Told in words; more than that are only counted. */
const MAX_TOLD = 20;

export class Tally {
  private readonly entries = new Map<string, {statuses: Map<number, number>; wrong: number; ms: number[]}>();
  private readonly told: string[] = [];
  private wrong = 0;

  /** @param problem What is wrong with the answer, or null; no answer at all is wrong anyway. */
  add(kind: string, {status, bytes, ms}: Incoming, problem: string | null): void {
    const entry = this.entries.get(kind) ?? {statuses: new Map<number, number>(), wrong: 0, ms: []};
    this.entries.set(kind, entry);
    entry.statuses.set(status, (entry.statuses.get(status) ?? 0) + 1);
    entry.ms.push(ms);
    const said = status === 0 ? `no answer: ${bytes.toString()}` : problem;
    if (said === null) return;
    entry.wrong++;
    this.wrong++;
    if (this.told.length < MAX_TOLD) this.told.push(`${kind}: ${said}`);
  }

  /** What was wrong, in words. */
  get failures(): readonly string[] {
    const rest = this.wrong - this.told.length;
    return rest === 0 ? this.told : [...this.told, `and ${rest} more`];
  }

  kinds(): KindReport[] {
    return [...this.entries].map(([kind, {statuses, wrong, ms}]) => ({
      kind,
      sent: ms.length,
      statuses: Object.fromEntries(statuses),
      wrong,
      p50: quantile(ms, 0.5),
      p99: quantile(ms, 0.99),
    }));
  }
}
