/**
 * @file The WebAssembly module in its two kinds: for threads on shared memory, and for one thread. They are part of this package's
 * JavaScript (plain-module.ts, threads-module.ts), so that no bundler and no server has to find a file of theirs.
 */
import {BackendError} from '../../errors.js';

export type ModuleKind = 'plain' | 'threads';

/** What an instance needs to know of the module's data (section `dylink.0`). */
export interface CompiledModule {
  readonly kind: ModuleKind;
  readonly module: WebAssembly.Module;
  /** Bytes of its data. */
  readonly dataBytes: number;
  /** Functions in its table. */
  readonly tableSize: number;
}

/** A module of a few bytes with an instruction of SIMD128. */
const SIMD_PROBE = Uint8Array.from([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98,
  11,
]);

const compiled = new Map<ModuleKind, Promise<CompiledModule>>();

/**
 * Compiles the module of a kind, once.
 *
 * @throws {BackendError} `no-wasm-simd` where WebAssembly or its SIMD instructions are missing.
 */
export function compileModule(kind: ModuleKind): Promise<CompiledModule> {
  const known = compiled.get(kind);
  if (known !== undefined) return known;
  const promise = compile(kind);
  compiled.set(kind, promise);
  return promise;
}

/** Whether this environment has WebAssembly with SIMD. */
export function hasSimd(): boolean {
  return typeof WebAssembly === 'object' && WebAssembly.validate(SIMD_PROBE);
}

async function compile(kind: ModuleKind): Promise<CompiledModule> {
  if (!hasSimd()) {
    throw new BackendError(
      'no-wasm-simd',
      'there is no WebAssembly with SIMD here: use Chrome 91, Firefox 89, Safari 16.4, Node 16 or newer',
    );
  }
  const {MODULE} = await (kind === 'threads' ? import('./threads-module.js') : import('./plain-module.js'));
  const zipped = Uint8Array.from(atob(MODULE), (character) => character.charCodeAt(0));
  const unzipped = new Blob([zipped]).stream().pipeThrough(new DecompressionStream('gzip'));
  const module = await WebAssembly.compile(await new Response(unzipped).arrayBuffer());
  return {kind, module, ...needsOf(module)};
}

/** The first entry of section `dylink.0`: the sizes of memory and table (tool-conventions, DynamicLinking.md). */
function needsOf(module: WebAssembly.Module): {dataBytes: number; tableSize: number} {
  const [section] = WebAssembly.Module.customSections(module, 'dylink.0');
  const bytes = new Uint8Array(section);
  let at = 2; // behind the entry's type and length
  const number = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const dataBytes = number();
  number(); // alignment of the data, which is less than that of every place it gets
  return {dataBytes, tableSize: number()};
}
