/**
 * @file Watches the sparsified layers of a model while it runs: counts what their thresholds mask, or takes the
 * thresholds away for the moment. By hooks on the layers, which belong to whoever set them last.
 */
import * as tf from '@tensorflow/tfjs';
import type {SparsifyingDense} from '../../layers/sparsifying-dense.js';
import {maskingLayers} from '../../model/dense-layers.js';
import {floatsOf} from '../../tensor-values.js';
import {makeLayerVariable, onlyTensor, type LayerVariable} from '../../tfjs.js';
import type {MaskedCount} from './decoder.js';

export class MaskedInputs {
  private readonly layers: ReadonlyMap<string, SparsifyingDense>;
  private readonly totals = new Map<string, {masked: number; total: number}>();
  /** A layer's threshold as a number, as long as its tensor holds the same data. */
  private readonly thresholds = new Map<SparsifyingDense, {readonly data: object; readonly value: number}>();
  /** -Infinity, made when first needed. */
  private nothing: LayerVariable | null = null;

  /** @param model Layers that are sparsified later are not watched. */
  constructor(model: tf.LayersModel) {
    this.layers = maskingLayers(model);
    this.reset();
  }

  /** By path of the layer. */
  counts(): ReadonlyMap<string, MaskedCount> {
    return new Map([...this.totals].map(([path, {masked, total}]) => [path, {masked, total}]));
  }

  reset(): void {
    for (const path of this.layers.keys()) this.totals.set(path, {masked: 0, total: 0});
  }

  /**
   * Runs `work`, synchronous, which runs the model.
   *
   * @param dense Whether nothing is masked meanwhile.
   * @param counting Whether inputs are counted. Reads each distinct input back.
   */
  during<T>({dense, counting}: {dense: boolean; counting: boolean}, work: () => T): T {
    if (this.layers.size === 0) return work();
    const before = new Map([...this.layers.values()].map((layer) => [layer, layer.threshold]));
    if (counting) this.setHooks(dense);
    try {
      if (dense) {
        const nothing = this.noThreshold();
        for (const layer of before.keys()) layer.threshold = nothing;
      }
      return work();
    } finally {
      for (const [layer, threshold] of before) {
        layer.threshold = threshold;
        if (counting) layer.clearCallHook();
      }
    }
  }

  dispose(): void {
    this.nothing?.dispose();
    this.nothing = null;
  }

  private noThreshold(): LayerVariable {
    if (this.nothing === null) {
      const value = tf.scalar(-Infinity);
      this.nothing = makeLayerVariable(value, 'no_threshold', false);
      value.dispose();
    }
    return this.nothing;
  }

  private setHooks(dense: boolean): void {
    let latest: {data: object; values: Float32Array; masked: Map<number, number>} | null = null;
    for (const [path, layer] of this.layers) {
      const totals = this.totals.get(path)!;
      layer.setCallHook((inputs) => {
        const x = onlyTensor(inputs);
        totals.total += x.size;
        if (dense) return;
        const threshold = this.thresholdOf(layer);
        if (threshold === -Infinity) return;
        // Queries, keys and values, or gate and up, read one tensor, mostly with one threshold.
        if (latest?.data !== x.dataId) {
          latest = {data: x.dataId, values: floatsOf(x.dataSync()), masked: new Map()};
        }
        const masked = latest.masked.get(threshold) ?? countMasked(latest.values, threshold);
        latest.masked.set(threshold, masked);
        totals.masked += masked;
      });
    }
  }

  private thresholdOf(layer: SparsifyingDense): number {
    const tensor = layer.threshold!.read();
    const known = this.thresholds.get(layer);
    if (known?.data === tensor.dataId) return known.value;
    const value = tensor.dataSync()[0];
    this.thresholds.set(layer, {data: tensor.dataId, value});
    return value;
  }
}

/** How many values a threshold masks. */
function countMasked(values: Float32Array, threshold: number): number {
  let masked = 0;
  for (let i = 0; i < values.length; i++) masked += Math.abs(values[i]) <= threshold ? 1 : 0;
  return masked;
}
