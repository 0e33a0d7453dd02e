/**
 * @file An instance of the module in a memory: one of its own, or that of another module, whose allocator it uses then. The module
 * is position-independent, so that its data, its stack and what it allocates lie wherever the memory has room.
 */
import type {CompiledModule} from './compile.js';
import type {WasmExports} from './exports.js';

/** What another thread needs for an instance over the same memory. */
export interface ThreadPlace {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly tableSize: number;
  /** Where the module's data lie. */
  readonly data: number;
  /** The end of the thread's stack, which grows downwards. */
  readonly stackEnd: number;
  /** Where the thread's own variables lie. */
  readonly variables: number;
  /** Where the first free address stands, for memory that belongs to the module; 0 for another's, of which a thread gets none. */
  readonly nextPlace: number;
}

export interface WasmInstance {
  readonly memory: WebAssembly.Memory;
  readonly exports: WasmExports;
  /** Makes room for another thread. */
  threadPlace(): ThreadPlace;
  /** How far a memory of its own is used; the rest of it is addresses only. 0 in another's. */
  usedBytes(): number;
}

/** The deepest calls keep 32 KB of sums and two lists of 500 rows on the stack. */
const STACK_BYTES = 256 * 1024;

const PAGE_BYTES = 64 * 1024;

/** wasm32 has 4 GB of addresses; not every engine lets the last page be used. */
const MOST_PAGES = 65_535;

/** In a memory of its own: where the first free address stands. Below 1024 there is nothing else. */
const NEXT_PLACE = 512;
const FIRST_ADDRESS = 1024;

/**
 * An instance with a memory of its own.
 *
 * @param bytes It is made for so many bytes; what is not used costs addresses only. It grows as far as it can.
 * @throws {RangeError} If there is not so much memory.
 */
export function ownInstance(compiled: CompiledModule, bytes: number): WasmInstance {
  const initial = Math.min(
    MOST_PAGES,
    Math.ceil((bytes + compiled.dataBytes + STACK_BYTES) / PAGE_BYTES) + 2,
  );
  const memory = newMemory(initial, compiled.kind === 'threads');
  new Uint32Array(memory.buffer)[NEXT_PLACE / 4] = FIRST_ADDRESS;
  return instanceIn(compiled, memory, (size) => takeNext(memory, size), NEXT_PLACE);
}

/** A shared memory must say how far it may grow, and a small device does not promise 4 GB. */
function newMemory(initial: number, shared: boolean): WebAssembly.Memory {
  for (let maximum = MOST_PAGES; ; maximum = Math.max(initial, Math.floor(maximum / 2))) {
    try {
      return new WebAssembly.Memory({initial, maximum, shared});
    } catch (error) {
      if (maximum <= initial) throw error;
    }
  }
}

/**
 * The next free bytes of a memory of the module's own; `THREAD_SOURCE` of threads.ts has the same for the other threads. Only
 * the allocator calls it, which lets in one thread at a time.
 *
 * @returns Their address, a multiple of 64; 0 if there are none.
 */
function takeNext(memory: WebAssembly.Memory, size: number): number {
  const start = new Uint32Array(memory.buffer)[NEXT_PLACE / 4];
  const end = start + Math.ceil(size / 64) * 64;
  const missing = Math.ceil(end / PAGE_BYTES) - memory.buffer.byteLength / PAGE_BYTES;
  if (missing > 0) {
    try {
      memory.grow(missing);
    } catch {
      return 0;
    }
  }
  new Uint32Array(memory.buffer)[NEXT_PLACE / 4] = end;
  return start;
}

/**
 * An instance in a memory that belongs to another module.
 *
 * @param allocate The allocator of that module: memory of so many bytes, or 0. What is given is never given back.
 */
export function instanceIn(
  {module, tableSize, dataBytes}: CompiledModule,
  memory: WebAssembly.Memory,
  allocate: (bytes: number) => number,
  nextPlace = 0,
): WasmInstance {
  const take = (bytes: number): number => {
    const given = allocate(bytes + 64) >>> 0;
    if (given === 0) throw new RangeError(`there is no memory for ${bytes} bytes`);
    const start = Math.ceil(given / 64) * 64;
    new Uint8Array(memory.buffer, start, bytes).fill(0);
    return start;
  };
  const data = take(dataBytes);
  const place = (variables: number): ThreadPlace => {
    const stackEnd = take(STACK_BYTES) + STACK_BYTES;
    return {module, memory, tableSize, data, stackEnd, variables, nextPlace};
  };
  // 16 bytes more, since another module's allocator aligns to 8 only.
  const exports = instantiate(place(0), (bytes) => Math.ceil((allocate(bytes + 16) >>> 0) / 16) * 16);
  const variableBytes = Number(exports.__tls_size?.value ?? 0);
  const variables = (): number => (variableBytes === 0 ? 0 : take(variableBytes));
  exports.__wasm_init_tls?.(variables());
  exports.__wasm_apply_data_relocs?.();
  exports.__wasm_call_ctors?.();
  exports.pool_start();
  const usedBytes = () => (nextPlace === 0 ? 0 : new Uint32Array(memory.buffer)[nextPlace / 4]);
  return {memory, exports, threadPlace: () => place(variables()), usedBytes};
}

function instantiate(
  {module, memory, tableSize, data, stackEnd}: ThreadPlace,
  moreMemory: (bytes: number) => number,
): WasmExports {
  const i32 = (value: number, mutable = false) => new WebAssembly.Global({value: 'i32', mutable}, value);
  const stack = i32(stackEnd, true);
  const instance = new WebAssembly.Instance(module, {
    env: {
      memory,
      __indirect_function_table: new WebAssembly.Table({initial: tableSize + 1, element: 'anyfunc'}),
      __stack_pointer: stack,
      __memory_base: i32(data),
      __table_base: i32(1),
    },
    host: {
      more_memory: moreMemory,
      fail: (text: number, length: number) => {
        stack.value = stackEnd; // an error leaves the module without putting it back
        // A copy: what lies in shared memory is not decoded.
        throw new Error(new TextDecoder().decode(new Uint8Array(memory.buffer, text >>> 0, length).slice()));
      },
    },
  });
  return instance.exports as unknown as WasmExports;
}
