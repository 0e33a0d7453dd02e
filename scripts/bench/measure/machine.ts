/** @file The machine and the software that a benchmark ran on, for its report. */
import {cpus} from 'node:os';
import * as tf from '@tensorflow/tfjs';
import {nativeKernels} from '../../../lib/backend/native.js';
import {median} from '../../../lib/eval/latency.js';
import type {BandwidthMeter} from './bandwidth.js';

export interface Machine {
  readonly processor: string;
  readonly cores: number;
  /** Threads of one call of the native kernels; null without them. */
  readonly threads: number | null;
  readonly instructionSet: string | null;
  readonly node: string;
  /** Version of libtensorflow; null on other backends. */
  readonly tensorflow: string | null;
  /** Median and best of the read bandwidth meanwhile, in 10^9 bytes a second. */
  readonly readGBs: number | null;
  readonly readGBsBest: number | null;
}

export function describeMachine({samples}: BandwidthMeter): Machine {
  const native = nativeKernels();
  const gigabytes = (bytes: number) => Math.round(bytes / 1e7) / 100;
  return {
    processor: cpus()[0]?.model ?? process.arch,
    cores: cpus().length,
    threads: native?.threads() ?? null,
    instructionSet: native?.instructionSet() ?? null,
    node: process.version,
    tensorflow: (tf.backend() as {binding?: {TF_Version: string}}).binding?.TF_Version ?? null,
    readGBs: samples.length === 0 ? null : gigabytes(median(samples)),
    readGBsBest: samples.length === 0 ? null : gigabytes(Math.max(...samples)),
  };
}
