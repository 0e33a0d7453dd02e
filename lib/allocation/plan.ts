/** @file Allocations of one model by one method, at any mean sparsity, with the trade-off curve that they stand on. */
import type {
  Allocation,
  AllocationMethod,
  AllocationTarget,
  AllocationWeighting,
  LossMetric,
  ProbeErrors,
  TradeOffPoint,
} from './contract.js';
import type {Candidate, Found, SearchRange} from './search.js';
import {meanOf, predictedErrors, type SharingLayer, type Spread} from './spread.js';

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
    private readonly layers: readonly SharingLayer[],
    private readonly spread: Spread,
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

  /** The allocation with a mean, weighted as the plan says, of which nothing was measured. */
  at(sparsity: number): Allocation {
    return this.chosen({sparsity, met: true, candidates: []}, null);
  }

  /** The allocation that a search chose. */
  chosen({sparsity, met, candidates}: Found, metric: LossMetric | null): Allocation {
    const shares = this.spread(sparsity);
    const errors = predictedErrors(this.layers, this.options.probes, shares);
    const points = this.curve(sparsity, candidates);
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
      denseMs: candidates.find(({speed}) => speed !== null)?.speed?.denseMs ?? null,
    };
  }

  /** The candidates, the chosen one, and steps between the bounds, by rising mean. */
  private curve(chosen: number, candidates: readonly Candidate[]): {mean: number; point: TradeOffPoint}[] {
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
        ),
      }));
  }

  private point(mean: number, candidate: Candidate | undefined): TradeOffPoint {
    const shares = this.spread(mean);
    const errors = predictedErrors(this.layers, this.options.probes, shares);
    const speed = candidate?.speed ?? null;
    return {
      sparsity: meanOf(this.layers, shares, 'weights'),
      predictedError: errors.every((error) => error !== null)
        ? errors.reduce((sum, error) => sum + error, 0)
        : null,
      loss: candidate?.loss?.loss ?? null,
      lossError: candidate?.loss?.error ?? null,
      latencyMs: speed?.ms ?? null,
      speedup: speed === null ? null : speed.denseMs / speed.ms,
      latencyMeasured: speed !== null,
    };
  }
}
