/**
 * @file `SparsifiedMatMul` on backend wasm, by the module of wasm/ in the memory of that backend: kernels and activations are read
 * where TensorFlow.js has them. Few rows skip rows of the kernel; more are masked for the backend's own product, which divides
 * them over its threads.
 */
import * as tf from '@tensorflow/tfjs';
import {FUSED_ACTIVATIONS} from './activations.js';
import {
  DEQUANTIZE_INT8,
  SPARSIFIED_MATMUL_INT8,
  type Int8Infos,
  type SparsifiedMatMulInt8Inputs,
} from './int8-kernels.js';
import {
  DEQUANTIZE_INT4,
  SPARSIFIED_MATMUL_INT4,
  type Int4Attrs,
  type Int4Infos,
  type SparsifiedMatMulInt4Attrs,
  type SparsifiedMatMulInt4Inputs,
} from './int4-kernels.js';
import {
  SPARSIFIED_MATMUL,
  leadingSize,
  type SparsifiedMatMulAttrs,
  type SparsifiedMatMulInputs,
} from './sparsified-matmul-kernel.js';
import type {CompiledModule} from './wasm/compile.js';
import type {WasmExports} from './wasm/exports.js';
import {instanceIn, type WasmInstance} from './wasm/instance.js';
import {startPool} from './wasm/threads.js';

/** What the wasm backend has beyond the public type (tfjs-backend-wasm 4.22, `backend_wasm.ts`). */
interface WasmBackend extends tf.KernelBackend {
  readonly wasm: {
    readonly wasmMemory?: WebAssembly.Memory;
    readonly asm?: {readonly memory: WebAssembly.Memory};
    _malloc(bytes: number): number;
  };
  readonly dataIdMap: {get(dataId: object): {readonly memoryOffset: number}};
  makeOutput(shape: readonly number[], dtype: tf.DataType): tf.TensorInfo;
}

/** Up to so many rows of x, rows of the kernel are skipped in any case. */
const MAX_ALWAYS_SKIPPING_ROWS = 2;

/** Beyond it never, but for small products; between the two, if the rows keep less than this share of the inputs. */
const MAX_SKIPPING_ROWS = 8;
const MAX_KEPT_SHARE = 0.75;

/** To call the module for the mask and the backend for the product takes 5 us more than one call, 15 % of so many multiplications. */
const SMALL_PRODUCTS = 2 ** 18;
const MAX_SMALL_ROWS = 16;

/** The module for memory that threads share or do not, and on how many threads it computes. */
interface WasmModules {
  readonly plain: CompiledModule;
  readonly shared: CompiledModule | null;
  readonly threads: number;
}

let modules: WasmModules | undefined;

/** Instances by the backend whose memory they are in: a program may remove the backend and make it anew. */
const instances = new WeakMap<WasmBackend, WasmInstance>();

/**
 * Registers `SparsifiedMatMul`, its INT8 and INT4 forms and the dequantizations for backend wasm. A second call changes nothing.
 *
 * @param compiled For memory of both kinds; null where memory cannot be shared.
 */
export function registerWasmBackend(compiled: WasmModules): void {
  if (modules !== undefined) return;
  modules = compiled;
  tf.registerKernel({kernelName: SPARSIFIED_MATMUL, backendName: 'wasm', kernelFunc});
  tf.registerKernel({kernelName: SPARSIFIED_MATMUL_INT8, backendName: 'wasm', kernelFunc: int8KernelFunc});
  tf.registerKernel({kernelName: DEQUANTIZE_INT8, backendName: 'wasm', kernelFunc: dequantizeFunc});
  tf.registerKernel({kernelName: SPARSIFIED_MATMUL_INT4, backendName: 'wasm', kernelFunc: int4KernelFunc});
  tf.registerKernel({kernelName: DEQUANTIZE_INT4, backendName: 'wasm', kernelFunc: dequantizeInt4Func});
}

