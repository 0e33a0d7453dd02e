/**
 * @file What this package needs of TensorFlow.js beyond its public types: the Dense class (not exported), the
 * graph of a model (nodes, containers) and a layer's own weights. All casts that TensorFlow.js's types force
 * are here, against @tensorflow/tfjs-layers 4.22 (`engine/topology.ts`, `engine/container.ts`).
 */
import * as tf from '@tensorflow/tfjs';

export type Layer = tf.layers.Layer;
export type LayerVariable = tf.LayerVariable;

/** One call of a layer inside a graph (`engine/topology.ts`, class Node). */
export interface GraphCall {
  readonly id: number;
  readonly outboundLayer: Layer;
  readonly inboundLayers: Layer[];
  readonly nodeIndices: number[];
  readonly inputTensors: tf.SymbolicTensor[];
  readonly outputTensors: tf.SymbolicTensor[];
  /** Further arguments of the call. */
  readonly callArgs?: object | null;
}

/** A model or nested model: layers plus the calls between them (`engine/container.ts`, class Container). */
export interface Container extends Layer {
  readonly layers: Layer[];
  readonly inputs: tf.SymbolicTensor[];
  readonly outputs: tf.SymbolicTensor[];
  readonly inputLayers: Layer[];
  readonly outputLayers: Layer[];
  readonly containerNodes: Set<string>;
  /** Nested models, which `dispose` disposes once more than the other layers. */
  readonly internalContainerRefs: Container[];
}

/** The fields and methods of the Dense layer that `SparsifyingDense` builds on. */
export interface DenseLayer extends Layer {
  units: number;
  useBias: boolean;
  kernel: LayerVariable | null;
  bias: LayerVariable | null;
  activation: {apply(x: tf.Tensor): tf.Tensor; getClassName(): string} | null;
}

/** Arguments of `tf.layers.dense`. */
export type DenseLayerArgs = Parameters<typeof tf.layers.dense>[0];

/** The constructor of a layer class, with what serialization needs. */
export interface LayerClass<T extends Layer = Layer> {
  new (args: DenseLayerArgs): T;
  readonly className: string;
  readonly prototype: T;
}

/**
 * A layer class of TensorFlow.js, which exports functions that make layers and not their classes. It is found where
 * loading finds it: making a layer would use up an id of the user's program, and without a name also a name.
 *
 * @param className Of a layer with a kernel or embeddings, as TensorFlow.js registers it.
 * @param make Makes such a layer, with a name: for a program that has registered a class of its own as `className`.
 */
export function stockClass(className: string, make: () => Layer): LayerClass {
  const {classNameMap} = tf.serialization.SerializationMap.getMap();
  const registered = classNameMap[className]?.[0] as unknown as LayerClass | undefined;
  // Each of these classes gives its weights a constraint that its configuration names.
  const isStock = /(kernel|embeddings|depthwise)Constraint\b/.test(
    String(registered && methodOf(registered.prototype, 'build')),
  );
  return isStock ? registered! : (make().constructor as unknown as LayerClass);
}

/** TensorFlow.js's Dense class. */
export const Dense = stockClass('Dense', () =>
  tf.layers.dense({units: 1, name: 'stock'}),
) as LayerClass<DenseLayer>;

/** The calls of a layer, in the order in which they were made; calls of other models included. */
export function callsOf(layer: Layer): GraphCall[] {
  return (layer as unknown as {inboundNodes: GraphCall[]}).inboundNodes;
}

/** Whether a layer is a model (Sequential or functional) rather than a single layer. */
export function isContainer(layer: object): layer is Container {
  return layer instanceof tf.LayersModel;
}

/** Whether the `index`-th call of `layer` belongs to the graph of `container`. */
export function belongsTo(container: Container, layer: Layer, index: number): boolean {
  return container.containerNodes.has(`${layer.name}_ib-${index}`);
}

/** A model seen as the container that it is. */
export function asContainer(model: tf.LayersModel): Container {
  return model;
}

