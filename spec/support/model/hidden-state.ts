/** @file Custom layers that keep state where their fields do not show it, in every way that there is. */
import * as tf from '@tensorflow/tfjs';

import {onlyTensor, type Layer} from '../../../lib/tfjs.js';

type Inputs = tf.Tensor | tf.Tensor[];

const inner = (name: string) => tf.layers.dense({units: 4, name, biasInitializer: 'randomNormal'});

/** Builds a layer inside another one, which then lists its weights. */
function buildInto(owner: Layer, dense: Layer, shape: tf.Shape | tf.Shape[], listed: boolean): void {
  dense.build(shape);
  dense.built = true;
  if (listed) {
    const own = owner as unknown as {_trainableWeights: tf.LayerVariable[]};
    own._trainableWeights.push(...dense.trainableWeights);
  }
  owner.built = true;
}

/** A Dense in a private field that is listed nowhere. */
export class Secret extends tf.layers.Layer {
  static className = 'SpecSecret';
  readonly #dense = inner('secret');
  protected listed = false;

  override build(shape: tf.Shape | tf.Shape[]): void {
    buildInto(this, this.#dense, shape, this.listed);
  }

  override computeOutputShape(shape: tf.Shape): tf.Shape {
    return [...shape.slice(0, -1), 4];
  }

  override call(inputs: Inputs): tf.Tensor {
    return this.#dense.apply(onlyTensor(inputs)) as tf.Tensor;
  }

  /** The weights of the layer inside, which a program can reach in its own ways. */
  get secrets(): tf.LayerVariable[] {
    return this.#dense.weights;
  }
}

/** The private field is inherited. */
export class InheritedSecret extends Secret {
  static override className = 'SpecInheritedSecret';
}

/** The way out: its weights are listed, and its settings, of which it has none, are in its configuration. */
export class ListedSecret extends Secret {
  static override className = 'SpecListedSecret';
  protected override listed = true;
}

/** A private number that the configuration holds. */
export class PrivateScale extends tf.layers.Layer {
  static className = 'SpecPrivateScale';
  readonly #factor: number;

  constructor(args: {factor: number; name?: string}) {
    super(args);
    this.#factor = args.factor;
  }