/** The instance in the memory of a backend. */
function instanceOf(backend: WasmBackend): WasmInstance {
  const known = instances.get(backend);
  if (known !== undefined) return known;
  const {wasm} = backend;
  const memory = (wasm.wasmMemory ?? wasm.asm?.memory)!;
  const isShared = typeof SharedArrayBuffer === 'function' && memory.buffer instanceof SharedArrayBuffer;
  const {plain, shared, threads} = modules!;
  const compiled = isShared ? shared : plain;
  if (compiled === null) throw new Error('the memory of backend wasm is shared, but here no memory can be');
  const instance = instanceIn(compiled, memory, (bytes) => wasm._malloc(bytes) >>> 0);
  if (isShared && threads > 1) startPool(instance, threads);
  instances.set(backend, instance);
  return instance;
}

const kernelFunc: tf.KernelFunc = ({inputs, attrs, backend}) => {
  const {x, kernel, threshold, bias} = inputs as unknown as SparsifiedMatMulInputs;
  const {activation} = attrs as unknown as SparsifiedMatMulAttrs;
  const [inputSize, units] = kernel.shape;
  const rows = leadingSize(x.shape);
  const wasm = backend as WasmBackend;
  const {exports} = instanceOf(wasm);
  const shape = [...x.shape.slice(0, -1), units];
  const step = thresholdStep(threshold, inputSize);
  const at = (info: tf.TensorInfo | undefined) => offsetOf(wasm, info);
  const place = FUSED_ACTIVATIONS.indexOf(activation);
  if (skips(exports, rows, inputSize, units, [at(x), at(threshold), step])) {
    const y = wasm.makeOutput(shape, 'float32');
    // Offsets after the output is made.
    exports.sparsified_matmul(
      at(x),
      rows,
      inputSize,
      at(threshold),
      step,
      at(kernel),
      units,
      at(bias),
      place,
      at(y),
    );
    return y;
  }
  const masked = wasm.makeOutput([1, rows, inputSize], 'float32');
  exports.mask_rows(at(x), rows, inputSize, at(threshold), step, at(masked));
  const y = denseProduct(wasm, masked, kernel); // [1, rows, K] x [1, K, N]
  wasm.disposeData(masked.dataId);
  if (bias !== undefined || activation !== 'linear') exports.finish_rows(at(y), rows, units, at(bias), place);
  return {...y, shape};
};

/**
 * Whether rows of the kernel are skipped. Of two rows always; more rows are multiplied by the backend's product in the same time
 * as one, so that it takes few kept rows to be faster, and kernels that are so small that two calls take longer than one.
 * `npm run bench -- web --only kernels` measures both.
 */
function skips(
  exports: WasmExports,
  rows: number,
  inputSize: number,
  units: number,
  [x, threshold, step]: readonly [number, number, number],
): boolean {
  // The backend's product does not take what is empty.
  if (rows <= MAX_ALWAYS_SKIPPING_ROWS || inputSize * units === 0) return true;
  if (rows <= MAX_SMALL_ROWS && rows * inputSize * units <= SMALL_PRODUCTS) return true;
  if (rows > MAX_SKIPPING_ROWS) return false;
  return exports.count_kept(x, rows, inputSize, threshold, step) < MAX_KEPT_SHARE * inputSize;
}

/** The product of the backend itself, of which a batch has one matrix. */
function denseProduct(backend: WasmBackend, a: tf.TensorInfo, kernel: tf.TensorInfo): tf.TensorInfo {
  const {kernelFunc: multiply} = tf.getKernel('BatchMatMul', 'wasm');
  const b = {...kernel, shape: [1, ...kernel.shape]};
  const attrs = {transposeA: false, transposeB: false};
  return multiply({inputs: {a, b}, attrs, backend}) as tf.TensorInfo;
}

