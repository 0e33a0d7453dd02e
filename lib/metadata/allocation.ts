/**
 * @file What allocating sparsity gives: how much masking each layer hurts, how much each layer is to mask, and what was
 * chosen from. Plain data, so that it is saved with a model, printed and drawn as it is.
 */
import {Check} from 'typebox/schema';

/**
 * How the mean sparsity is spread over the layers. `local`: two probes a layer, at the end of its block, and a law
 * (error-law.ts). `uniform`: every layer the same. `greedy`: TEAL's greedy choice within each block (Liu et al. 2024,
 * arXiv:2408.14690, algorithm 1).
 */
export type AllocationMethod = 'local' | 'uniform' | 'greedy';

/** What the mean sparsity is weighted by: weights of the kernels, or milliseconds that the layers take dense. */
export type AllocationWeighting = 'weights' | 'time';

/** What a loss is counted in. */
export type LossMetric =
  /** Perplexity over that of the dense model, minus 1: 0.02 is 2 %. */
  | 'relative perplexity'
  /** Accuracy of the dense model minus that of the sparse one, in [-1, 1]: 0.02 is 2 points. */
  | 'accuracy points'
  /** Mean Kullback-Leibler divergence of the sparse outputs from the dense ones, in nats an output row. */
  | 'KL divergence'
  /** Mean squared difference of the outputs over the mean square of the dense ones. */
  | 'relative squared error';

/** What masking one layer alone does. */
export interface LayerProbe {
  /** Of the Dense layer, as scopes name it. */
  readonly path: string;
  /** Weights of its kernel: inputs times units. */
  readonly weights: number;
  /** Name of the graph's layer whose output was compared: the end of the block, or where the layer's branch joins again. */
  readonly join: string;
  /**
   * Mean over rows of ||y' - y||² / ||y||², where y is what the join gives dense, and y' with this layer alone masked at
   * `ProbeErrors.level`. At least 0.
   */
  readonly error: number;
  /** The same at `ProbeErrors.upperLevel`. */
  readonly upperError: number;
  /** What there is to know of the layer's inputs beside smooth ones; left out where there is nothing. */
  readonly inputs?: AttainableShares;
}

/**
 * Which shares of its inputs a layer can mask: zeros are masked for free, and of many inputs with one magnitude a threshold
 * masks all or none.
 */
export interface AttainableShares {
  /** Share of zeros, in [0, 1]. */
  readonly zeros: number;
  /** Shares that were masked where `ProbeErrors.level` and `upperLevel` were asked for. */
  readonly level: number;
  readonly upperLevel: number;
  /** Shares that no threshold gives: from, to, ends excluded; by rising share. */
  readonly gaps: readonly (readonly [number, number])[];
}

/** The probes of a model. They need no repetition for another target. */
export interface ProbeErrors {
  /** Share of its inputs that each layer masked, in (0, 1). */
  readonly level: number;
  /** The share in a second probe, above `level`: how fast the error grows differs from layer to layer. */
  readonly upperLevel: number;
  /** Rows that the errors are means of: tokens of a language model, items of another. */
  readonly rows: number;
  /** In the order of the graph. */
  readonly layers: readonly LayerProbe[];
}

/** What one layer got. */
export interface LayerAllocation {
  /** As scopes name it. */
  readonly path: string;
  /** Weights of its kernel. */
  readonly weights: number;
  /** Share of its inputs to mask, in [0, 1]. */
  readonly target: number;
  /** The bounds that it was given, in [0, 1]. */
  readonly minimum: number;
  readonly maximum: number;
  /** The law's error at `target`; null where the method has no law (`uniform` and `greedy` without probes). */
  readonly predictedError: number | null;
}

/** One allocation of those that were considered: a point of the trade-off curve. */
export interface TradeOffPoint {
  /** Mean sparsity, weighted by weights, in [0, 1]. */
  readonly sparsity: number;
  /** Sum of the layers' predicted errors; null where the method has no law. */
  readonly predictedError: number | null;
  /** Measured on held-out data in `Allocation.metric`; null where it was not measured. */
  readonly loss: number | null;
  /** Standard error of `loss`; null where it was not measured or is unknown. */
  readonly lossError: number | null;
  /**
   * Milliseconds of one prediction (one token of a language model); null where no speed was asked for. Where a ratio was
   * asked for, as if the dense model had taken `Allocation.denseMs` beside it.
   */
  readonly latencyMs: number | null;
  /** Latency of the dense model, `Allocation.denseMs`, over `latencyMs`; null where no speed was asked for. */
  readonly speedup: number | null;
  /** Whether `latencyMs` was measured on a model with this allocation, not computed from the times of its layers. */
  readonly latencyMeasured: boolean;
}

/** What was asked for; several at once: the best of one under the other. */
export interface AllocationTarget {
  /** Mean sparsity, weighted as `weighting` says, in [0, 1]. */
  readonly sparsity?: number;
  /** Most loss, in the units of the metric, above 0: 0.02 is 2 % of perplexity or 2 points of accuracy. */
  readonly maxLoss?: number;
  /** Latency of the dense model over that of the sparse one, at least 1. */
  readonly speedup?: number;
  /** Milliseconds of one prediction (one token of a language model), above 0. */
  readonly latencyMs?: number;
}

/** How much each layer is to mask. Goes into `sparsifyActivations` and `retarget` as `targetSparsityByScope`. */
export interface Allocation {
  readonly version: 1;
  readonly method: AllocationMethod;
  readonly weighting: AllocationWeighting;
  /** As asked for. */
  readonly target: AllocationTarget;
  /** Whether `target` is met. Not if no allocation within the bounds does: this one comes nearest. */
  readonly met: boolean;
  /**
   * Mean of the layers' targets, weighted by weights, in [0, 1]. Below the one asked for where layers cannot have their
   * share and to give it to others would lose more than to mask all layers alike.
   */
  readonly sparsity: number;
  /** In the order of the graph. */
  readonly layers: readonly LayerAllocation[];
  /** What `local` and a law need; null for methods that ran without. */
  readonly probes: ProbeErrors | null;
  /** What was chosen from, by rising sparsity; the chosen point is that of `chosen`. */
  readonly curve: readonly TradeOffPoint[];
  /** Index of the chosen point in `curve`. */
  readonly chosen: number;
  /** What the losses of `curve` are counted in; null if none was measured. */
  readonly metric: LossMetric | null;
  /** Milliseconds of one prediction of the dense model; null where no speed was asked for. */
  readonly denseMs: number | null;
}

const NUMBER = {type: 'number'} as const;

/** What of an allocation others rely on, as JSON. */
const ALLOCATION = {
  type: 'object',
  required: ['version', 'layers', 'curve', 'probes'],
  properties: {
    version: {const: 1},
    layers: listOf('weights', 'target', 'minimum', 'maximum'),
    curve: listOf('sparsity'),
    probes: {
      anyOf: [
        {type: 'null'},
        {
          type: 'object',
          required: ['level', 'upperLevel', 'rows', 'layers'],
          properties: {
            level: NUMBER,
            upperLevel: NUMBER,
            rows: NUMBER,
            layers: listOf('weights', 'error', 'upperError'),
          },
        },
      ],
    },
  },
} as const;

/** A list of objects with these numbers. */
function listOf(...fields: string[]) {
  const properties = Object.fromEntries(fields.map((field) => [field, NUMBER]));
  return {type: 'array', items: {type: 'object', required: fields, properties}} as const;
}

/** Whether a value is an allocation that this release reads, as far as its form tells. */
export function isAllocation(value: unknown): value is Allocation {
  return Check(ALLOCATION, value);
}