/** The container whose layers are those that the model's graph calls: for a Sequential, the model inside it. */
export function graphContainerOf(model: tf.LayersModel): Container {
  const {model: inner} = model as tf.LayersModel & {model?: tf.LayersModel | null};
  return asContainer(inner ?? model);
}

/** The list that holds a layer's non-trainable weights; appending to it adds a weight. */
export function ownNonTrainableWeights(layer: Layer): LayerVariable[] {
  return (layer as unknown as {_nonTrainableWeights: LayerVariable[]})._nonTrainableWeights;
}

/** The list that holds a layer's trainable weights, in the order in which it made them. */
export function ownTrainableWeights(layer: Layer): LayerVariable[] {
  return (layer as unknown as {_trainableWeights: LayerVariable[]})._trainableWeights;
}

/** Sets how many calls of `dispose` it takes until a layer's weights are disposed. */
export function setReferenceCount(layer: Layer, count: number): void {
  (layer as unknown as {_refCount: number})._refCount = count;
}

/** A new layer variable with a name, in no tidy scope. The caller owns it. */
export function makeLayerVariable(
  value: tf.Tensor,
  name: string,
  trainable: boolean,
  constraint?: unknown,
): LayerVariable {
  const LayerVariableClass = tf.LayerVariable as unknown as new (
    value: tf.Tensor,
    dtype: tf.DataType,
    name: string,
    trainable: boolean,
    constraint: unknown,
  ) => LayerVariable;
  return new LayerVariableClass(value, value.dtype, name, trainable, constraint ?? null);
}

/** The value of a layer variable without a check that it still exists. */
export function rawValue(variable: LayerVariable): tf.Tensor {
  return (variable as unknown as {val: tf.Tensor}).val;
}

/** The constraint of a layer variable, or null. */
export function constraintOf(variable: LayerVariable): unknown {
  return (variable as unknown as {constraint: unknown}).constraint;
}

/** A fresh layer id, as the constructor of a layer would give it. */
export function freshLayerId(): number {
  const LayerBase = tf.layers.Layer as unknown as new (args: {name: string}) => Layer;
  return new LayerBase({name: 'id'}).id;
}

/** A fresh id of the kind that layer variables and symbolic tensors have. */
export function freshVariableId(): number {
  return shapedSymbol('float32', []).id;
}

/** A symbolic tensor that belongs to no graph. */
export function shapedSymbol(dtype: tf.DataType, shape: tf.Shape): tf.SymbolicTensor {
  return new tf.SymbolicTensor(dtype, shape, null as unknown as Layer, [], {});
}

/** The states that a recurrent layer keeps between calls, those kept for training too; empty for other layers. */
export function statesOf(layer: Layer): tf.Tensor[] {
  const {states_: states, keptStates} = layer as unknown as {states_?: unknown; keptStates?: unknown};
  return [states ?? [], keptStates ?? []]
    .flat(3)
    .filter((state): state is tf.Tensor => state instanceof tf.Tensor);
}

/** Runs `work`, which may call recurrent layers, and gives them back the states that they had. */
export function withStatesRestored<T>(layers: readonly Layer[], work: () => T): T {
  const holders = layers as unknown as readonly {states_?: tf.Tensor[]; keptStates?: unknown[]}[];
  const saved = holders.flatMap((holder) => {
    const {states_: states} = holder;
    if (!Array.isArray(states)) return [];
    return [{holder, states: states.map((state) => tf.keep(tf.clone(state)))}];
  });
  try {
    return work();
  } finally {
    for (const {holder, states} of saved) {
      tf.dispose(holder.states_);
      holder.states_ = states;
    }
  }
}

/** A fresh id for a call of a layer, from the class of an existing one. */
export function freshCallId(call: GraphCall): number {
  const CallClass = call.constructor as new (args: object) => GraphCall;
  return new CallClass({outboundLayer: {inboundNodes: []}, inboundLayers: []}).id;
}

