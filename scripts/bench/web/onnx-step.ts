/**
 * @file One step of decoding of a Llama model as an ONNX file with 8-bit weights, as onnxruntime's dynamic quantization makes
 * it: DynamicQuantizeLinear and MatMulInteger for every projection and the head, GroupQueryAttention over a cache that the
 * caller gives. The model's shape counts; the weights are seeded numbers. Format: onnx.proto3 of ONNX, IR version 8.
 *
 * What a whole model does besides is left out: the row of the embedding, the choice of the token, the growth of the cache.
 */
import {open, rename, rm} from 'node:fs/promises';
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';

/** `TensorProto.DataType`. */
const FLOAT = 1;
const INT8 = 3;
const INT32 = 6;

/** Places that rotary embedding has tables for. */
const PLACES = 256;

/** The inputs of a step, as the page makes them: floats of these shapes, and integers that are all the same. */
export interface StepInputs {
  readonly floats: Readonly<Record<string, readonly number[]>>;
  readonly integers: Readonly<Record<string, {readonly shape: readonly number[]; readonly value: number}>>;
}

/** The inputs of a step that follows `past` tokens. */
export function stepInputs(config: LlamaConfig, past: number): StepInputs {
  const {layers, keyHeads, headSize, hiddenSize} = config;
  const floats: Record<string, number[]> = {hidden: [1, 1, hiddenSize]};
  for (let i = 0; i < layers; i++) {
    for (const what of ['key', 'value']) floats[`past.${i}.${what}`] = [1, keyHeads, past, headSize];
  }
  const integers = {lengths: {shape: [1], value: past}, total: {shape: [1], value: past + 1}};
  return {floats, integers};
}

/**
 * Writes the step.
 *
 * @param path Of the file; complete or not there.
 * @param past Tokens in the cache.
 */
export async function writeOnnxStep(path: string, config: LlamaConfig, past: number): Promise<void> {
  const graph = new Graph();
  const {layers, heads, keyHeads, headSize, hiddenSize, intermediateSize, vocabularySize} = config;
  const {floats, integers} = stepInputs(config, past);
  for (const [name, shape] of Object.entries(floats)) graph.input(name, FLOAT, shape);
  for (const [name, {shape}] of Object.entries(integers)) graph.input(name, INT32, shape);
  const half = headSize / 2;
  const angles = Array.from({length: PLACES * half}, (_, i) => {
    const frequency = config.ropeTheta ** (-(i % half) / half);
    return Math.floor(i / half) * frequency;
  });
  graph.floats('cos', [PLACES, half], Float32Array.from(angles, Math.cos));
  graph.floats('sin', [PLACES, half], Float32Array.from(angles, Math.sin));

  let stream = 'hidden';
  for (let i = 0; i < layers; i++) {
    const normed = graph.quantized(graph.norm(stream, hiddenSize));
    const query = graph.project(normed, hiddenSize, heads * headSize);
    const key = graph.project(normed, hiddenSize, keyHeads * headSize);
    const value = graph.project(normed, hiddenSize, keyHeads * headSize);
    const past = [`past.${i}.key`, `past.${i}.value`];
    const present = [`present.${i}.key`, `present.${i}.value`];
    const inputs = [query, key, value, ...past, 'lengths', 'total', 'cos', 'sin'];
    const mixed = graph.name();
    graph.node('GroupQueryAttention', inputs, [mixed, ...present], {
      domain: 'com.microsoft',
      integers: {num_heads: heads, kv_num_heads: keyHeads, do_rotary: 1},
    });
    for (const name of present) graph.output(name);
    const attended = graph.project(graph.quantized(mixed), heads * headSize, hiddenSize);
    stream = graph.one('Add', [stream, attended]);
    const again = graph.quantized(graph.norm(stream, hiddenSize));
    const gate = graph.project(again, hiddenSize, intermediateSize);
    const up = graph.project(again, hiddenSize, intermediateSize);
    const active = graph.one('Mul', [gate, graph.one('Sigmoid', [gate])]);
    const product = graph.quantized(graph.one('Mul', [active, up]));
    stream = graph.one('Add', [stream, graph.project(product, intermediateSize, hiddenSize)]);
  }
  const last = graph.quantized(graph.norm(stream, hiddenSize));
  graph.node('Identity', [graph.project(last, hiddenSize, vocabularySize)], ['logits']);
  graph.output('logits');
  await graph.write(path);
}

/** A vector with what scale and zero point were found for it. */
interface Quantized {
  readonly values: string;
  readonly scale: string;
  readonly zeroPoint: string;
}

/** Collects the parts of a `GraphProto`. */
class Graph {
  private readonly parts: Buffer[] = [];
  private names = 0;
  private seed = 1;

  constructor() {
    this.tensor('zero', INT8, [], new Int8Array(1));
  }

  name(): string {
    return `t${this.names++}`;
  }

  input(name: string, type: number, shape: readonly number[]): void {
    const extents = shape.map((size) => bytesField(1, integerField(1, size)));
    const tensorType = [integerField(1, type), bytesField(2, Buffer.concat(extents))];
    this.parts.push(
      bytesField(
        11,
        Buffer.concat([textField(1, name), bytesField(2, bytesField(1, Buffer.concat(tensorType)))]),
      ),
    );
  }

