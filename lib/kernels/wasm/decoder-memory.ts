/**
 * @file The memory in which the weights of models lie for the decoder, a module's own, with the threads that compute there. A weight
 * is *adopted*: its numbers are copied there, and its tensor becomes a view of them on backend cpu, so that they are held once.
 * Layers that compute with it on another backend take a copy, as they do of any tensor of another backend.
 */
import type * as tf from '@tensorflow/tfjs';
import {cpuBackend, dataInfoOf, hostValues, moveToHost} from '../../tfjs.js';
import type {CompiledModule} from './compile.js';
import type {WasmExports} from './exports.js';
import {ownInstance, type WasmInstance} from './instance.js';
import {InstanceThreads, type LongCall} from './threads.js';

export class DecoderMemory {
  readonly instance: WasmInstance;
  /** They start with the first long call: until then weights are adopted, and nothing waits for a thread that is starting. */
  private threads: InstanceThreads | null = null;
  /** Ends when the last long call has ended. */
  private last: Promise<unknown> = Promise.resolve();
  private buffer: ArrayBufferLike;
  /** Where adopted data lie. */
  private readonly places = new WeakMap<object, number>();
  /** By place, data that are views of this memory: when a memory that is not shared grows, they end. */
  private readonly views = new Map<number, WeakRef<object>>();
  private readonly freed: FinalizationRegistry<number>;

  /**
   * @param bytes It is made for so many, and grows as far as it can.
   * @param threads That compute together; 0 where memory cannot be shared: then the calling thread computes.
   * @throws {RangeError} If there is not so much memory.
   */
  constructor(
    compiled: CompiledModule,
    bytes: number,
    private threadCount: number,
  ) {
    const instance = ownInstance(compiled, bytes);
    this.instance = instance;
    this.buffer = instance.memory.buffer;
    this.freed = new FinalizationRegistry((pointer) => {
      this.views.delete(pointer);
      this.release(pointer);
    });
  }

  /**
   * Where a tensor's numbers lie in this memory; they are adopted if they are not there.
   *
   * @param tensor float32 or int32.
   * @returns Their address.
   * @throws {Error} `out of memory`.
   */
  adopt({dataId, dtype}: tf.Tensor): number {
    const place = this.places.get(dataId);
    if (place !== undefined) return place;
    const values = hostValues({dataId} as tf.TensorInfo);
    const pointer = this.allocate(values.byteLength);
    const view = this.view(dtype, values.length, pointer);
    view.set(values);
    moveToHost(dataId, view);
    this.places.set(dataId, pointer);
    this.views.set(pointer, new WeakRef(dataId));
    this.freed.register(dataId, pointer);
    return pointer;
  }

  /** Memory of so many bytes, at a multiple of 64; given back by `release`. */
  allocate(bytes: number): number {
    const pointer = this.instance.exports.allocate(bytes) >>> 0;
    this.renewViews();
    return pointer;
  }

  release(pointer: number): void {
    this.instance.exports.release(pointer);
  }

  /** A view of the memory, until it grows. */
  bytes(pointer: number, length: number): Uint8Array {
    return new Uint8Array(this.bufferUpTo(pointer + length), pointer, length);
  }

  /** A view of floats, until the memory grows. */
  floats(pointer: number, length: number): Float32Array {
    return new Float32Array(this.bufferUpTo(pointer + length * 4), pointer, length);
  }

  /**
   * Makes a call that takes long, behind those before it: on a thread of its own if there are threads, else here.
   *
   * @throws {Error} What the module says; `lost-worker`.
   */
  call(name: LongCall, args: readonly number[]): Promise<void> {
    const turn = this.last.then(async () => {
      if (this.threadCount > 0) await this.startThreads();
      if (this.threads !== null) await this.threads.call(name, args);
      else this.compute(name, args);
      this.renewViews();
    });
    this.last = turn.catch(() => {});
    return turn;
  }

  /** Does something when no long call is on its way that was asked for before. */
  afterwards(work: () => void): void {
    this.last = this.last.then(work);
  }

  private compute(name: LongCall, args: readonly number[]): void {
    const {exports} = this.instance;
    if (name === 'decoder_step') exports.decoder_step(...(args as Parameters<WasmExports['decoder_step']>));
    else exports.decoder_append(...(args as Parameters<WasmExports['decoder_append']>));
  }

  /** Where no worker can be started, as where a page's policy forbids it, the calling thread computes alone. */
  private async startThreads(): Promise<void> {
    if (this.threads !== null) return;
    const threads = new InstanceThreads(this.instance, this.threadCount);
    try {
      await threads.ready;
      this.threads = threads;
    } catch {
      this.threadCount = 0;
      this.instance.exports.pool_set_threads(1);
    }
  }

  private view(dtype: tf.DataType, size: number, pointer: number): Float32Array | Int32Array {
    const buffer = this.bufferUpTo(pointer + size * 4);
    return dtype === 'int32'
      ? new Int32Array(buffer, pointer, size)
      : new Float32Array(buffer, pointer, size);
  }

  /** The memory's buffer. A thread may not know yet that another has made the memory grow, until it asks for nothing more. */
  private bufferUpTo(end: number): ArrayBufferLike {
    const {memory} = this.instance;
    if (memory.buffer.byteLength < end) memory.grow(0);
    return memory.buffer;
  }

  /** Growing ends all views of a memory that is not shared. */
  private renewViews(): void {
    const {buffer} = this.instance.memory;
    const before = this.buffer;
    this.buffer = buffer;
    if (before === buffer || before.byteLength > 0) return;
    for (const [pointer, reference] of this.views) {
      const dataId = reference.deref();
      const info = dataId === undefined ? undefined : dataInfoOf(dataId);
      if (info?.backend !== cpuBackend()) {
        this.views.delete(pointer);
        continue;
      }
      const size = info.shape.reduce((product, dim) => product * dim, 1);
      moveToHost(dataId!, this.view(info.dtype, size, pointer));
    }
  }
}
