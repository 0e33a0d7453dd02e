/**
 * @file The mean sparsity that a target means, found by measuring as few candidates as will do. Loss and speed both grow
 * with the sparsity; near a loss of some per cent, its logarithm is nearly a line over the log odds of the sparsity.
 */
import {SparsifyError} from '../errors.js';
import type {AllocationTarget} from '../metadata/allocation.js';
import type {MeasuredLoss, MeasuredSpeed} from './measures.js';

/** What was measured of a candidate; null where it was not asked for. */
export interface Candidate {
  readonly sparsity: number;
  readonly loss: MeasuredLoss | null;
  readonly speed: MeasuredSpeed | null;
}

/** Measures candidates. */
export interface CandidateMeasures {
  /** @param isClear Whether a loss of which a part was measured is known well enough. */
  loss(sparsity: number, isClear: (loss: MeasuredLoss) => boolean): Promise<MeasuredLoss>;
  speed(sparsity: number): Promise<MeasuredSpeed>;
}

/** Where the search may go. */
export interface SearchRange {
  readonly least: number;
  readonly most: number;
  /** Where the speed search starts: the sparsity that the times of the layers predict, if they do. */
  readonly speedGuess?: number;
}

export interface Found {
  readonly sparsity: number;
  /** Whether every part of the target is met. */
  readonly met: boolean;
  /** All that was measured, by rising sparsity. */
  readonly candidates: readonly Candidate[];
}

/**
 * A loss counts as kept if it is so many standard errors below the most that is allowed: then it is kept on nine of ten
 * other samples too.
 */
const LOSS_MARGIN = 1.3;
/** A loss is near enough to what is allowed at this share of it. */
const LOSS_ENOUGH = 0.9;
/** A speed is near enough above what is asked for at this ratio of it. */
const SPEED_ENOUGH = 1.03;
const MOST_MEASUREMENTS = 7;
/** Closer candidates differ by less than their measurement can tell. */
const FINEST_SPARSITY = 0.004;
/**
 * Log loss over log odds before anything is measured: on SmolLM2 40 % lose a tenth of the perplexity, and slopes are 1.6 to
 * 2.2.
 */
const USUAL = {sparsity: 0.4, loss: 0.1, slope: 2} as const;
/** How sure the usual slope is, as standard deviation. */
const SLOPE_DEVIATION = 0.5;
/** Standard deviation of a log loss from the line: masks flip at random, and the line bends farther off. */
const LOSS_NOISE = 0.08;
const BEND = 0.3;
/** Farther from what is allowed, a log loss says no more. */
const FARTHEST = 3;
/** A part of the data will do where the loss is beyond what is allowed, or below half of it, by so many standard errors. */
const CLEAR_ERRORS = 4;

/**
 * Finds the mean sparsity for a target.
 *
 * `maxLoss` alone: the most sparsity that keeps it. `speedup` or `latencyMs`: the least sparsity that reaches it; with
 * `maxLoss` too, if that keeps the loss, else the most that does, and the target is not met.
 *
 * @throws {SparsifyError} `bad-measure` for a measurement that is no number.
 */
export async function searchSparsity(
  target: AllocationTarget,
  range: SearchRange,
  measures: CandidateMeasures,
): Promise<Found> {
  const search = new Search(target, range, measures);
  const {maxLoss} = target;
  const wantsSpeed = target.speedup !== undefined || target.latencyMs !== undefined;
  const fast = wantsSpeed ? await search.leastForSpeed() : null;
  if (maxLoss === undefined) return search.found(fast!.sparsity, fast!.met);
  if (fast !== null && fast.met && (await search.keeps(fast.sparsity)))
    return search.found(fast.sparsity, true);
  const kept = await search.mostForLoss(fast?.sparsity ?? range.most);
  if (wantsSpeed) await search.speedAt(kept.sparsity);
  return search.found(kept.sparsity, kept.met && !wantsSpeed);
}

