/** @file onnxruntime-web in a page, on the processor: one step of decoding as transformers.js runs it. */

/** Of the package, what is used here: it is no dependency, and the site serves it. */
interface Ort {
  readonly env: {readonly wasm: {numThreads: number; wasmPaths: string}; logLevel: string};
  readonly InferenceSession: {create(url: string, options: object): Promise<Session>};
  readonly Tensor: new (type: string, data: ArrayLike<number>, shape: readonly number[]) => OrtTensor;
}

interface OrtTensor {
  readonly data: Float32Array;
}

interface Session {
  run(feeds: Readonly<Record<string, OrtTensor>>): Promise<Record<string, OrtTensor>>;
}

const FOLDER = '/peers/onnxruntime/';

let ort: Ort | undefined;
let session: Session | undefined;

/** Loads a model with onnxruntime's own optimizations. */
export async function load(url: string, threads: number): Promise<{threads: number}> {
  const path = `${FOLDER}ort.wasm.min.mjs`;
  ort = (await import(path)) as Ort;
  ort.env.wasm.wasmPaths = new URL(FOLDER, location.href).href;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = 'error';
  session = await ort.InferenceSession.create(url, {
    executionProviders: ['wasm'],
    graphOptimizationLevel: 'all',
  });
  return {threads};
}

/** Runs so many steps on inputs of these names and shapes; the median time of one, ms. */
export async function step(
  floats: Readonly<Record<string, readonly number[]>>,
  integers: Readonly<Record<string, {readonly shape: readonly number[]; readonly value: number}>>,
  count: number,
): Promise<number> {
  const {Tensor} = ort!;
  const feeds: Record<string, OrtTensor> = {};
  for (const [name, shape] of Object.entries(floats)) {
    const size = shape.reduce((product, extent) => product * extent, 1);
    feeds[name] = new Tensor(
      'float32',
      Float32Array.from({length: size}, () => Math.random() - 0.5),
      shape,
    );
  }
  for (const [name, {shape, value}] of Object.entries(integers)) {
    const size = shape.reduce((product, extent) => product * extent, 1);
    feeds[name] = new Tensor('int32', new Int32Array(size).fill(value), shape);
  }
  const times = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    const {logits} = await session!.run(feeds);
    times.push(performance.now() - start);
    if (!Number.isFinite(logits.data[0])) throw new Error('onnxruntime-web gave no number');
  }
  return times.sort((a, b) => a - b)[times.length >> 1];
}
