/** @file Which part of a graph each probed layer needs: its segment, and in that what lies below the layer. */
import type * as tf from '@tensorflow/tfjs';
import type {SparsifyingDense} from '../layers/sparsifying-dense.js';
import {denseLayers} from '../model/dense-layers.js';
import {stepsOf, type GraphStep} from '../model/graph-steps.js';
import {blocksOf, type Segment} from './segments.js';

/** A layer to be probed. */
export interface PlacedProbe {
  readonly path: string;
  readonly layer: SparsifyingDense;
  /** Weights of its kernel. */
  readonly weights: number;
  /** What changes in the segment when the layer is masked. */
  readonly below: ReadonlySet<tf.SymbolicTensor>;
}

/** A segment and the layers in it. */
export interface SegmentPlan extends Segment {
  readonly probes: readonly PlacedProbe[];
  /** Tensors that the probes start from: what is read below a layer and does not change with it. */
  readonly boundary: readonly tf.SymbolicTensor[];
  /** Name of what it ends with. */
  readonly join: string;
}

/**
 * The segments of a model up to the last that holds a layer to be probed.
 *
 * @param paths Of layers that are sparsifying.
 */
export function probePlan(model: tf.LayersModel, paths: ReadonlySet<string>): SegmentPlan[] {
  const placed = denseLayers(model).filter(({path}) => paths.has(path));
  const plan = blocksOf(stepsOf(model), model.inputs, model.outputs).map((segment): SegmentPlan => {
    const {steps, to} = segment;
    const own = placed.filter(({ancestor}) => steps.some(({layer}) => layer === ancestor));
    const boundary = new Set<tf.SymbolicTensor>();
    const probes = own.map(({path, layer, ancestor}): PlacedProbe => {
      const changing = stepsBelow(steps, (step) => step.layer === ancestor);
      const below = new Set(changing.flatMap(({outputs}) => outputs));
      for (const {inputs} of changing) for (const input of inputs) if (!below.has(input)) boundary.add(input);
      const [inputs, units] = layer.kernel!.shape as [number, number];
      return {path, layer: layer as SparsifyingDense, weights: inputs * units, below};
    });
    return {...segment, probes, boundary: [...boundary], join: namesOf(to)};
  });
  return plan.slice(0, plan.findLastIndex(({probes}) => probes.length > 0) + 1);
}

/** The steps that `isStart` names, and all that read what they give. */
function stepsBelow(steps: readonly GraphStep[], isStart: (step: GraphStep) => boolean): GraphStep[] {
  const changed = new Set<number>();
  return steps.filter((step) => {
    const changes = isStart(step) || step.inputs.some(({id}) => changed.has(id));
    if (changes) for (const {id} of step.outputs) changed.add(id);
    return changes;
  });
}

function namesOf(tensors: readonly tf.SymbolicTensor[]): string {
  return tensors.map(({sourceLayer}) => sourceLayer.name).join(', ');
}