/** Whether a value is a call record of a graph; the class is not exported. */
export function isGraphCall(value: object): value is GraphCall {
  return 'outboundLayer' in value && 'inboundLayers' in value && 'inputTensors' in value;
}

/** Inputs of a layer's call as one tensor. */
export function onlyTensor(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
  return Array.isArray(inputs) ? inputs[0] : inputs;
}

/** Run a registered tfjs kernel by name; the engine's own signature wants an index type. */
export function runKernel(name: string, inputs: Record<string, tf.Tensor>, attrs: object): tf.Tensor {
  return tf.engine().runKernel(name, inputs, attrs as tf.NamedAttrMap);
}

/** A copy of a tensor over the same data, in no tidy scope; a variable if the tensor is one. The caller owns it. */
export function makeTensorCopy(tensor: tf.Tensor): tf.Tensor {
  return tensor instanceof tf.Variable
    ? tf.variable(tensor, tensor.trainable, undefined, tensor.dtype)
    : tf.keep(tf.clone(tensor));
}

/**
 * A tensor without values: of a shape, with the memory of one number. Backends in WebAssembly would take the memory of zeros
 * at once, and never give it back. It may be disposed, and be a weight that is written before it is read.
 */
export function makeUnfilledTensor(shape: number[], dtype: tf.DataType = 'float32'): tf.Tensor {
  const dataId = tf.backend().write(new Float32Array(1), [1], dtype);
  return tf.engine().makeTensorFromTensorInfo({dataId, shape, dtype});
}

/** The variables of TensorFlow.js that exist now. */
export function existingVariables(): tf.Variable[] {
  return Object.values(tf.engine().registeredVariables);
}

/** The fields of a model that `compile` and `fit` set, as far as copies and changes of weights touch them. */
export interface Training {
  collectedTrainableWeights?: LayerVariable[];
  optimizer_?: tf.Optimizer;
  isOptimizerOwned?: boolean;
  isTraining: boolean;
  /** As the program gave them. */
  loss?: unknown;
  metrics?: unknown;
}

/** What `compile` set on a model. */
export function trainingOf(model: Container): Training {
  return model as unknown as Training;
}

/** The penalties of a layer: functions without arguments that give a scalar. */
export function lossesOf(layer: Layer): (() => tf.Scalar)[] {
  return (layer as unknown as {_losses: (() => tf.Scalar)[]})._losses;
}

/** A method of a prototype, to be called with an object of its class. */
function methodOf<T, K extends keyof T>(prototype: T, name: K): T[K] {
  return prototype[name];
}

/**
 * Runs `work` while reading a layer variable reads what `redirect` gives for it.
 *
 * @param redirect The variable to read instead, or undefined for the variable itself.
 */
export function withReadsOf<T>(
  redirect: (variable: LayerVariable) => LayerVariable | undefined,
  work: () => T,
): T {
  const {prototype} = tf.LayerVariable;
  const read = methodOf(prototype, 'read');
  prototype.read = function (this: LayerVariable): tf.Tensor {
    return read.call(redirect(this) ?? this);
  };
  try {
    return work();
  } finally {
    prototype.read = read;
  }
}

/** What a weight is made with at first. */
export interface Initializer {
  apply(shape: number[], dtype?: tf.DataType): tf.Tensor;
}

/** `Layer.addWeight`, which is protected. */
type AddWeight = (
  this: Layer,
  name: string,
  shape: number[],
  dtype: tf.DataType | undefined,
  initializer: Initializer | undefined,
  ...rest: unknown[]
) => LayerVariable;

/**
 * Runs `work` while every weight that a layer makes, also one inside of a wrapper or a cell, starts with the values of
 * another initializer. No option of TensorFlow.js reaches the latter.
 *
 * @param made Told of each such weight, with what its own initializer would have given.
 */
