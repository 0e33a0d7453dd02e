/** @file How many bytes of weights a language model reads for one token: what decoding takes its time for. */
import type * as tf from '@tensorflow/tfjs';
import {reportDense} from '../../model/inspect.js';
import type {LlamaConfig} from '../config/llama-config.js';
import type {SparsityReport} from './sparsity-report.js';

/** Bytes of the kernels of Dense layers; norms, biases and one row of the embedding are next to nothing. */
export interface BytesPerToken {
  /** With thresholds off. */
  readonly dense: number;
  /** With thresholds on: rows of masked inputs are not read. */
  readonly sparse: number;
}

/**
 * Counts the bytes for one token. Of experts as many count as a token is sent to.
 *
 * @param measured Shares that were really masked; where it tells of no token, the shares that calibration reached count.
 */
export function bytesPerToken(
  model: tf.LayersModel,
  {experts}: LlamaConfig,
  measured: SparsityReport | null,
): BytesPerToken {
  const actual = new Map(measured?.layers.map(({path, actual}) => [path, actual]));
  const isMeasured = measured?.layers.some(({actual}) => actual > 0) === true;
  let [dense, sparse] = [0, 0];
  for (const {path, bytes, sparsified, reached, target} of reportDense(model)) {
    const read = experts !== null && EXPERT.test(path) ? (bytes * experts.perToken) / experts.count : bytes;
    const share = (isMeasured ? actual.get(path) : (reached ?? target)) ?? 0;
    dense += read;
    sparse += sparsified ? read * (1 - share) : read;
  }
  return {dense, sparse};
}

/** A layer of one expert among others. */
const EXPERT = /(^|[./])experts\.\d+\./;
