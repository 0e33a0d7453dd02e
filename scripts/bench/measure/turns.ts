/**
 * @file Timing in turns: each side once a round, so that the machine's mood meets all alike, until the medians say
 * something. A machine on which something else runs is told, not averaged away.
 */
import {median} from '../../../lib/eval/latency.js';

/** What is timed: one turn, and its figure. */
export type Turn = () => Promise<number>;

export interface TurnOptions {
  /** Rounds that count, at the least; 6 by default, of which the interval is that from the least to the greatest. */
  readonly least?: number;
  /** Rounds are begun for so long; 60 by default. */
  readonly seconds?: number;
  /** Half the width of a median's interval over the median at which it is settled; 0.05 by default. */
  readonly within?: number;
  /** Called after each round, with how far the worst median is from settled. */
  readonly onRound?: (round: {readonly done: number; readonly spread: number}) => void;
}

/** The figures of one side. */
export interface Settled {
  readonly median: number;
  /** Between which the median lies, in 92 % of cases or more. */
  readonly interval: readonly [number, number];
  readonly settled: boolean;
}

/**
 * Times the sides in turns until every median is settled or the time is up. The first round warms up and does not count.
 *
 * @returns By side.
 */
export async function timeInTurns(
  sides: readonly Turn[],
  {least = 6, seconds = 60, within = 0.05, onRound}: TurnOptions = {},
): Promise<Settled[]> {
  for (const side of sides) await side();
  const figures = sides.map((): number[] => []);
  const start = performance.now();
  for (let done = 1; ; done++) {
    for (const [i, side] of sides.entries()) figures[i].push(await side());
    const spread = Math.max(...figures.map((values) => spreadOf(values)));
    onRound?.({done, spread});
    if (done >= least && (spread <= within || performance.now() - start >= 1000 * seconds)) break;
  }
  return figures.map((values) => ({
    median: median(values),
    interval: medianInterval(values),
    settled: spreadOf(values) <= within,
  }));
}

/**
 * Between which values the median of what was drawn lies, by the ranks of a sign test: no shape of the noise is assumed.
 *
 * @param values At least one.
 */
export function medianInterval(values: readonly number[]): readonly [number, number] {
  const sorted = [...values].sort((a, b) => a - b);
  const {length} = sorted;
  const rank = Math.max(0, Math.floor((length - 1.96 * Math.sqrt(length)) / 2));
  return [sorted[rank], sorted[length - 1 - rank]];
}

function spreadOf(values: readonly number[]): number {
  const [low, high] = medianInterval(values);
  return (high - low) / 2 / median(values);
}
