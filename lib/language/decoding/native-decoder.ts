/**
 * @file The fused decoder on tfjs-node and tfjs-node-gpu with the native kernels: a whole forward pass in C++
 * (lib/kernels/native/decoder-session.h, or cuda/decoder-session.h), on threads of its own, so that the event loop goes on
 * meanwhile. The model's weights are read where TensorFlow has them. The layers stay the definition: graph-decoder.ts computes the same.
 */
import * as tf from '@tensorflow/tfjs';
import {currentDecoding, type Decoding} from '../../kernels/find-decoder-addon.js';
import {
  DECODER_OUTPUT,
  type DecoderModelHandle,
  type DecoderSessionHandle,
} from '../../kernels/decoder-addon.js';
import {isSparsifyingDense} from '../../layers/sparsifying-dense.js';
import {isMasking} from '../../model/dense-layers.js';
import {oneOf, type OptionRules} from '../../option-rules.js';
import {rawValue, type LayerVariable} from '../../tfjs.js';
import type {LlamaConfig} from '../config/llama-config.js';
import {STORAGES, type Storage} from '../config/saved-metadata.js';
import {
  checkAppendOptions,
  checkedIds,
  checkIdle,
  checkNotDisposed,
  checkTargets,
  checkTruncation,
  type DecoderState,
} from './decoder-checks.js';
import type {AppendOptions, Decoder, JointStep, MaskedCount, Step} from './decoder.js';
import {nativeLayout, type NativeLayout} from './decoder-description.js';

export interface NativeDecoderOptions {
  /** Of keys and values. Default `float32`. */
  readonly cache?: Storage;
  /**
   * Of the Dense kernels that are float32. `float32`, the default, uses the model's own memory; `bfloat16` is a copy,
   * shared by all decoders of the model. Packed kernels are used where they are, but for short rows on tfjs-node: of
   * layers that read the same these are copied to lie side by side (lib/kernels/native/README.md).
   */
  readonly weights?: Storage;
}

const STORAGE = oneOf(STORAGES);
export const NATIVE_DECODER_RULES: OptionRules<NativeDecoderOptions> = {cache: STORAGE, weights: STORAGE};

/** Tokens a call of the addon: between two of them other decoders have their turn. */
const CHUNK = 512;

/**
 * Makes a decoder for a model, if this process can run it natively.
 *
 * @param model Built by `buildModel` with this configuration, or a copy, sparsified or not. Weights and thresholds that
 *   are replaced later are noticed; layers that are sparsified later are masked too but not counted. It must outlive the
 *   decoder.
 * @returns The caller disposes it. It throws the errors of `createGraphDecoder`'s. Decoders may be used at the same time: they
 *   compute one after another. Null if backend `tensorflow` with the native kernels is not the current one, a layer of the model is
 *   another than `buildModel` makes, or it is a mixture of experts on a GPU.
 */
export function createNativeDecoder(
  model: tf.LayersModel,
  config: LlamaConfig,
  {cache = 'float32', weights = 'float32'}: NativeDecoderOptions = {},
): Decoder | null {
  const decoding = currentDecoding();
  if (decoding === undefined || (config.experts !== null && !decoding.experts)) return null;
  const layout = nativeLayout(model, config);
  if (layout === null) return null;
  return new NativeDecoder(decoding, model, layout, config.vocabularySize, cache, weights);
}

/** Weights that the addon keeps, for all decoders of one model. */
interface Prepared {
  readonly handle: DecoderModelHandle;
  /** Of the weights that it was made from. */
  readonly ids: readonly object[];
  users: number;
}

/** The latest of each model, by storage. */
const preparedModels = new WeakMap<tf.LayersModel, Map<Storage, Prepared>>();

/** By model and storage of its weights: decoders that share both can take a step together. */
const jointSteps = new WeakMap<tf.LayersModel, Map<Storage, JointStep>>();

/** Ends when the last append that was asked for has ended: the cores are for one at a time. */
let lastAppend: Promise<unknown> = Promise.resolve();

class NativeDecoder implements Decoder {
  length = 0;
  readonly together?: JointStep;
  private state: DecoderState = 'idle';
  private prepared: Prepared;
  private readonly session: DecoderSessionHandle;
  /** Places of the layers that are sparsified, in `layout.denses`. */
  private readonly counted: readonly number[];
  /** Where logits go, for one call after another; empty once the caller has transferred what it got. */
  private logits: Float32Array;
  private readonly thresholds: Float32Array;
  /** Of the threshold that stands in `thresholds`, by Dense. */
  private readonly thresholdIds: (object | null)[];

