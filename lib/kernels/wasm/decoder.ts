/** @file The fused decoder in WebAssembly (native/wasm/decoder.cc), as `NativeDecoder` calls the addons' ones. */
import type * as tf from '@tensorflow/tfjs';
import {
  DECODER_OUTPUT,
  type DecoderModelHandle,
  type DecoderSessionHandle,
  type DecoderTensors,
  type NativeDecoding,
} from '../decoder-addon.js';
import {hostValues} from '../../tfjs.js';
import type {CompiledModule} from './compile.js';
import {DecoderMemory} from './decoder-memory.js';
import type {WasmExports} from './exports.js';

/**
 * What the memory has beside the weights of the first model before it grows: for caches, and for what lies between layers. What is
 * not used costs addresses only.
 */
const WORKING_BYTES = 256 * 1024 ** 2;

/** As the module reads where a tensor lies: address, rank, two dimensions. */
const PLACE_WORDS = 4;

/** Of the vocabulary's size among the numbers of a model. */
const VOCABULARY = 5;

interface WasmModel {
  readonly pointer: number;
  readonly denses: number;
  readonly vocabulary: number;
  /** Whose data the model reads, so that they are kept. */
  readonly dataIds: readonly object[];
}

interface WasmSession {
  readonly pointer: number;
  /** The one it goes on with. */
  model: WasmModel;
}

/** Arrays in the memory, for one call: given back when it has ended. */
class CallArrays {
  private readonly pointers: number[] = [];

  constructor(private readonly memory: DecoderMemory) {}

  /** Room for so many bytes. */
  room(bytes: number): number {
    const pointer = this.memory.allocate(bytes);
    this.pointers.push(pointer);
    return pointer;
  }

  /** A copy of an array; null for none. */
  copy(array: Int32Array | Uint32Array | Float32Array | undefined): number {
    if (array === undefined) return 0;
    const pointer = this.room(array.byteLength);
    this.memory
      .bytes(pointer, array.byteLength)
      .set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
    return pointer;
  }

  release(): void {
    for (const pointer of this.pointers) this.memory.release(pointer);
  }
}

export class WasmDecoding implements NativeDecoding {
  private memory: DecoderMemory | undefined;
  private readonly models = new WeakMap<DecoderModelHandle, WasmModel>();
  private readonly sessions = new WeakMap<DecoderSessionHandle, WasmSession>();

  /** @param threads That compute together; 0: the calling one. */
  constructor(
    private readonly compiled: CompiledModule,
    private readonly threads: number,
  ) {}

  /** What its memory takes: weights, caches and what lies between layers. */
  get memoryBytes(): number {
    return this.memory?.instance.usedBytes() ?? 0;
  }

  /**
   * Takes the numbers of a weight over before a model is made of it, as `prepare` would, so that those of a whole model never are
   * held twice.
   *
   * @param modelBytes Of all weights of its model.
   * @throws {Error} `out of memory`.
   */
  adopt(weight: tf.Tensor, modelBytes: number): void {
    this.memoryFor(modelBytes).adopt(weight);
  }

  /**
   * Makes a model of weights, which the decoder's memory adopts.
   *
   * @throws {Error} If the weights do not fit the numbers; `out of memory`.
   */
  prepare(...[numbers, weights, words]: DecoderTensors): DecoderModelHandle {
    const tensors = [...weights, ...words];
    const memory = this.memoryFor(tensors.reduce((sum, {size}) => sum + size * 4 + 128, 0));
    const description = hostValues(numbers) as Float32Array;
    const arrays = new CallArrays(memory);
    try {
      const pointer = this.exports.decoder_model(
        arrays.copy(description),
        description.length,
        arrays.copy(placesIn(memory, weights)),
        weights.length,
        arrays.copy(placesIn(memory, words)),
        words.length,
      );
      const denses = this.exports.decoder_dense_count(pointer);
      const dataIds = tensors.map(({dataId}) => dataId);
      const handle = {} as DecoderModelHandle;
      this.models.set(handle, {pointer, denses, vocabulary: description[VOCABULARY], dataIds});
      return handle;
    } finally {
      arrays.release();
    }
  }

  decoderModel(): never {
    throw new Error('models of this decoder come from prepare');
  }

  decoderSession(handle: DecoderModelHandle, narrowCache: boolean): DecoderSessionHandle {
    const model = this.models.get(handle)!;
    const pointer = this.exports.decoder_session(model.pointer, Number(narrowCache));
    const session = {} as DecoderSessionHandle;
    this.sessions.set(session, {pointer, model});
    return session;
  }

  decoderSetModel(session: DecoderSessionHandle, handle: DecoderModelHandle): void {
    const own = this.sessions.get(session)!;
    const model = this.models.get(handle)!;
    if (this.exports.decoder_set_model(own.pointer, model.pointer) === 0) {
      throw new Error('the model has other shapes');
    }
    own.model = model;
  }

