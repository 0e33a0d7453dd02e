/**
 * @file How each layer of a model is copied. Fields are enough for layers of TensorFlow.js and of this package. A custom
 * layer may keep state that its fields do not show: in `#private` members, in weak collections (which compilers make of
 * them for older targets), in functions that were made for that one object. So a copy is tried out first: a custom layer
 * whose copy fails there, or reaches for the original, is made anew from its configuration and gets its weights; one that
 * does not compute the same then either cannot be copied.
 */
import * as tf from '@tensorflow/tfjs';
import {ModelError} from '../errors.js';
import {
  callsOf,
  isContainer,
  shapedSymbol,
  withCallsObserved,
  withStatesRestored,
  type Container,
  type Layer,
} from '../tfjs.js';
import {Cloner, RebuildError, type Rebuilds} from './cloner.js';
import {FILLS, birth, isSameOutput, tryLayer, type Birth, type TrialRun} from './copy-trial.js';
import {hasOwnFunctions, hasPrivateMembers, isOpen} from './hidden-state.js';
import {walkModel} from './walk.js';

type Inputs = ReadonlyMap<Layer, readonly tf.SymbolicTensor[]>;

/**
 * Finds the layers of a model that must be made anew for a copy.
 *
 * @returns Them, and what each is called with.
 * @throws {ModelError} `cannot-copy` for a layer that can be copied in neither way.
 */
export function planCopy(model: Container): Rebuilds {
  const units = customUnits(model);
  try {
    for (let open = units; open.length > 0;) {
      const {unsound, untried} = tryCopies(model, units, open);
      for (const unit of unsound) unit.next();
      open = [...unsound, ...untried];
    }
    return rebuildsOf(units);
  } finally {
    for (const unit of units) unit.dispose();
  }
}

/** A layer that the model's graph calls which is a custom layer or holds some, and how these are to be copied. */
class Unit {
  private readonly ways: (() => readonly Layer[])[];
  private readonly runs = new Map<string, TrialRun | null>();
  private readonly calledWith = new Map<Layer, readonly tf.SymbolicTensor[]>();
  /** Keys of weak collections that a copy missed; the originals'. */
  private missed: ReadonlySet<object> = new Set();

  constructor(
    private readonly path: string,
    readonly layer: Layer,
    private readonly custom: readonly Layer[],
    private readonly members: readonly Layer[],
  ) {
    const secretive = custom.filter(hasPrivateMembers);
    const suspected = () => {
      const found = custom.filter((layer) => hasOwnFunctions(layer) || this.missed.has(layer));
      return found.length === 0 ? custom : found;
    };
    // Text that looks like a private member may be none, so fields are tried too.
    this.ways = [...(secretive.length > 0 ? [() => secretive] : []), () => [], suspected, () => custom];
    this.rebuilds = this.ways[0]();
  }

  /** Its layers that are made anew, as it stands. */
  rebuilds: readonly Layer[];

  /** What its layers are called with, as far as it is known. */
  get inputs(): Inputs {
    if (this.run(FILLS[0]) === null) this.run(FILLS[1]);
    return new Map([...this.calledWith, [this.layer, callsOf(this.layer)[0].inputTensors]]);
  }

  /** Goes on to the next way of copying. */
  next(): void {
    this.ways.shift();
    const way = this.ways.at(0);
    if (way !== undefined) {
      this.rebuilds = way();
      return;
    }
    const names = this.custom.map((layer) => `"${layer.name}" (${layer.getClassName()})`).join(', ');
    throw new ModelError(
      'cannot-copy',
      `layer "${this.path}" cannot be copied: ${names} keeps state that its fields do not show (private fields, or ` +
        'functions that refer to the layer), and made anew from getConfig() with the same weights it does not compute ' +
        'the same. Change the model itself (inPlace: true in sparsifyActivations, compressWeights and ' +
        'decompressWeights), or let the layer return all its settings from getConfig() and list all its weights ' +
        'in `weights`, those of layers inside it too',
      {path: this.path, layers: this.custom.map(({name}) => name)},
    );
  }

