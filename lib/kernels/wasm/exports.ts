/** @file The functions of the WebAssembly module, native/wasm. Pointers are offsets into its memory, handles are too. */

/** What an instance exports; numbers are 32-bit integers but where said. */
export interface WasmExports {
  /** Bytes in the module's memory, aligned to 64; given back by `release`. Throws `out of memory`. */
  allocate(bytes: number): number;
  release(pointer: number): void;

  pool_start(): void;
  pool_set_threads(threads: number): void;
  /** Never returns; for workers. */
  pool_join(): void;

  sparsified_matmul(
    x: number,
    rows: number,
    inputs: number,
    threshold: number,
    thresholdStep: number,
    kernel: number,
    units: number,
    bias: number,
    activation: number,
    y: number,
  ): void;
  sparsified_matmul_int8(
    x: number,
    rows: number,
    inputs: number,
    threshold: number,
    thresholdStep: number,
    values: number,
    scale: number,
    zeroPoint: number,
    units: number,
    bias: number,
    activation: number,
    y: number,
  ): void;
  sparsified_matmul_int4(
    x: number,
    rows: number,
    inputs: number,
    threshold: number,
    thresholdStep: number,
    values: number,
    groupSize: number,
    scale: number,
    zeroPoint: number,
    minimum: number,
    units: number,
    bias: number,
    activation: number,
    y: number,
  ): void;
  count_kept(x: number, rows: number, inputs: number, threshold: number, thresholdStep: number): number;
  mask_rows(
    x: number,
    rows: number,
    inputs: number,
    threshold: number,
    thresholdStep: number,
    y: number,
  ): void;
  finish_rows(y: number, rows: number, units: number, bias: number, activation: number): void;
  dequantize_int8(
    values: number,
    inputs: number,
    units: number,
    scale: number,
    zeroPoint: number,
    weights: number,
  ): void;
  dequantize_int4(
    values: number,
    inputs: number,
    groupSize: number,
    scale: number,
    zeroPoint: number,
    minimum: number,
    units: number,
    weights: number,
  ): void;

  decoder_model(
    numbers: number,
    numberCount: number,
    tensors: number,
    tensorCount: number,
    words: number,
    wordCount: number,
  ): number;
  decoder_model_release(model: number): void;
  decoder_dense_count(model: number): number;
  decoder_session(model: number, narrowCache: number): number;
  decoder_session_release(session: number): void;
  decoder_set_model(session: number, model: number): number;
  decoder_append(
    session: number,
    tokens: number,
    count: number,
    thresholds: number,
    output: number,
    targets: number,
    result: number,
  ): void;
  decoder_step(sessions: number, count: number, tokens: number, thresholds: number, logits: number): void;
  decoder_truncate(session: number, length: number): void;
  /** Writes doubles. */
  decoder_counts(session: number, counts: number): void;
  decoder_reset_counts(session: number): void;

  /** Of a position-independent module with threads: how much memory a thread's own variables take, and their place. */
  readonly __tls_size?: WebAssembly.Global;
  __wasm_init_tls?(pointer: number): void;
  __wasm_apply_data_relocs?(): void;
  __wasm_call_ctors?(): void;
}
