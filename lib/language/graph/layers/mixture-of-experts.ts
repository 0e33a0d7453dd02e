/**
 * @file A sparse mixture of experts (Jiang et al. 2024, arXiv:2401.04088): a router sends every token to a few of
 * many feed-forward parts, and an expert computes the rows of its own tokens only. Where they go depends on the data,
 * so the router's output is read back synchronously in every call.
 */
import * as tf from '@tensorflow/tfjs';
import {floatsOf} from '../../../tensor-values.js';
import {onlyTensor, type DenseLayer, type LayerVariable} from '../../../tfjs.js';
import type {GateActivation} from '../../config/llama-config.js';
import type {CallArgs} from './call.js';
import {activationNumber, activationOf, gated} from './gated-activation.js';
import {routeTokens, type Routing} from './routing.js';

/** A Dense layer as it stands in the configuration: `SparsifyingDense` if it is one. */
interface HeldConfig {
  readonly className: string;
  readonly config: tf.serialization.ConfigDict;
}

export interface MixtureOfExpertsArgs {
  readonly name?: string;
  readonly experts: number;
  /** Experts a token goes to. */
  readonly perToken: number;
  /** Width within an expert. */
  readonly intermediateSize: number;
  readonly hiddenSize: number;
  readonly activation: GateActivation | number;
  /** From a saved configuration: the layers inside, in the order of `held`. */
  readonly held?: readonly HeldConfig[];
}

/** `w2(activation(w1(x)) * w3(x))`. */
export interface Expert {
  readonly w1: DenseLayer;
  readonly w3: DenseLayer;
  readonly w2: DenseLayer;
}

/**
 * Input and output float32 [..., H]. Holds Dense layers named `gate` (the router, [H, experts]) and
 * `experts.E.w1`, `.w3` [H, intermediateSize] and `.w2` [intermediateSize, H], without biases.
 */
export class MixtureOfExperts extends tf.layers.Layer {
  static readonly className = 'SparsifyLlamaMixtureOfExperts';

  readonly perToken: number;
  readonly intermediateSize: number;
  readonly hiddenSize: number;
  readonly activation: GateActivation;
  readonly gate: DenseLayer;
  readonly experts: readonly Expert[];

  constructor(args: MixtureOfExpertsArgs) {
    super(args);
    this.perToken = args.perToken;
    this.intermediateSize = args.intermediateSize;
    this.hiddenSize = args.hiddenSize;
    this.activation = activationOf(args.activation);
    const saved = [...(args.held ?? [])];
    const held = (name: string, units: number): DenseLayer => {
      const config = saved.shift();
      return config === undefined ? dense(name, units) : restored(config);
    };
    this.gate = held('gate', args.experts);
    this.experts = Array.from({length: args.experts}, (_, i) => ({
      w1: held(`experts.${i}.w1`, args.intermediateSize),
      w3: held(`experts.${i}.w3`, args.intermediateSize),
      w2: held(`experts.${i}.w2`, args.hiddenSize),
    }));
  }

  /** The Dense layers inside: the gate, then w1, w3, w2 of each expert. */
  held(): DenseLayer[] {
    return [this.gate, ...this.experts.flatMap(({w1, w3, w2}) => [w1, w3, w2])];
  }

  override build(): void {
    const w2 = new Set(this.experts.map((expert) => expert.w2));
    for (const layer of this.held()) {
      const size = w2.has(layer) ? this.intermediateSize : this.hiddenSize;
      // By a symbolic call, which names the weights after this layer and the inner one.
      layer.apply(new tf.SymbolicTensor('float32', [null, size], null!, [], {}));
    }
    this.built = true;
  }

  override get trainableWeights(): LayerVariable[] {
    return this.trainable ? this.held().flatMap((layer) => layer.trainableWeights) : [];
  }

  override set trainableWeights(_weights: LayerVariable[]) {
    // The weights are those of the inner layers.
  }

  override get nonTrainableWeights(): LayerVariable[] {
    return this.held().flatMap((layer) => (this.trainable ? layer.nonTrainableWeights : layer.weights));
  }

  override set nonTrainableWeights(_weights: LayerVariable[]) {
    // The weights are those of the inner layers.
  }

  override setFastWeightInitDuringBuild(value: boolean): void {
    super.setFastWeightInitDuringBuild(value);
    for (const layer of this.held()) layer.setFastWeightInitDuringBuild(value);
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    return inputShape as tf.Shape;
  }

  override call(inputs: tf.Tensor | tf.Tensor[], kwargs: CallArgs): tf.Tensor {
    return tf.tidy(() => {
      this.invokeCallHook(inputs, kwargs);
      const x = onlyTensor(inputs);
      const rows = tf.reshape<tf.Rank.R2>(x, [-1, this.hiddenSize]); // [n, H]
      const logits = this.gate.apply(rows) as tf.Tensor; // [n, experts]
      const routing = routeTokens(floatsOf(logits.dataSync()), this.experts.length, this.perToken);
      return tf.reshape(this.mixed(rows, routing), x.shape);
    });
  }

  override getConfig(): tf.serialization.ConfigDict {
    return {
      ...super.getConfig(),
      experts: this.experts.length,
      perToken: this.perToken,
      intermediateSize: this.intermediateSize,
      hiddenSize: this.hiddenSize,
      activation: activationNumber(this.activation),
      held: this.held().map((layer) => ({className: layer.getClassName(), config: layer.getConfig()})),
    };
  }

  /** @returns [n, H]: each token's experts, weighted and added up. */
  private mixed(rows: tf.Tensor2D, {tokens, weights}: Routing): tf.Tensor {
    const count = rows.shape[0];
    const outputs: tf.Tensor[] = [];
    const placesOf: number[][] = Array.from({length: count}, () => []); // of each token, in the outputs in a row
    let place = 0;
    this.experts.forEach((expert, e) => {
      if (tokens[e].length === 0) return;
      for (const token of tokens[e]) placesOf[token].push(place++);
      const own = tokens[e].length === count ? rows : tf.gather(rows, tf.tensor1d([...tokens[e]], 'int32'));
      const weight = tf.tensor2d([...weights[e]], [tokens[e].length, 1]);
      outputs.push(tf.tidy(() => tf.mul(this.expertOutput(expert, own), weight))); // [its tokens, H]
    });
    const all = outputs.length === 1 ? outputs[0] : tf.concat(outputs, 0); // [n * perToken, H]
    const picked = tf.gather(all, tf.tensor1d(placesOf.flat(), 'int32'));
    return tf.sum(tf.reshape(picked, [count, this.perToken, this.hiddenSize]), 1);
  }

  private expertOutput({w1, w3, w2}: Expert, rows: tf.Tensor): tf.Tensor {
    return w2.apply(
      gated(w1.apply(rows) as tf.Tensor, w3.apply(rows) as tf.Tensor, this.activation),
    ) as tf.Tensor;
  }
}

function dense(name: string, units: number): DenseLayer {
  return tf.layers.dense({name, units, useBias: false, kernelInitializer: 'zeros'}) as unknown as DenseLayer;
}

/** A Dense layer from its saved configuration, through the class that is registered under its name. */
function restored({className, config}: HeldConfig): DenseLayer {
  const entry = tf.serialization.SerializationMap.getMap().classNameMap[className];
  if (entry === undefined) throw new Error(`Unknown layer: ${className}`); // as TensorFlow.js says it
  const [LayerClass, fromConfig] = entry;
  return fromConfig(LayerClass, config) as unknown as DenseLayer;
}