  /** Whether a copy computes the same by itself. */
  isSound(copies: ReadonlyMap<object, object>, born: Birth): boolean {
    const copy = copies.get(this.layer) as Layer;
    const run = tryLayer(copy, FILLS[0], born) ?? tryLayer(copy, FILLS[1], born);
    try {
      const secretive = this.custom.some(hasPrivateMembers);
      // It may need more than made-up values; the original then fails too.
      if (run === null) return !secretive && FILLS.every((fill) => this.run(fill) === null);
      this.missed =
        run.missed.size === 0
          ? run.missed
          : new Set([...copies].flatMap(([original, made]) => (run.missed.has(made) ? [original] : [])));
      if (run.usesOriginal || !this.hasSameSettings(copies)) return false;
      const isPlain = this.rebuilds.length === 0 && this.missed.size === 0 && !secretive;
      if (isPlain) return true; // all that it has was copied
      const expected = this.run(run.fill);
      return expected !== null && isSameOutput(run, expected);
    } finally {
      tf.dispose(run?.outputs);
    }
  }

  dispose(): void {
    for (const run of this.runs.values()) tf.dispose(run?.outputs);
  }

  /** What the original gives. */
  private run(fill: TrialRun['fill']): TrialRun | null {
    const known = this.runs.get(fill);
    if (known !== undefined) return known;
    const note = (layer: Layer, inputs: tf.Tensor | tf.Tensor[]): void => {
      const read = [inputs].flat().slice(0, layer instanceof tf.layers.RNNCell ? 1 : undefined); // then states
      const symbols = read.map(({dtype, shape}) => shapedSymbol(dtype, [null, ...shape.slice(1)]));
      if (!this.calledWith.has(layer)) this.calledWith.set(layer, symbols);
    };
    const run = withStatesRestored(this.members, () =>
      withCallsObserved(this.members, note, () => tryLayer(this.layer, fill, birth())),
    );
    this.runs.set(fill, run);
    return run;
  }

  private hasSameSettings(copies: ReadonlyMap<object, object>): boolean {
    return this.custom.every((layer) => settingsOf(layer) === settingsOf(copies.get(layer) as Layer));
  }
}

/** A layer's configuration; undefined if it has none that can be written. */
function settingsOf(layer: Layer): string | undefined {
  try {
    return JSON.stringify(layer.getConfig());
  } catch {
    return undefined;
  }
}

/** Tells which units of `open` do not compute in a copy what the originals do, and which could not be tried out. */
function tryCopies(
  model: Container,
  units: readonly Unit[],
  open: readonly Unit[],
): {unsound: Unit[]; untried: Unit[]} {
  const born = birth();
  const cloner = new Cloner(rebuildsOf(units));
  try {
    cloner.clone(model);
    return {unsound: open.filter((unit) => !unit.isSound(cloner.copies, born)), untried: []};
  } catch (error) {
    if (!(error instanceof RebuildError)) throw error;
    const isMeant = ({rebuilds}: Unit) => rebuilds.includes(error.layer);
    return {unsound: open.filter(isMeant), untried: open.filter((unit) => !isMeant(unit))};
  } finally {
    cloner.dispose();
  }
}

function rebuildsOf(units: readonly Unit[]): Rebuilds {
  return new Map(
    units.flatMap((unit) => {
      if (unit.rebuilds.length === 0) return [];
      const {inputs} = unit;
      return unit.rebuilds.map((layer) => [layer, inputs.get(layer) ?? []] as const);
    }),
  );
}

/** The layers of a model's graph, and of nested models' graphs, that are or hold layers of other classes than ours. */
function customUnits(model: Container): Unit[] {
  const units = new Map<Layer, {path: string; custom: Layer[]; members: Layer[]}>();
  const unitOf = new Map<Layer, Layer>();
  for (const {path, layer, holder} of walkModel(model).layers) {
    const isInGraph = holder === null || (isContainer(holder) && !unitOf.has(holder));
    if (isInGraph && isContainer(layer)) continue;
    if (isInGraph) units.set(layer, {path, custom: [], members: []});
    const unit = isInGraph ? layer : unitOf.get(holder)!;
    unitOf.set(layer, unit);
    const {custom, members} = units.get(unit)!;
    members.push(layer);
    if (!isContainer(layer) && !isOpen(layer)) custom.push(layer);
  }
  return [...units].flatMap(([layer, {path, custom, members}]) =>
    custom.length === 0 ? [] : [new Unit(path, layer, custom, members)],
  );
}