/** However many rows: beyond a few the module dequantizes blocks of the kernel into the cache, never all of it. */
const int8KernelFunc: tf.KernelFunc = ({inputs, attrs, backend}) => {
  const {values, scale, zeroPoint, ...others} = inputs as unknown as SparsifiedMatMulInt8Inputs;
  const shape = [values.shape[0], scale.shape[0]] as const;
  const {exports, at, before, after, y} = packedProduct(backend, others, attrs, shape);
  exports.sparsified_matmul_int8(...before, at(values), at(scale), at(zeroPoint), ...after);
  return y;
};

const dequantizeFunc: tf.KernelFunc = ({inputs, backend}) => {
  const {values, scale, zeroPoint} = inputs as unknown as Int8Infos;
  const [rows] = values.shape;
  const [units] = scale.shape;
  const wasm = backend as WasmBackend;
  const {exports} = instanceOf(wasm);
  const weights = wasm.makeOutput([rows, units], 'float32');
  const at = (info: tf.TensorInfo) => offsetOf(wasm, info);
  exports.dequantize_int8(at(values), rows, units, at(scale), at(zeroPoint), at(weights));
  return weights;
};

/** However many rows, as with INT8. */
const int4KernelFunc: tf.KernelFunc = ({inputs, attrs, backend}) => {
  const {values, scale, zeroPoint, minimum, ...others} = inputs as unknown as SparsifiedMatMulInt4Inputs;
  const {columns, groupSize} = attrs as unknown as SparsifiedMatMulInt4Attrs;
  const {exports, at, before, after, y} = packedProduct(backend, others, attrs, [values.shape[0], columns]);
  const parts = [at(values), groupSize, at(scale), at(zeroPoint), at(minimum)] as const;
  exports.sparsified_matmul_int4(...before, ...parts, ...after);
  return y;
};

/** The output of a product with a packed kernel [K, N], and what a call of the module has before and after the kernel's own parts. */
function packedProduct(
  backend: unknown,
  {x, threshold, bias}: Omit<SparsifiedMatMulInputs, 'kernel'>,
  attrs: tf.NamedAttrMap | undefined,
  [inputSize, units]: readonly [number, number],
) {
  const {activation} = attrs as unknown as SparsifiedMatMulAttrs;
  const wasm = backend as WasmBackend;
  const {exports} = instanceOf(wasm);
  const y = wasm.makeOutput([...x.shape.slice(0, -1), units], 'float32');
  const at = (info: tf.TensorInfo | undefined) => offsetOf(wasm, info);
  const rows = leadingSize(x.shape);
  // Offsets after the output is made.
  const before = [at(x), rows, inputSize, at(threshold), thresholdStep(threshold, inputSize)] as const;
  const after = [units, at(bias), FUSED_ACTIVATIONS.indexOf(activation), at(y)] as const;
  return {exports, at, before, after, y};
}

const dequantizeInt4Func: tf.KernelFunc = ({inputs, attrs, backend}) => {
  const {values, scale, zeroPoint, minimum} = inputs as unknown as Int4Infos;
  const {columns, groupSize} = attrs as unknown as Int4Attrs;
  const [rows] = values.shape;
  const wasm = backend as WasmBackend;
  const {exports} = instanceOf(wasm);
  const weights = wasm.makeOutput([rows, columns], 'float32');
  const at = (info: tf.TensorInfo | undefined) => offsetOf(wasm, info);
  exports.dequantize_int4(
    at(values),
    rows,
    groupSize,
    at(scale),
    at(zeroPoint),
    at(minimum),
    columns,
    at(weights),
  );
  return weights;
};

/** Where a tensor lies; 0 if there is none, or none of its numbers. A tensor of another backend is moved to this one first. */
function offsetOf(backend: WasmBackend, info: tf.TensorInfo | undefined): number {
  if (info === undefined || info.shape.includes(0)) return 0;
  return backend.dataIdMap.get(info.dataId).memoryOffset;
}

/** Whether a threshold is one an input, as the module takes it. */
function thresholdStep(threshold: tf.TensorInfo, inputSize: number): 0 | 1 {
  return threshold.shape.length === 1 && threshold.shape[0] === inputSize && inputSize !== 1 ? 1 : 0;
}
