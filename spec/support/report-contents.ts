/** @file Contents of reports for specs: few layers or many, with figures that can be found again. */
import type {Allocation} from '../../lib/metadata/allocation.js';
import type {ReportContents, ReportLayer} from '../../lib/report/report-contents.js';
import {histogramBins} from '../../lib/report/histogram-bins.js';
import {AbsHistogram} from '../../lib/stats/histogram.js';
import {normals} from './normals.js';

/** A sparsified layer whose figures follow from its number. */
function layer(path: string, i: number): ReportLayer {
  const histogram = new AbsHistogram();
  histogram.add(normals(500, i + 1));
  const threshold = histogram.quantile(0.5);
  return {
    ...{
      path,
      inputSize: 64,
      units: 32,
      format: 'float32',
      bytes: 8192,
      sparsified: true,
      target: 0.5,
      threshold,
    },
    ...{
      actual: 0.48 + i / 1000,
      outputError: 0.01 * (i + 1),
      histogram: histogramBins(histogram, threshold),
    },
  };
}

/** A report of which everything is known. */
export function contents(paths: readonly string[], name = 'model'): ReportContents {
  const versions = {'tfjs-sparsify': '0.1.0', backend: 'cpu'};
  const sha256 = 'ab'.repeat(32);
  return {
    ...{name, unit: 'item', parameters: 123_456},
    measured: {
      layers: paths.map(layer),
      actualOn: 'on test.npy',
      errorsOn: 'on 512 rows of test.npy',
      missed: [],
    },
    allocation: allocation(paths),
    quality: {
      metrics: [{title: 'accuracy', kind: 'share', better: 'higher'}],
      rows: [
        {name: 'dense', weights: 'float32', sparsity: null, values: [0.9815]},
        {name: 'sparse', weights: 'float32', sparsity: 0.4801, values: [0.9755]},
      ],
      on: 'test.npy, 2,000 items',
    },
    latency: {
      of: 'prediction',
      rows: [
        {name: 'dense', ms: 2.5, isDense: true},
        {name: 'sparse', ms: 1, isDense: false},
      ],
      on: 'backend cpu',
    },
    bench: {
      ...{skipsRows: true, rows: 1, on: 'backend cpu', denseMs: 2.5},
      layers: paths.map((path) => ({
        ...{path, inputSize: 64, units: 32, rows: 1, calls: 1, denseMs: 1, breakEven: 0.37},
        times: [0, 0.5, 0.9].map((sparsity) => ({sparsity, ms: 1.37 - sparsity})),
      })),
      predicted: [0, 0.5].map((sparsity) => ({
        sparsity,
        ms: 3 - 2 * sparsity,
        speedup: 2.5 / (3 - 2 * sparsity),
      })),
      measured: [{sparsity: 0.5, ms: 2, speedup: 1.25}],
    },
    steps: [
      {
        command: 'tfjs-sparsify sparsify m',
        inputs: [{role: 'data', files: [{name: 'd.npy', bytes: 80, sha256}]}],
        versions,
      },
    ],
    measurement: {command: 'tfjs-sparsify report m', inputs: [], versions},
  };
}

function allocation(paths: readonly string[]): Allocation {
  const point = {lossError: null, latencyMs: null, speedup: null, latencyMeasured: false};
  return {
    ...{version: 1, method: 'local', weighting: 'weights', target: {sparsity: 0.5}, met: true, sparsity: 0.5},
    layers: paths.map((path) => ({
      ...{path, weights: 2048, target: 0.5, minimum: 0, maximum: 0.95, predictedError: 0.01},
    })),
    probes: {
      ...{level: 0.65, upperLevel: 0.85, rows: 128},
      layers: paths.map((path, i) => ({
        path,
        weights: 2048,
        join: 'add',
        error: 0.001 * (i + 1),
        upperError: 0.004 * (i + 1),
      })),
    },
    curve: [
      {...point, sparsity: 0.25, predictedError: 0.002, loss: 0.01},
      {...point, sparsity: 0.5, predictedError: 0.01, loss: 0.05},
    ],
    ...{chosen: 1, metric: 'accuracy points', denseMs: null},
  };
}

/** Paths as a language model has them. */
export function blockPaths(blocks: number): string[] {
  const kinds = ['self_attn.q_proj', 'self_attn.o_proj', 'mlp.up_proj', 'mlp.down_proj'];
  return Array.from({length: blocks}, (_, i) => kinds.map((kind) => `model.layers.${i}.${kind}`)).flat();
}