  constructor(
    private readonly decoding: Decoding,
    private readonly model: tf.LayersModel,
    private readonly layout: NativeLayout,
    private readonly vocabulary: number,
    cache: Storage,
    private readonly weights: Storage,
  ) {
    this.prepared = this.prepare();
    this.session = decoding.native.decoderSession(this.prepared.handle, cache === 'bfloat16');
    if (decoding.native.decoderStep !== undefined) this.together = jointStepOf(model, weights);
    this.logits = new Float32Array(vocabulary);
    this.thresholds = new Float32Array(layout.denses.length).fill(-Infinity);
    this.thresholdIds = layout.denses.map(() => null);
    this.counted = layout.denses.flatMap(({layer}, i) => (isMasking(layer) ? [i] : []));
  }

  async append(tokens: ArrayLike<number>, options?: AppendOptions): Promise<Float32Array> {
    const ids = checkedIds(tokens, 'tokens', this.vocabulary);
    this.logits = await this.run(ids, options, DECODER_OUTPUT.last, () => this.logitsArray());
    return this.logits;
  }

  async appendAll(tokens: ArrayLike<number>, options?: AppendOptions): Promise<Float32Array> {
    const ids = checkedIds(tokens, 'tokens', this.vocabulary);
    const all = new Float32Array(ids.length * this.vocabulary);
    await this.run(ids, options, DECODER_OUTPUT.all, (start, end) =>
      all.subarray(start * this.vocabulary, end * this.vocabulary),
    );
    return all;
  }

  async score(
    tokens: ArrayLike<number>,
    targets: ArrayLike<number>,
    options?: AppendOptions,
  ): Promise<Float32Array> {
    const ids = checkedIds(tokens, 'tokens', this.vocabulary);
    const wanted = checkedIds(targets, 'targets', this.vocabulary);
    checkTargets(ids, wanted);
    const scores = new Float32Array(ids.length);
    await this.run(
      ids,
      options,
      DECODER_OUTPUT.scores,
      (start, end) => scores.subarray(start, end),
      (start, end) => wanted.subarray(start, end),
    );
    return scores;
  }

  /** A step of decoders that have the same `together`. */
  static async step(steps: readonly Step[]): Promise<Float32Array[]> {
    const decoders = steps.map(({decoder}) => decoder as NativeDecoder);
    const ids = steps.map(({token}) => token);
    const tokens = checkedIds(ids, 'tokens', decoders[0].vocabulary);
    for (const {state} of decoders) checkIdle(state);
    for (const decoder of decoders) decoder.state = 'busy';
    try {
      const turn = lastAppend.then(() => NativeDecoder.computeStep(decoders, tokens, steps[0]));
      lastAppend = turn.catch(() => {});
      await turn;
    } catch (error) {
      for (const decoder of decoders) decoder.forgetFrom(decoder.length);
      throw error;
    } finally {
      for (const decoder of decoders) if (!decoder.isDisposed()) decoder.state = 'idle';
    }
    return decoders.map(({logits}) => logits);
  }

  private static async computeStep(
    decoders: readonly NativeDecoder[],
    tokens: Int32Array,
    {dense = false}: AppendOptions,
  ): Promise<void> {
    for (const decoder of decoders) {
      checkNotDisposed(decoder.state);
      decoder.update();
    }
    const [{decoding, thresholds}] = decoders;
    const logits = await decoding.native.decoderStep!(
      decoders.map(({session}) => session),
      tokens,
      decoders.map((decoder) => decoder.logitsArray()),
      dense ? undefined : thresholds,
    );
    decoders.forEach((decoder, i) => {
      decoder.logits = logits[i];
      decoder.length++;
    });
  }

  truncate(length: number): void {
    checkIdle(this.state);
    checkTruncation(length, this.length);
    this.decoding.native.decoderTruncate(this.session, length);
    this.length = length;
  }

  counts(): ReadonlyMap<string, MaskedCount> {
    checkNotDisposed(this.state);
    const counts = this.decoding.native.decoderCounts(this.session);
    return new Map(
      this.counted.map((i) => [
        this.layout.denses[i].path,
        {masked: counts[2 * i], total: counts[2 * i + 1]},
      ]),
    );
  }

  resetCounts(): void {
    checkNotDisposed(this.state);
    this.decoding.native.decoderResetCounts(this.session);
  }

  dispose(): void {
    if (this.state === 'disposed') return;
    // What is still being computed keeps its memory until it is done.
    this.decoding.native.decoderRelease(this.session);
    this.state = 'disposed';
    this.release(this.prepared);
  }

  private logitsArray(): Float32Array {
    return this.logits.length === 0 ? new Float32Array(this.vocabulary) : this.logits;
  }

  /** Of a call that failed: the addon may have appended before it did. */
  private forgetFrom(length: number): void {
    if (!this.isDisposed()) this.decoding.native.decoderTruncate(this.session, length);
    this.length = length;
  }

