/** @file What masking its inputs does to the output of each layer of a sparsified model, on data of the caller's choice. */
import * as tf from '@tensorflow/tfjs';
import {RUN_RULES} from '../calibration/calibration-option-rules.js';
import {ActivationRecorder} from '../calibration/recorder.js';
import {runPass, type RunOptions} from '../calibration/recording-pass.js';
import {toBatches, type Batches, type DataSource} from '../dataset.js';
import {ModelError} from '../errors.js';
import type {SparsifyingDense} from '../layers/sparsifying-dense.js';
import {checkModel, maskingLayers} from '../model/dense-layers.js';
import {checkOptions, count, type OptionRules} from '../option-rules.js';

/** The error of one layer's output. */
export interface LayerOutputError {
  readonly path: string;
  /**
   * Sum over rows of ||y' - y||² over that of ||y||²: y is what the layer gives for its input as it arrives, y' what it
   * gives with the input masked. 0 if the output is 0 both ways.
   */
  readonly error: number;
  /** Rows that were compared. */
  readonly rows: number;
}

export interface OutputErrorOptions extends RunOptions {
  /** Each layer is compared on no more rows than these; 1,024 by default. */
  readonly maxRows?: number;
}

const RULES: OptionRules<OutputErrorOptions> = {...RUN_RULES, maxRows: count()};

/**
 * Runs a data set through a sparsified model and compares each layer's output with what it would be unmasked. Upstream
 * layers are masked both times: the error is that of the layer's own masking.
 *
 * @param dataset Items as for `sparsifyActivations`.
 * @throws {ModelError} `not-sparsified`; {DatasetError} for a bad item; the signal's reason if it is aborted.
 */
export async function measureOutputErrors(
  model: tf.LayersModel,
  dataset: Batches | DataSource<unknown>,
  options: OutputErrorOptions = {},
): Promise<LayerOutputError[]> {
  checkOptions('measureOutputErrors', options, RULES);
  const {maxRows = 1024, ...running} = options;
  const layers = maskingLayers(checkModel(model));
  if (layers.size === 0) {
    throw new ModelError('not-sparsified', 'the model has no sparsified layer, so no output has an error');
  }
  const sums = new Map<string, tf.Tensor1D>();
  const rows = new Map<string, number>();
  const unmasked = tf.scalar(-Infinity);
  const recorder = new ActivationRecorder(model, layers, false);
  try {
    await runPass(
      model,
      toBatches(dataset),
      {
        recorder: () => recorder,
        observe: ({stream, values, shape}) => {
          const width = shape[shape.length - 1];
          for (const path of stream.paths) {
            const seen = rows.get(path) ?? 0;
            const count = Math.min(maxRows - seen, values.length / width);
            if (count <= 0) continue;
            const x = values.subarray(0, count * width);
            const sum = squares(layers.get(path)!, x, [count, width], unmasked, sums.get(path));
            sums.get(path)?.dispose();
            sums.set(path, sum);
            rows.set(path, seen + count);
          }
        },
      },
      running,
    );
    const errors: LayerOutputError[] = [];
    for (const path of layers.keys()) {
      const [difference, size] = (await sums.get(path)?.data()) ?? [0, 0];
      errors.push({path, error: difference === 0 ? 0 : difference / size, rows: rows.get(path) ?? 0});
    }
    return errors;
  } finally {
    tf.dispose([...sums.values(), unmasked]);
  }
}

/** `before` plus [||y' - y||², ||y||²]; the caller disposes it. */
function squares(
  layer: SparsifyingDense,
  values: Float32Array,
  shape: [number, number],
  unmasked: tf.Scalar,
  before: tf.Tensor1D | undefined,
): tf.Tensor1D {
  return tf.tidy(() => {
    const x = tf.tensor2d(values, shape);
    const dense = layer.outputAt(x, unmasked); // [rows, units]
    const difference = layer.outputAt(x, layer.threshold!.read()).sub(dense);
    const sum = tf.stack([difference.square().sum(), dense.square().sum()]) as tf.Tensor1D;
    return before === undefined ? sum : sum.add(before);
  });
}