  /** Floats of a shape that onnxruntime finds out itself. */
  output(name: string): void {
    const type = bytesField(2, bytesField(1, integerField(1, FLOAT)));
    this.parts.push(bytesField(12, Buffer.concat([textField(1, name), type])));
  }

  node(
    type: string,
    inputs: readonly string[],
    outputs: readonly string[],
    {
      domain = '',
      integers = {},
      floats = {},
    }: {
      domain?: string;
      integers?: Readonly<Record<string, number>>;
      floats?: Readonly<Record<string, number>>;
    } = {},
  ): void {
    const attributes = [
      ...Object.entries(integers).map(([name, value]) =>
        Buffer.concat([textField(1, name), integerField(3, value), integerField(20, 2)]),
      ),
      ...Object.entries(floats).map(([name, value]) =>
        Buffer.concat([textField(1, name), floatField(2, value), integerField(20, 1)]),
      ),
    ];
    const fields = [
      ...inputs.map((input) => textField(1, input)),
      ...outputs.map((output) => textField(2, output)),
      textField(3, `n${this.names++}`),
      textField(4, type),
      ...attributes.map((attribute) => bytesField(5, attribute)),
      textField(7, domain),
    ];
    this.parts.push(bytesField(1, Buffer.concat(fields)));
  }

  /** A node with one output, whose name it gives. */
  one(type: string, inputs: readonly string[], options: Parameters<Graph['node']>[3] = {}): string {
    const output = this.name();
    this.node(type, inputs, [output], options);
    return output;
  }

  norm(x: string, size: number): string {
    const scale = this.name();
    this.floats(scale, [size], new Float32Array(size).fill(1));
    return this.one('SimplifiedLayerNormalization', [x, scale], {
      integers: {axis: -1, stash_type: 1},
      floats: {epsilon: 1e-5},
    });
  }

  quantized(x: string): Quantized {
    const [values, scale, zeroPoint] = [this.name(), this.name(), this.name()];
    this.node('DynamicQuantizeLinear', [x], [values, scale, zeroPoint]);
    return {values, scale, zeroPoint};
  }

  /** Times a matrix of 8-bit numbers [inputSize, units] with one scale. */
  project({values, scale, zeroPoint}: Quantized, inputSize: number, units: number): string {
    const weight = this.name();
    const weightScale = this.name();
    this.tensor(weight, INT8, [inputSize, units], this.eights(inputSize * units));
    this.floats(weightScale, [], Float32Array.of(1 / (74 * Math.sqrt(inputSize))));
    const sums = this.one('MatMulInteger', [values, weight, zeroPoint, 'zero']);
    const asFloats = this.one('Cast', [sums], {integers: {to: FLOAT}});
    return this.one('Mul', [asFloats, this.one('Mul', [scale, weightScale])]);
  }

  floats(name: string, shape: readonly number[], values: Float32Array): void {
    this.tensor(name, FLOAT, shape, values);
  }

  async write(path: string): Promise<void> {
    const length = this.parts.reduce((sum, part) => sum + part.length, 0);
    const head = [integerField(1, 8), textField(2, 'tfjs-sparsify bench')];
    const operators = [
      ['', 17],
      ['com.microsoft', 1],
    ] as const;
    for (const [domain, version] of operators)
      head.push(bytesField(8, Buffer.concat([textField(1, domain), integerField(2, version)])));
    const name = textField(2, 'step');
    const beside = `${path}.${process.pid}`;
    const output = await open(beside, 'w');
    try {
      await output.write(Buffer.concat([...head, tag(7, 2), varint(length + name.length), name]));
      for (const part of this.parts) await output.write(part);
      await output.close();
      await rename(beside, path);
    } finally {
      await output.close().catch(() => undefined);
      await rm(beside, {force: true});
    }
  }

  private tensor(
    name: string,
    type: number,
    shape: readonly number[],
    values: Int8Array | Float32Array,
  ): void {
    const raw = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
    const fields = [
      ...shape.map((size) => integerField(1, size)),
      integerField(2, type),
      textField(8, name),
      tag(9, 2),
      varint(raw.length),
    ];
    const length = fields.reduce((sum, field) => sum + field.length, raw.length);
    this.parts.push(Buffer.concat([tag(5, 2), varint(length), ...fields, raw]));
  }

  /** Numbers between -128 and 127. */
  private eights(count: number): Int8Array {
    const words = new Int32Array(Math.ceil(count / 4));
    let state = Math.imul(this.seed++, 0x9e3779b1) | 1;
    for (let i = 0; i < words.length; i++) {
      state ^= state << 13; // xorshift32
      state ^= state >>> 17;
      state ^= state << 5;
      words[i] = state;
    }
    return new Int8Array(words.buffer, 0, count);
  }
}

function tag(field: number, wireType: number): Buffer {
  return varint((field << 3) | wireType);
}

function varint(value: number): Buffer {
  const bytes = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    const low = Number(rest & 127n);
    rest >>= 7n;
    bytes.push(rest === 0n ? low : low | 128);
  } while (rest > 0n);
  return Buffer.from(bytes);
}

function integerField(field: number, value: number): Buffer {
  return Buffer.concat([tag(field, 0), varint(value)]);
}

function floatField(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return Buffer.concat([tag(field, 5), bytes]);
}

function bytesField(field: number, bytes: Uint8Array): Buffer {
  return Buffer.concat([tag(field, 2), varint(bytes.length), bytes]);
}

function textField(field: number, text: string): Buffer {
  return bytesField(field, Buffer.from(text));
}