class Search {
  private readonly losses = new Map<number, MeasuredLoss>();
  private readonly speeds = new Map<number, MeasuredSpeed>();

  constructor(
    private readonly target: AllocationTarget,
    private readonly range: SearchRange,
    private readonly measures: CandidateMeasures,
  ) {}

  found(sparsity: number, met: boolean): Found {
    const all = [...new Set([...this.losses.keys(), ...this.speeds.keys()])].sort((a, b) => a - b);
    const candidates = all.map((candidate) => ({
      sparsity: candidate,
      loss: this.losses.get(candidate) ?? null,
      speed: this.speeds.get(candidate) ?? null,
    }));
    return {sparsity, met, candidates};
  }

  async keeps(sparsity: number): Promise<boolean> {
    return lossBound(await this.lossAt(sparsity)) <= this.target.maxLoss!;
  }

  async lossAt(sparsity: number): Promise<MeasuredLoss> {
    const allowed = this.target.maxLoss!;
    const isClear = ({loss, error}: MeasuredLoss) =>
      error !== null &&
      (loss - CLEAR_ERRORS * error > 1.2 * allowed || loss + CLEAR_ERRORS * error < allowed / 2);
    const loss = this.losses.get(sparsity) ?? (await this.measures.loss(sparsity, isClear));
    if (typeof loss.loss !== 'number' || Number.isNaN(loss.loss))
      throw notMeasured('loss', {loss: loss.loss});
    this.losses.set(sparsity, loss);
    return loss;
  }

  async speedAt(sparsity: number): Promise<MeasuredSpeed> {
    const speed = this.speeds.get(sparsity) ?? (await this.measures.speed(sparsity));
    if (!(speed.ms >= 0 && speed.denseMs >= 0)) throw notMeasured('speed', {...speed});
    this.speeds.set(sparsity, speed);
    return speed;
  }

  /** The most sparsity, up to `most`, whose loss is within `maxLoss`. */
  async mostForLoss(most: number): Promise<{sparsity: number; met: boolean}> {
    const {least} = this.range;
    const allowed = this.target.maxLoss!;
    let [kept, broken]: [number | null, number | null] = [null, null];
    let next = this.nextForLoss(kept, broken, most);
    for (let i = 0; i < MOST_MEASUREMENTS && next !== null; i++) {
      const bound = lossBound(await this.lossAt(next));
      if (bound <= allowed) kept = Math.max(kept ?? least, next);
      else broken = Math.min(broken ?? most, next);
      if (bound <= allowed && bound >= LOSS_ENOUGH * allowed) break;
      next = this.nextForLoss(kept, broken, most);
    }
    if (kept !== null) return {sparsity: kept, met: true};
    return {sparsity: least, met: await this.keeps(least)};
  }

  /** The sparsity whose loss is likely just within what is allowed; null where measuring more would not help. */
  private nextForLoss(kept: number | null, broken: number | null, most: number): number | null {
    const {least} = this.range;
    const [low, high] = [kept ?? least, broken ?? most];
    if (kept === most || high - low < FINEST_SPARSITY) return null;
    const aim = Math.log(this.target.maxLoss! * ((1 + LOSS_ENOUGH) / 2));
    const points = [...this.losses].map(([sparsity, loss]) => ({
      x: logOdds(sparsity),
      y: clamp(Math.log(Math.max(lossBound(loss), 1e-30)), aim - FARTHEST, aim + FARTHEST),
    }));
    const guess = sparsityOf(oddsForLoss(points, aim));
    // Not so near an end of the bracket that it would hardly shrink.
    const margin = 0.1 * (high - low);
    const next = clamp(guess, kept === null ? low : low + margin, broken === null ? high : high - margin);
    return this.losses.has(next) ? (low + high) / 2 : next;
  }