  async decoderAppend(
    session: DecoderSessionHandle,
    tokens: Int32Array,
    output: number,
    result: Float32Array,
    targets: Int32Array | undefined,
    thresholds: Float32Array | undefined,
  ): Promise<Float32Array> {
    const {pointer, model} = this.sessions.get(session)!;
    const {denses, vocabulary} = model;
    const memory = this.memory!;
    check(tokens, vocabulary, tokens.length);
    if (output === DECODER_OUTPUT.scores) check(targets!, vocabulary, tokens.length);
    checkThresholds(thresholds, denses);
    const {length} = result;
    const arrays = new CallArrays(memory);
    try {
      const args = [
        pointer,
        arrays.copy(tokens),
        tokens.length,
        arrays.copy(thresholds),
        output,
        output === DECODER_OUTPUT.scores ? arrays.copy(targets) : 0,
        arrays.room(length * 4),
      ];
      await memory.call('decoder_append', args);
      return given(memory, args[6], result, length);
    } finally {
      arrays.release();
    }
  }

  async decoderStep(
    handles: readonly DecoderSessionHandle[],
    tokens: Int32Array,
    results: readonly Float32Array[],
    thresholds: Float32Array | undefined,
  ): Promise<Float32Array[]> {
    const sessions = handles.map((handle) => this.sessions.get(handle)!);
    const {denses, vocabulary} = sessions[0].model;
    const memory = this.memory!;
    check(tokens, vocabulary, sessions.length);
    checkThresholds(thresholds, denses);
    const arrays = new CallArrays(memory);
    try {
      const logits = arrays.room(sessions.length * vocabulary * 4);
      const pointers = arrays.copy(Uint32Array.from(sessions, ({pointer}) => pointer));
      await memory.call('decoder_step', [
        pointers,
        sessions.length,
        arrays.copy(tokens),
        arrays.copy(thresholds),
        logits,
      ]);
      return results.map((result, i) => given(memory, logits + i * vocabulary * 4, result, vocabulary));
    } finally {
      arrays.release();
    }
  }

  decoderTruncate(session: DecoderSessionHandle, length: number): void {
    const {pointer} = this.sessions.get(session)!;
    this.exports.decoder_truncate(pointer, length);
  }

  decoderCounts(session: DecoderSessionHandle): Float64Array {
    const {pointer, model} = this.sessions.get(session)!;
    const {denses} = model;
    const memory = this.memory!;
    const arrays = new CallArrays(memory);
    try {
      const counts = arrays.room(denses * 16);
      this.exports.decoder_counts(pointer, counts);
      return new Float64Array(memory.bytes(counts, denses * 16).slice().buffer);
    } finally {
      arrays.release();
    }
  }

  decoderResetCounts(session: DecoderSessionHandle): void {
    const {pointer} = this.sessions.get(session)!;
    this.exports.decoder_reset_counts(pointer);
  }

  decoderRelease(handle: DecoderModelHandle | DecoderSessionHandle): void {
    const model = this.models.get(handle as DecoderModelHandle);
    const session = this.sessions.get(handle as DecoderSessionHandle);
    this.models.delete(handle as DecoderModelHandle);
    this.sessions.delete(handle as DecoderSessionHandle);
    this.memory?.afterwards(() => {
      if (model !== undefined) this.exports.decoder_model_release(model.pointer);
      if (session !== undefined) this.exports.decoder_session_release(session.pointer);
    });
  }

  /** The memory, which is made with room for so many bytes when there is none yet. */
  private memoryFor(bytes: number): DecoderMemory {
    return (this.memory ??= new DecoderMemory(this.compiled, bytes + WORKING_BYTES, this.threads));
  }

  private get exports(): WasmExports {
    return this.memory!.instance.exports;
  }
}

function placesIn(memory: DecoderMemory, tensors: readonly tf.Tensor[]): Uint32Array {
  const places = new Uint32Array(tensors.length * PLACE_WORDS);
  tensors.forEach((tensor, i) => {
    const {shape, rank} = tensor;
    places.set([memory.adopt(tensor), rank, ...shape], i * PLACE_WORDS);
  });
  return places;
}

/** The result that was given, written; a new one if it was transferred meanwhile. */
function given(memory: DecoderMemory, pointer: number, result: Float32Array, length: number): Float32Array {
  const target = result.length === length ? result : new Float32Array(length);
  target.set(memory.floats(pointer, length));
  return target;
}

function check(ids: Int32Array, vocabulary: number, length: number): void {
  if (ids.length !== length || length === 0)
    throw new Error(`${ids.length} ids, expected ${length}, 1 or more`);
  if (ids.some((id) => id < 0 || id >= vocabulary)) throw new Error('an id is out of range');
}

function checkThresholds(thresholds: Float32Array | undefined, denses: number): void {
  if (thresholds === undefined || thresholds.length === denses) return;
  throw new Error(`${thresholds.length} thresholds, expected one for each of ${denses} Dense layers`);
}
