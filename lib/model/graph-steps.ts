/**
 * @file A model's graph as calls of layers in the order of the data, and running a part of it: from any tensors to any
 * tensors that follow from them. What only needs a part then costs a part.
 */
import * as tf from '@tensorflow/tfjs';
import {belongsTo, callsOf, executeGraph, graphContainerOf, type GraphCall, type Layer} from '../tfjs.js';

/** One call of a layer in the graph of the outermost model; a nested model is one layer. */
export interface GraphStep {
  readonly layer: Layer;
  readonly inputs: readonly tf.SymbolicTensor[];
  readonly outputs: readonly tf.SymbolicTensor[];
}

/** Values of tensors of the graph. */
export type GraphValues = Map<tf.SymbolicTensor, tf.Tensor>;

/** The calls that a model's outputs need, each after those that it reads; the input layers are left out. */
export function stepsOf(model: tf.LayersModel): GraphStep[] {
  // A Sequential that begins with a model calls the layers of that model, which only its own graph shows.
  const container = graphContainerOf(model);
  const maker = new Map<number, GraphCall>(); // by id of the output
  for (const layer of container.layers) {
    callsOf(layer).forEach((call, index) => {
      if (belongsTo(container, layer, index)) for (const {id} of call.outputTensors) maker.set(id, call);
    });
  }
  const steps: GraphStep[] = [];
  const seen = new Set<GraphCall>();
  const open: {call: GraphCall; next: number}[] = [];
  const visit = (tensor: tf.SymbolicTensor): void => {
    const call = maker.get(tensor.id);
    if (call === undefined || seen.has(call)) return;
    seen.add(call);
    open.push({call, next: 0});
  };
  // Depth first without recursion: a deep model would overflow the stack.
  for (const output of model.outputs) {
    visit(output);
    for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
      const {call} = top;
      if (top.next < call.inputTensors.length) visit(call.inputTensors[top.next++]);
      else {
        open.pop();
        const {outboundLayer: layer, inputTensors: inputs, outputTensors: outputs} = call;
        if (call.inboundLayers.length > 0) steps.push({layer, inputs, outputs}); // else an input layer
      }
    }
  }
  return steps;
}

/**
 * Computes tensors of a graph.
 *
 * @param known Enough to compute them from; left to the caller.
 * @returns In the order of `wanted`; the caller disposes them.
 */
export function runSteps(known: GraphValues, wanted: readonly tf.SymbolicTensor[]): tf.Tensor[] {
  return tf.tidy(() => {
    const values = executeGraph([...known.keys()], [...known.values()], wanted);
    return values.map((value) => tf.clone(value)); // a layer may give what it was given
  });
}
