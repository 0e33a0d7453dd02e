/**
 * @file Records the activations that reach the targeted layers while batches run through a model.
 *
 * What the model's graph exposes is recorded through one intermediate-output model, whose outputs are the inputs of
 * the targeted layers: each distinct tensor once, nothing computed below the deepest of them. A Dense that the graph
 * does not expose (in a nested model, a wrapper, a custom layer) is recorded in the same pass by a call hook. A live
 * recorder hooks every layer, so that what is observed can change the layer's threshold before it masks.
 */
import * as tf from '@tensorflow/tfjs';
import {denseLayers} from '../model/dense-layers.js';
import {floatsOf} from '../tensor-values.js';
import {
  asContainer,
  belongsTo,
  callsOf,
  onlyTensor,
  type DenseLayer,
  type GraphCall,
  type Layer,
} from '../tfjs.js';

/** Layers that read the same tensors, so that one record serves all of them. */
export interface Stream {
  readonly paths: readonly string[];
}

/** What a targeted layer reads. */
export interface Observation {
  readonly stream: Stream;
  /** [..., K], row-major. */
  readonly values: Float32Array;
  readonly shape: readonly number[];
  /** Whether the stream has not shown this tensor in this batch yet. */
  readonly isNew: boolean;
  /** The layer that reads it now and is about to mask it, if it is hooked; null for what the graph exposes. */
  readonly reader: string | null;
}

export type Observer = (observation: Observation) => void;

interface Placed {
  readonly path: string;
  readonly layer: DenseLayer;
  readonly ancestor: Layer;
}

interface ExposedStream extends Stream {
  readonly tensors: readonly tf.SymbolicTensor[];
}

export class ActivationRecorder {
  private readonly exposed: ExposedStream[] = [];
  private readonly hooked: {readonly placed: Placed; readonly stream: Stream}[] = [];
  private readonly recorded: tf.SymbolicTensor[];
  private readonly outputs: tf.SymbolicTensor[];
  private readonly intermediate: tf.LayersModel;

  /**
   * @param layers The targeted layers of `model`, by path.
   * @param live Whether to observe each layer within the forward pass. Needs a backend that reads synchronously.
   * @param carried A tensor of the model's graph that `record` is to return, if one is wanted.
   */
  constructor(
    model: tf.LayersModel,
    layers: ReadonlyMap<string, DenseLayer>,
    live: boolean,
    private readonly carried: tf.SymbolicTensor | null = null,
  ) {
    const container = asContainer(model);
    const placed = denseLayers(model).flatMap(({path, ancestor}) => {
      const layer = layers.get(path);
      return layer === undefined ? [] : [{path, layer, ancestor}];
    });
    const calls = (layer: Layer): GraphCall[] =>
      callsOf(layer).filter((_, index) => belongsTo(container, layer, index));

    const streams = new Map<string, {paths: string[]; tensors: tf.SymbolicTensor[]}>();
    for (const dense of placed) {
      const isExposed = dense.ancestor === dense.layer;
      const tensors = isExposed ? [...new Set(calls(dense.layer).flatMap((call) => call.inputTensors))] : [];
      const key = isExposed ? tensors.map(({id}) => id).join() : dense.path;
      const stream = streams.get(key) ?? {paths: [], tensors};
      streams.set(key, stream);
      stream.paths.push(dense.path);
      if (live || !isExposed) this.hooked.push({placed: dense, stream});
    }
    if (!live) this.exposed.push(...[...streams.values()].filter(({tensors}) => tensors.length > 0));

    this.recorded = [...new Set(this.exposed.flatMap(({tensors}) => tensors))];
    const reached = new Set(this.hooked.map(({placed: {ancestor}}) => ancestor));
    const forced = [...reached].flatMap((layer) => calls(layer).flatMap((call) => call.outputTensors));
    const wanted = carried === null ? [] : [carried];
    this.outputs = [...new Set([...this.recorded, ...wanted, ...forced])];
    this.intermediate = tf.model({inputs: model.inputs, outputs: this.outputs});
  }

  /**
   * Runs one batch and tells `observe` of every tensor that a targeted layer reads.
   *
   * @returns The carried tensor's value, which the caller disposes; null if none is wanted.
   */
  async record(inputs: tf.Tensor[], observe: Observer): Promise<tf.Tensor | null> {
    this.setHooks(observe);
    let outputs: tf.Tensor[] = [];
    let carried: tf.Tensor | null = null;
    try {
      outputs = [this.intermediate.predictOnBatch(inputs.length === 1 ? inputs[0] : inputs)].flat();
      if (this.carried !== null) carried = tf.clone(outputs[this.outputs.indexOf(this.carried)]);
      const forced = outputs.splice(this.recorded.length);
      tf.dispose(forced);
      for (const [i, tensor] of this.recorded.entries()) {
        const {shape} = outputs[i];
        const values = floatsOf(await outputs[i].data());
        outputs[i].dispose();
        for (const stream of this.exposed) {
          if (stream.tensors.includes(tensor)) observe({stream, values, shape, isNew: true, reader: null});
        }
      }
      return carried;
    } catch (error) {
      carried?.dispose();
      throw error;
    } finally {
      for (const {placed} of this.hooked) placed.layer.clearCallHook();
      tf.dispose(outputs);
    }
  }

  private setHooks(observe: Observer): void {
    const read = new Map<Stream, Map<object, Float32Array>>();
    for (const {placed, stream} of this.hooked) {
      placed.layer.setCallHook((input) => {
        const tensor = onlyTensor(input);
        const known = read.get(stream) ?? new Map<object, Float32Array>();
        const isNew = !known.has(tensor.dataId);
        const values = known.get(tensor.dataId) ?? floatsOf(tensor.dataSync());
        // Only streams of several readers show a tensor again; keep no more than its latest.
        if (isNew) read.set(stream, new Map([[tensor.dataId, values]]));
        observe({stream, values, shape: tensor.shape, isNew, reader: placed.path});
      });
    }
  }
}
