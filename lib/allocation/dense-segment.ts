/**
 * @file A segment of a graph that ran dense on one batch, kept for runs in which some of its layers mask: each starts from
 * the dense values around what changes, and is compared with the dense result at the join.
 */
import * as tf from '@tensorflow/tfjs';
import {rowsThatCount, type TokenMask} from '../calibration/token-mask.js';
import {DatasetError} from '../errors.js';
import {runSteps, type GraphValues} from '../model/graph-steps.js';
import {probabilityOf} from '../model/probability.js';
import {floatsOf} from '../tensor-values.js';
import {onlyTensor} from '../tfjs.js';
import type {SegmentPlan} from './probe-plan.js';

/** Errors of rows, added up. */
export interface ErrorSum {
  /** Sum of ||y' - y||² / ||y||². */
  readonly sum: number;
  readonly rows: number;
}

/** Which rows of a batch count. */
export interface CountedRows {
  readonly mask: TokenMask | undefined;
  readonly skipLeadingTokens?: number;
}

export class DenseSegment {
  private constructor(
    private readonly plan: SegmentPlan,
    private readonly values: GraphValues,
    private readonly counted: CountedRows,
    /** What each layer of the plan reads, by path: float32, one after the other. */
    readonly inputs: ReadonlyMap<string, Float32Array>,
  ) {}

  /**
   * Runs a segment with its layers' thresholds as they are, which should be -Infinity.
   *
   * @param from Values of what the segment starts from; left to the caller.
   * @returns The caller disposes it.
   */
  static async run(plan: SegmentPlan, from: GraphValues, counted: CountedRows): Promise<DenseSegment> {
    const wanted = [...new Set([...plan.boundary, ...plan.to])];
    const read = new Map<string, tf.Tensor[]>();
    try {
      for (const {path, layer} of plan.probes) {
        layer.setCallHook((input) => {
          read.set(path, [...(read.get(path) ?? []), tf.keep(tf.clone(onlyTensor(input)))]);
        });
      }
      const results = runSteps(from, wanted);
      const inputs = new Map<string, Float32Array>();
      for (const [path, tensors] of read) {
        const values = await Promise.all(tensors.map(async (tensor) => floatsOf(await tensor.data())));
        const {mask, skipLeadingTokens} = counted;
        const parts = values.map((part, i) => rowsThatCount(part, tensors[i].shape, mask, skipLeadingTokens));
        inputs.set(path, joined(parts));
      }
      return new DenseSegment(
        plan,
        new Map(wanted.map((tensor, i) => [tensor, results[i]])),
        counted,
        inputs,
      );
    } finally {
      for (const {layer} of plan.probes) layer.clearCallHook();
      tf.dispose([...read.values()]);
    }
  }

  /** What the segment gave, for the next one; owned by this. */
  get results(): GraphValues {
    return new Map(this.plan.to.map((tensor) => [tensor, this.values.get(tensor)!]));
  }

  /**
   * Runs what changes when layers mask as they now do.
   *
   * @param below What lies below those layers.
   * @returns Rows whose dense result is 0 are left out: no share can be told of them.
   * @throws {DatasetError} `nan`, without the batch's number, which the caller knows.
   */
  async error(below: ReadonlySet<tf.SymbolicTensor>): Promise<ErrorSum> {
    const known: GraphValues = new Map([...this.values].filter(([tensor]) => !below.has(tensor)));
    const masked = runSteps(known, this.plan.to);
    const {mask, skipLeadingTokens} = this.counted;
    let [sum, rows] = [0, 0];
    try {
      for (const [i, tensor] of this.plan.to.entries()) {
        const errors = tf.tidy(() => {
          const [a, b] = [masked[i], this.values.get(tensor)!].map((value) =>
            beforeSaturation(tensor, value),
          );
          return relativeErrors(a, b);
        });
        const values = floatsOf(await errors.data());
        errors.dispose();
        for (const value of rowsThatCount(values, errors.shape, mask, skipLeadingTokens)) {
          if (!Number.isFinite(value)) {
            throw new DatasetError('nan', `the batch gives NaN or Infinity at "${this.plan.join}"`);
          }
          if (value < 0) continue;
          sum += value;
          rows++;
        }
      }
      return {sum, rows};
    } finally {
      tf.dispose(masked);
    }
  }

  dispose(): void {
    tf.dispose([...this.values.values()]);
  }
}

/**
 * What a softmax or sigmoid was computed from, the former up to a constant: probabilities hide an error until it changes
 * the answer, and then all of it shows at once, which no law for small errors foresees.
 */
function beforeSaturation(tensor: tf.SymbolicTensor, value: tf.Tensor): tf.Tensor {
  const activation = probabilityOf(tensor.sourceLayer);
  if (activation === null) return value;
  const logarithm = tf.log(tf.maximum(value, SMALLEST));
  if (activation === 'sigmoid') return tf.sub(logarithm, tf.log(tf.maximum(tf.sub(1, value), SMALLEST)));
  return tf.sub(logarithm, tf.mean(logarithm, -1, true));
}

/** Smaller probabilities count as this one. */
const SMALLEST = 1e-12;

/** Each row's ||y' - y||² / ||y||², [..., 1]; -1 where the dense row is 0. */
function relativeErrors(masked: tf.Tensor, dense: tf.Tensor): tf.Tensor {
  const [a, b] = dense.rank < 2 ? [tf.reshape(masked, [-1, 1]), tf.reshape(dense, [-1, 1])] : [masked, dense];
  const difference = tf.sum(tf.squaredDifference(a, b), -1, true);
  const norm = tf.sum(tf.square(b), -1, true);
  const isZero = tf.equal(norm, 0);
  const one = tf.onesLike(norm);
  return tf.where(isZero, tf.neg(one), tf.div(difference, tf.where(isZero, one, norm)));
}

function joined(parts: readonly Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0];
  const all = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
