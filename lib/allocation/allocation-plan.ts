/** @file Allocations of one model by one method, at any mean sparsity, with the trade-off curve that they stand on. */
import type {
  Allocation,
  AllocationMethod,
  AllocationTarget,
  AllocationWeighting,
  LossMetric,
  ProbeErrors,
  TradeOffPoint,
} from '../metadata/allocation.js';
import type {MeasuredSpeed} from './measures.js';
import type {Candidate, Found, SearchRange} from './search-mean-sparsity.js';
import {
  SAME_MEAN,
  meanOf,
  predictedErrors,
  type WeightedLayer,
  type ShareFunction,
} from './share-functions.js';

/** What all allocations of a plan share. */
export interface PlanOptions {
  readonly method: AllocationMethod;
  readonly weighting: AllocationWeighting;
  readonly target: AllocationTarget;
  readonly probes: ProbeErrors | null;
}

/** Between two points of the curve that were not measured. */
const CURVE_STEP = 0.05;

export class AllocationPlan {
  constructor(
    private readonly layers: readonly WeightedLayer[],
    private readonly sharesAt: ShareFunction,
    private readonly options: PlanOptions,
  ) {}

  /** Means that the bounds of the layers allow. */
  get range(): SearchRange {
    const bound = (which: 'minimum' | 'maximum') =>
      meanOf(
        this.layers,
        this.layers.map((layer) => layer[which]),
      );
    return {least: bound('minimum'), most: bound('maximum')};
  }

  /** The allocation with a mean, weighted as the plan says, of which nothing was measured; not met if layers cannot have it. */
  at(sparsity: number): Allocation {
    const shares = this.sharesAt(sparsity);
    const met = meanOf(this.layers, shares) >= sparsity - SAME_MEAN;
    return this.allocationOf(shares, {sparsity, met, candidates: []}, null);
  }

  /** The allocation that a search chose. */
  chosen(found: Found, metric: LossMetric | null): Allocation {
    return this.allocationOf(this.sharesAt(found.sparsity), found, metric);
  }

  private allocationOf(
    shares: readonly number[],
    {sparsity, met, candidates}: Found,
    metric: LossMetric | null,
  ): Allocation {
    const errors = predictedErrors(this.layers, this.options.probes, shares);
    const denseMs = candidates.find(({speed}) => speed !== null)?.speed?.denseMs ?? null;
    const points = this.curve(sparsity, candidates, denseMs);
    return {
      version: 1,
      ...this.options,
      met,
      sparsity: meanOf(this.layers, shares, 'weights'),
      layers: this.layers.map(({path, weights, minimum, maximum}, i) => ({
        path,
        weights,
        target: shares[i],
        minimum,
        maximum,
        predictedError: errors[i],
      })),
      curve: points.map(({point}) => point),
      chosen: points.findIndex((point) => point.mean === sparsity),
      metric: candidates.some(({loss}) => loss !== null) ? metric : null,
      denseMs,
    };
  }

  /** The candidates, the chosen one, and steps between the bounds, by rising mean. */
  private curve(
    chosen: number,
    candidates: readonly Candidate[],
    denseMs: number | null,
  ): {mean: number; point: TradeOffPoint}[] {
    const {least, most} = this.range;
    const steps = Array.from({length: Math.round(1 / CURVE_STEP) + 1}, (_, i) =>
      Number((i * CURVE_STEP).toFixed(9)),
    );
    const means = new Set([
      ...steps.filter((step) => step >= least && step <= most),
      ...candidates.map(({sparsity}) => sparsity),
      chosen,
    ]);
    return [...means]
      .sort((a, b) => a - b)
      .map((mean) => ({
        mean,
        point: this.point(
          mean,
          candidates.find(({sparsity}) => sparsity === mean),
          denseMs,
        ),
      }));
  }

  private point(mean: number, candidate: Candidate | undefined, denseMs: number | null): TradeOffPoint {
    const shares = this.sharesAt(mean);
    const errors = predictedErrors(this.layers, this.options.probes, shares);
    const speed = candidate?.speed ?? null;
    const latencyMs = speed === null ? null : this.latencyOf(speed, denseMs!);
    return {
      sparsity: meanOf(this.layers, shares, 'weights'),
      predictedError: errors.every((error) => error !== null)
        ? errors.reduce((sum, error) => sum + error, 0)
        : null,
      loss: candidate?.loss?.loss ?? null,
      lossError: candidate?.loss?.error ?? null,
      latencyMs,
      speedup: latencyMs === null ? null : denseMs! / latencyMs,
      latencyMeasured: speed !== null,
    };
  }

  /**
   * Each candidate was timed in turns with the dense model, which takes longer at one time than at another: their ratio is
   * what was measured, unless milliseconds were asked for.
   */
  private latencyOf(speed: MeasuredSpeed, denseMs: number): number {
    return this.options.target.latencyMs === undefined ? (speed.ms / speed.denseMs) * denseMs : speed.ms;
  }
}
