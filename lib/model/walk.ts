/**
 * @file Every layer of a model by its path, inner layers of nested models, wrappers and custom layers included, and
 * how data flows between them. Knows nothing of scopes or thresholds. Nothing here recurses: models may be deep.
 */
import * as tf from '@tensorflow/tfjs';
import {
  belongsTo,
  callsOf,
  graphContainerOf,
  isContainer,
  isGraphCall,
  type Container,
  type Layer,
} from '../tfjs.js';

/** A layer and where it stands. */
export interface PlacedLayer {
  /** Names of the enclosing models and layers and its own, joined by `/`; the outermost model's name is left out. */
  readonly path: string;
  readonly layer: Layer;
  /** Class name: `Dense`, `Embedding`, `Functional`, … */
  readonly type: string;
  /** The layer that the outermost model's graph calls which holds it; itself if the graph calls it. */
  readonly ancestor: Layer;
  /** The nested model, wrapper or custom layer that holds it; null if the outermost model does. */
  readonly holder: Layer | null;
}

export interface ModelLayers {
  /** In the order of the graph, a holder before what it holds; each layer once, at the first place found. */
  readonly layers: readonly PlacedLayer[];
  /** Data flows from the first to the second; indices into `layers`. */
  readonly edges: readonly (readonly [number, number])[];
}

/** Places all layers of `model`. What was found stays true while layers of the model only change their class. */
export function walkModel(model: Container): ModelLayers {
  const layers: PlacedLayer[] = [];
  const indexOf = new Map<Layer, number>();
  const heldBy = new Map<Layer, readonly Layer[]>();
  const paths = new Set<string>();
  const graphLayers = new Set(graphContainerOf(model as unknown as tf.LayersModel).layers);

  // Depth first: the last one is placed next, and what it holds goes on top of it.
  const open = model.layers.map((layer) => ({
    layer,
    prefix: '',
    ancestor: layer,
    holder: null as Layer | null,
  }));
  open.reverse();
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const {layer, prefix, ancestor, holder} = next;
    if (indexOf.has(layer)) continue;
    const path = uniquePath(prefix + layer.name, paths);
    indexOf.set(layer, layers.length);
    // A Sequential that begins with a model calls the layers of that model itself.
    const called = graphLayers.has(layer) ? layer : ancestor;
    layers.push({path, layer, type: layer.getClassName(), ancestor: called, holder});
    const held = isContainer(layer) ? layer.layers : heldLayers(layer);
    heldBy.set(layer, held);
    for (const inner of [...held].reverse()) {
      open.push({layer: inner, prefix: `${path}/`, ancestor: called, holder: layer});
    }
  }
  return {layers, edges: connect(model, indexOf, heldBy)};
}

/** The edges between the layers that `indexOf` numbers. */
function connect(
  model: Container,
  indexOf: ReadonlyMap<Layer, number>,
  heldBy: ReadonlyMap<Layer, readonly Layer[]>,
): [number, number][] {
  const edges: [number, number][] = [];
  const edge = (from: Layer, to: Layer): void => {
    const [source, target] = [indexOf.get(from), indexOf.get(to)];
    if (source !== undefined && target !== undefined) edges.push([source, target]);
  };
  /** All layers inside a wrapper or custom layer, at any depth. */
  const within = (layer: Layer): Layer[] => {
    const found = new Set<Layer>([layer]);
    // The set grows while it is walked.
    for (const holder of found) for (const held of heldBy.get(holder) ?? []) found.add(held);
    found.delete(layer);
    return [...found];
  };
  /** Where data leaves: a nested model's output layers, a wrapper and all that it holds, or the layer. */
  const exitsOf = (layer: Layer): Layer[] => {
    const exits = new Set<Layer>([layer]);
    for (const exit of exits) {
      if (!isContainer(exit)) continue;
      exits.delete(exit);
      for (const output of exit.outputLayers) exits.add(output);
    }
    return [...exits].flatMap((exit) => [exit, ...within(exit)]);
  };
  const containers = [model];
  for (let container = containers.pop(); container !== undefined; container = containers.pop()) {
    for (const layer of container.layers) {
      const sources = sourcesIn(container, layer);
      for (const source of sources) {
        // The input layer of a Sequential is not among its layers: data comes from the model itself.
        for (const exit of indexOf.has(source) ? exitsOf(source) : [container]) edge(exit, layer);
      }
      if (sources.length === 0) edge(container, layer);
      if (isContainer(layer)) containers.push(layer);
      else for (const held of within(layer)) edge(layer, held);
    }
  }
  return edges;
}

/** The layers whose outputs `layer` takes within `container`. */
function sourcesIn(container: Container, layer: Layer): Layer[] {
  return callsOf(layer)
    .filter((_, index) => belongsTo(container, layer, index))
    .flatMap((call) => call.inboundLayers);
}

/** The layers in the fields of a wrapper or custom layer, also inside arrays, maps and plain objects. */
export function heldLayers(layer: Layer): Layer[] {
  const found = new Set<Layer>();
  const seen = new Set<unknown>();
  const open: unknown[] = [];
  for (const [field, value] of Object.entries(layer)) {
    // Bidirectional runs the two copies that it made of `layer`, never `layer` itself.
    if (field === 'layer' && 'forwardLayer' in layer) continue;
    if (field !== 'inboundNodes' && field !== 'outboundNodes') open.push(value);
  }
  open.reverse();
  // Depth first and in order: the last one is looked at next.
  while (open.length > 0) {
    const value = open.pop();
    if (value === null || typeof value !== 'object' || seen.has(value)) continue;
    seen.add(value);
    if (value instanceof tf.layers.Layer) found.add(value);
    else for (const item of itemsOf(value).reverse()) open.push(item);
  }
  return [...found];
}

/** What an object other than a layer holds that may be layers. */
function itemsOf(value: object): unknown[] {
  if (Array.isArray(value) || value instanceof Set) return [...(value as Iterable<unknown>)];
  if (value instanceof Map) return [...(value as Map<unknown, unknown>).values()];
  return mayHoldLayers(value) ? Object.values(value) : [];
}

/** Whether an object other than a layer or a collection can hold layers: not tensors, variables, graph records. */
function mayHoldLayers(value: object): boolean {
  return !(
    value instanceof tf.Tensor ||
    value instanceof tf.LayerVariable ||
    value instanceof tf.SymbolicTensor ||
    value instanceof tf.serialization.Serializable ||
    ArrayBuffer.isView(value) ||
    value instanceof ArrayBuffer ||
    isGraphCall(value)
  );
}

function uniquePath(path: string, taken: Set<string>): string {
  let unique = path;
  for (let i = 1; taken.has(unique); i++) unique = `${path}_${i}`;
  taken.add(unique);
  return unique;
}
