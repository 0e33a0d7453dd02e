/** @file Which rows of its weights each layer reads for one image: those whose input its threshold keeps. */
import * as tf from '@tensorflow/tfjs';
import {inspect} from 'tfjs-sparsify';

/** One layer. */
export interface RowsRead {
  readonly layer: string;
  /** [inputs], 1 for a row that is read. */
  readonly read: Uint8Array;
}

/** Tells what the layers of a sparsified model read. */
export class RowsReader {
  private readonly layers: readonly string[];
  private readonly inputs: tf.LayersModel;

  /** @param model A chain of layers; it stays the caller's. */
  constructor(private readonly model: tf.LayersModel) {
    this.layers = inspect(model).map(({path}) => path);
    const outputs = this.layers.map((layer) => model.getLayer(layer).input as tf.SymbolicTensor);
    this.inputs = tf.model({inputs: model.inputs, outputs});
  }

  /** @param image float32 [1, inputs of the model]. */
  rowsRead(image: tf.Tensor): RowsRead[] {
    const reports = inspect(this.model);
    return tf.tidy(() => {
      const inputs = [this.inputs.predict(image)].flat();
      return this.layers.map((layer, i) => {
        const threshold = reports[i].threshold ?? -Infinity;
        const values = inputs[i].dataSync<'float32'>();
        return {layer, read: Uint8Array.from(values, (value) => (Math.abs(value) <= threshold ? 0 : 1))};
      });
    });
  }
}