  /**
   * Appends in chunks, behind what other decoders were asked for before; on an error the sequence is as it was.
   *
   * @returns The result of the last chunk.
   */
  private async run(
    ids: Int32Array,
    options: AppendOptions | undefined,
    output: number,
    result: (start: number, end: number) => Float32Array,
    targets: (start: number, end: number) => Int32Array | undefined = () => undefined,
  ): Promise<Float32Array> {
    checkAppendOptions(options);
    checkIdle(this.state);
    this.state = 'busy';
    const before = this.length;
    let last = this.logits;
    try {
      for (let start = 0; start < ids.length; start += CHUNK) {
        const end = Math.min(start + CHUNK, ids.length);
        const [part, wanted] = [ids.subarray(start, end), targets(start, end)];
        // The result's array is taken when its turn comes: until then the caller may transfer the last one.
        const turn = lastAppend.then(() =>
          this.appendChunk(part, options, output, result(start, end), wanted),
        );
        lastAppend = turn.catch(() => {});
        last = await turn;
      }
    } catch (error) {
      this.forgetFrom(before);
      throw error;
    } finally {
      if (!this.isDisposed()) this.state = 'idle';
    }
    return last;
  }

  private async appendChunk(
    ids: Int32Array,
    {dense = false}: AppendOptions = {},
    output: number,
    result: Float32Array,
    targets: Int32Array | undefined,
  ): Promise<Float32Array> {
    checkNotDisposed(this.state);
    this.update();
    const thresholds = dense ? undefined : this.thresholds;
    const {native} = this.decoding;
    const given = await native.decoderAppend(this.session, ids, output, result, targets, thresholds);
    this.length += ids.length;
    return given;
  }

  /** It may have been while a call ran. */
  private isDisposed(): boolean {
    return this.state === 'disposed';
  }

  /** Takes over weights and thresholds that were replaced since the last append. */
  private update(): void {
    if (!isCurrent(this.prepared, this.layout)) {
      const old = this.prepared;
      this.prepared = this.prepare();
      this.decoding.native.decoderSetModel(this.session, this.prepared.handle);
      this.release(old);
    }
    this.layout.denses.forEach(({layer}, i) => {
      const threshold =
        isSparsifyingDense(layer) && layer.threshold !== null ? rawValue(layer.threshold) : null;
      const id = threshold?.dataId ?? null;
      if (id === this.thresholdIds[i]) return;
      this.thresholds[i] = threshold === null ? -Infinity : threshold.dataSync()[0];
      this.thresholdIds[i] = id;
    });
  }

  /** The weights as they are now, prepared by this or another decoder. */
  private prepare(): Prepared {
    const byStorage = preparedModels.get(this.model) ?? new Map<Storage, Prepared>();
    preparedModels.set(this.model, byStorage);
    const known = byStorage.get(this.weights);
    if (known !== undefined && isCurrent(known, this.layout)) {
      known.users++;
      return known;
    }
    const {numbers, frequencies, weights, words} = this.layout;
    const [none, noWords] = [tf.zeros([0]), tf.zeros([0], 'int32')];
    const description = tf.tensor1d([...numbers, Number(this.weights === 'bfloat16'), ...frequencies]);
    const tensors = weights.map((weight) => (weight === null ? none : rawValue(weight)));
    const packed = words.map((weight) => (weight === null ? noWords : rawValue(weight)));
    const handle = this.decoding.prepare(description, tensors, packed);
    tf.dispose([none, noWords, description]);
    const prepared = {handle, ids: dataIdsOf(this.layout), users: 1};
    byStorage.set(this.weights, prepared);
    return prepared;
  }

  private release(prepared: Prepared): void {
    prepared.users--;
    if (prepared.users > 0) return;
    this.decoding.native.decoderRelease(prepared.handle);
    const byStorage = preparedModels.get(this.model);
    if (byStorage?.get(this.weights) === prepared) byStorage.delete(this.weights);
  }
}

function jointStepOf(model: tf.LayersModel, weights: Storage): JointStep {
  const byStorage = jointSteps.get(model) ?? new Map<Storage, JointStep>();
  jointSteps.set(model, byStorage);
  const step = byStorage.get(weights) ?? ((steps) => NativeDecoder.step(steps));
  byStorage.set(weights, step);
  return step;
}

function dataIdsOf({weights, words}: NativeLayout): object[] {
  return [...weights, ...words].flatMap((weight) => (weight === null ? [] : [rawValue(weight).dataId]));
}

function isCurrent({ids}: Prepared, {weights, words}: NativeLayout): boolean {
  let next = 0;
  const isSame = (weight: LayerVariable | null) => weight === null || rawValue(weight).dataId === ids[next++];
  return weights.every(isSame) && words.every(isSame);
}