  override call(inputs: Inputs): tf.Tensor {
    return tf.mul(onlyTensor(inputs), this.#factor);
  }

  override getConfig(): tf.serialization.ConfigDict {
    return {...super.getConfig(), factor: this.#factor};
  }
}

/** A private number that the configuration leaves out. */
export class ForgetfulScale extends PrivateScale {
  static override className = 'SpecForgetfulScale';

  override getConfig(): tf.serialization.ConfigDict {
    const {factor: _, ...config} = super.getConfig();
    return {...config, factor: 1};
  }
}

const denses = new WeakMap<object, Layer>();

/** What a compiler for an older target makes of a private field. */
export class WeakSecret extends tf.layers.Layer {
  static className = 'SpecWeakSecret';
  protected listed = false;

  constructor(args: {name?: string} = {}) {
    super(args);
    denses.set(this, inner('weak'));
  }

  private dense(): Layer {
    const dense = denses.get(this);
    if (dense === undefined) throw new TypeError('attempted to get private field on non-instance');
    return dense;
  }

  override build(shape: tf.Shape | tf.Shape[]): void {
    buildInto(this, this.dense(), shape, this.listed);
  }

  override computeOutputShape(shape: tf.Shape): tf.Shape {
    return [...shape.slice(0, -1), 4];
  }

  override call(inputs: Inputs): tf.Tensor {
    return this.dense().apply(onlyTensor(inputs)) as tf.Tensor;
  }

  get secrets(): tf.LayerVariable[] {
    return this.dense().weights;
  }
}

export class ListedWeakSecret extends WeakSecret {
  static override className = 'SpecListedWeakSecret';
  protected override listed = true;
}

const marked = new WeakSet<object>();

/** Computes something else, without an error, for an object that its constructor did not mark. */
export class MarkedScale extends tf.layers.Layer {
  static className = 'SpecMarkedScale';

  constructor(args: {name?: string} = {}) {
    super(args);
    marked.add(this);
  }

  override call(inputs: Inputs): tf.Tensor {
    return tf.mul(onlyTensor(inputs), marked.has(this) ? 3 : 1);
  }
}

/** A Dense in a field, called by a function that was made for this one object. */
export class ArrowLayer extends tf.layers.Layer {
  static className = 'SpecArrowLayer';
  readonly dense = inner('arrow');
  private readonly run = (x: tf.Tensor) => this.dense.apply(x) as tf.Tensor;

  override build(shape: tf.Shape | tf.Shape[]): void {
    this.dense.build(shape);
    this.dense.built = true;
    this.built = true;
  }

  override computeOutputShape(shape: tf.Shape): tf.Shape {
    return [...shape.slice(0, -1), 4];
  }

  override call(inputs: Inputs): tf.Tensor {
    return this.run(onlyTensor(inputs));
  }
}

/** Reads a weight of its own in a function that was made for this one object. */
export class ArrowScale extends tf.layers.Layer {
  static className = 'SpecArrowScale';
  private factor!: tf.LayerVariable;
  private readonly run = (x: tf.Tensor) => tf.mul(x, this.factor.read());

  override build(): void {
    this.factor = this.addWeight('factor', [6], 'float32', tf.initializers.randomNormal({}));
    this.built = true;
  }

  override call(inputs: Inputs): tf.Tensor {
    return this.run(onlyTensor(inputs));
  }
}

const notes = new WeakMap<object, string>();

/** Only its configuration needs what a weak map holds. */
export class WeakNote extends tf.layers.Layer {
  static className = 'SpecWeakNote';

  constructor(args: {note?: string; name?: string}) {
    super(args);
    if (args.note !== undefined) notes.set(this, args.note);
  }

  override call(inputs: Inputs): tf.Tensor {
    return tf.mul(onlyTensor(inputs), 2);
  }

  override getConfig(): tf.serialization.ConfigDict {
    return {...super.getConfig(), note: notes.get(this) ?? null};
  }
}

/** Computes only with numbers that nobody would make up. */
export class PickySecret extends Secret {
  static override className = 'SpecPickySecret';

  override call(inputs: Inputs): tf.Tensor {
    if (onlyTensor(inputs).dataSync()[0] !== 7) throw new Error('the first number must be 7');
    return super.call(inputs);
  }
}

/** Applies a function that was given to it, which its configuration cannot hold. */
export class Lambda extends tf.layers.Layer {
  static className = 'SpecLambda';

  constructor(private readonly args: {f: (x: tf.Tensor) => tf.Tensor; name?: string}) {
    super({name: args.name});
  }

  override call(inputs: Inputs): tf.Tensor {
    return this.args.f(onlyTensor(inputs));
  }
}

/** Not a layer: keeps a Dense where only it can reach it. */
class Helper {
  readonly #dense = inner('helped');

  build(shape: tf.Shape | tf.Shape[]): void {
    this.#dense.build(shape);
    this.#dense.built = true;
  }

  run(x: tf.Tensor): tf.Tensor {
    return this.#dense.apply(x) as tf.Tensor;
  }

  get weights(): tf.LayerVariable[] {
    return this.#dense.weights;
  }
}

/** Its helper has the private field. */
export class HelpedLayer extends tf.layers.Layer {
  static className = 'SpecHelpedLayer';
  private readonly helper = new Helper();

  override build(shape: tf.Shape | tf.Shape[]): void {
    this.helper.build(shape);
    this.built = true;
  }

  override computeOutputShape(shape: tf.Shape): tf.Shape {
    return [...shape.slice(0, -1), 4];
  }

  override call(inputs: Inputs): tf.Tensor {
    return this.helper.run(onlyTensor(inputs));
  }

  get secrets(): tf.LayerVariable[] {
    return this.helper.weights;
  }
}