  /** The least sparsity that is as fast as asked. */
  async leastForSpeed(): Promise<{sparsity: number; met: boolean}> {
    const {least, most, speedGuess} = this.range;
    let [slow, fast]: [number | null, number | null] = [null, null];
    let next: number | null = clamp(speedGuess ?? 0.5, least, most);
    for (let i = 0; i < MOST_MEASUREMENTS && next !== null; i++) {
      const ratio = this.speedRatio(await this.speedAt(next));
      if (ratio >= 1) fast = Math.min(fast ?? most, next);
      else slow = Math.max(slow ?? least, next);
      if (ratio >= 1 && (ratio <= SPEED_ENOUGH || next === least)) break;
      if (slow === most) break;
      next = this.nextForSpeed(slow, fast);
    }
    return fast === null ? {sparsity: slow ?? most, met: false} : {sparsity: fast, met: true};
  }

  /**
   * Linear in the time between what was measured. Below all that was measured, a model that masks nothing is taken for dense,
   * once: one that is faster already is measured then.
   */
  private nextForSpeed(slow: number | null, fast: number | null): number | null {
    const {least, most} = this.range;
    if (fast === null) return most;
    if (slow === null && (fast === least || this.speeds.size > 1)) return fast === least ? null : least;
    const low = slow ?? least;
    if (fast - low < FINEST_SPARSITY) return null;
    const measured = this.speeds.get(fast)!;
    const dense = {...measured, ms: measured.denseMs};
    const [a, b] = [slow === null ? dense : this.speeds.get(slow)!, measured].map((speed) => {
      return 1 / this.speedRatio(speed);
    });
    const aim = 2 / (1 + SPEED_ENOUGH);
    const share = a > b ? (a - aim) / (a - b) : 0.5;
    return low + clamp(share, 0.1, 0.9) * (fast - low);
  }

  /** Speed over what is asked for: at least 1 is fast enough. */
  private speedRatio({denseMs, ms}: MeasuredSpeed): number {
    const {speedup, latencyMs} = this.target;
    return speedup !== undefined ? denseMs / ms / speedup : latencyMs! / ms;
  }
}

/** What cannot be compared would count as too bad, or as good enough. */
function notMeasured(what: string, got: Readonly<Record<string, unknown>>): SparsifyError {
  const values = Object.entries(got).map(([name, value]) => `${name} ${String(value)}`);
  return new SparsifyError(
    'bad-measure',
    `the ${what} of a candidate was measured as ${values.join(', ')}; it must be a number: see whether the model gives NaN ` +
      'on the data that it is measured on',
    got,
  );
}

/** What a loss is at most, with the margin for its error: what is compared with the loss that is allowed. */
export function lossBound({loss, error}: MeasuredLoss): number {
  return loss + LOSS_MARGIN * (error ?? 0);
}

/**
 * The log odds where the likeliest line through log losses reaches a height: its slope is near the usual one, and points
 * count the more the nearer they are to the height.
 */
function oddsForLoss(points: readonly {readonly x: number; readonly y: number}[], aim: number): number {
  if (points.length === 0) return logOdds(USUAL.sparsity) + (aim - Math.log(USUAL.loss)) / USUAL.slope;
  const weights = points.map(({y}) => 1 / (LOSS_NOISE ** 2 + (BEND * (y - aim)) ** 2));
  const total = sum(weights);
  const x = sum(points.map((point, i) => weights[i] * point.x)) / total;
  const y = sum(points.map((point, i) => weights[i] * point.y)) / total;
  const prior = SLOPE_DEVIATION ** -2;
  const xy = sum(points.map((point, i) => weights[i] * (point.x - x) * (point.y - y)));
  const xx = sum(points.map((point, i) => weights[i] * (point.x - x) ** 2));
  const slope = clamp((prior * USUAL.slope + xy) / (prior + xx), USUAL.slope / 4, USUAL.slope * 4);
  return x + (aim - y) / slope;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function logOdds(sparsity: number): number {
  const inside = clamp(sparsity, 1e-3, 1 - 1e-3);
  return Math.log(inside / (1 - inside));
}

function sparsityOf(odds: number): number {
  return 1 / (1 + Math.exp(-odds));
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