export function withWeightsStartingAs<T>(
  initializer: Initializer,
  made: (variable: LayerVariable, initialize: () => tf.Tensor) => void,
  work: () => T,
): T {
  const prototype = tf.layers.Layer.prototype as unknown as {addWeight: AddWeight};
  const addWeight = methodOf(prototype, 'addWeight');
  prototype.addWeight = function (name, shape, dtype, own, ...rest) {
    if (!own) return addWeight.call(this, name, shape, dtype, own, ...rest);
    const variable = addWeight.call(this, name, shape, dtype, initializer, ...rest);
    made(variable, () => own.apply(shape, dtype ?? 'float32'));
    return variable;
  };
  try {
    return work();
  } finally {
    prototype.addWeight = addWeight;
  }
}

/** Runs `work` and tells `observe` of every layer that is applied meanwhile. */
export function withAppliesObserved<T>(observe: (layer: Layer) => void, work: () => T): T {
  const {prototype} = tf.layers.Layer;
  const apply = methodOf(prototype, 'apply');
  prototype.apply = function (this: Layer, ...args) {
    observe(this);
    return apply.apply(this, args);
  };
  try {
    return work();
  } finally {
    prototype.apply = apply;
  }
}

/** Runs `work` and tells `observe` of what some layers are called with meanwhile. */
export function withCallsObserved<T>(
  layers: readonly Layer[],
  observe: (layer: Layer, inputs: tf.Tensor | tf.Tensor[]) => void,
  work: () => T,
): T {
  const watched = layers.filter((layer) => !Object.hasOwn(layer, 'call'));
  for (const layer of watched) {
    const call = layer.call.bind(layer);
    const value = (...args: Parameters<Layer['call']>) => {
      observe(layer, args[0]);
      return call(...args);
    };
    Object.defineProperty(layer, 'call', {value, configurable: true});
  }
  try {
    return work();
  } finally {
    for (const layer of watched) Reflect.deleteProperty(layer, 'call'); // the class's own again
  }
}

/**
 * Values of tensors of a graph, computed from those of others, whichever they are: `LayersModel.execute`, which only takes
 * the values of a whole model's inputs, on a stand-in whose inputs are these.
 */
export function executeGraph(
  given: readonly tf.SymbolicTensor[],
  values: tf.Tensor[],
  wanted: readonly tf.SymbolicTensor[],
): tf.Tensor[] {
  const standIn = {inputs: given, retrieveSymbolicTensors: () => wanted};
  const names = wanted.map(({name}) => name);
  return tf.LayersModel.prototype.execute.call(
    standIn as unknown as tf.LayersModel,
    values,
    names,
  ) as tf.Tensor[];
}

/** The numbers of a tensor, read at once. They may be the tensor's own. */
export function hostValues({dataId}: tf.TensorInfo): tf.TypedArray {
  return tf.engine().readSync(dataId) as tf.TypedArray;
}

/** What the engine knows of a tensor's data. */
interface DataInfo {
  backend: tf.KernelBackend;
  readonly shape: number[];
  readonly dtype: tf.DataType;
}

/** What the engine knows of data that some tensor has; undefined once none has. */
export function dataInfoOf(dataId: object): Readonly<DataInfo> | undefined {
  const {tensorInfo} = tf.engine().state as unknown as {tensorInfo: WeakMap<object, DataInfo>};
  return tensorInfo.get(dataId);
}

/** The cpu backend, whose tensors are arrays of JavaScript. */
export function cpuBackend(): tf.KernelBackend {
  return tf.engine().findBackend('cpu');
}

/**
 * Makes an array of JavaScript the values of data that some tensor has, on backend cpu, wherever they were: what the engine does
 * when an operation needs a tensor of another backend, but without a copy.
 *
 * @param values As many, of the data's dtype; not copied.
 */
export function moveToHost(dataId: object, values: tf.TypedArray): void {
  const info = dataInfoOf(dataId) as DataInfo;
  const references = info.backend.refCount(dataId);
  info.backend.disposeData(dataId, true);
  info.backend = cpuBackend();
  info.backend.move(dataId, values, info.shape, info.dtype, references);
}
