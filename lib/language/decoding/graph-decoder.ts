/**
 * @file Decoding by the layers of the model, on any backend: the definition of what a decoder computes, and the
 * fallback where there is no fused one.
 */
import * as tf from '@tensorflow/tfjs';
import {nextTurn} from '../../event-loop.js';
import {ModelError} from '../../errors.js';
import {floatsOf} from '../../tensor-values.js';
import {asContainer, belongsTo, callsOf, type Layer} from '../../tfjs.js';
import type {LlamaConfig} from '../config/llama-config.js';
import {
  checkAppendOptions,
  checkedIds,
  checkIdle,
  checkNotDisposed,
  checkTargets,
  checkTruncation,
  type DecoderState,
} from './decoder-checks.js';
import type {AppendOptions, Decoder, MaskedCount} from './decoder.js';
import {FINAL_NORM_NAME} from '../graph/build-model.js';
import {KeyValueCache} from './key-value-cache.js';
import {duringForwardPass} from '../graph/layers/forward-pass.js';
import {HEAD_NAME} from '../graph/layers/tied-embedding.js';
import {MaskedInputs} from './masked-inputs.js';

/** Tokens of one pass at most: bounds the attention scores to [heads, 512, length]. */
const TOKENS_A_PASS = 512;
/** Logits that the head computes at a time: 32 MB. */
const LOGITS_A_TIME = 2 ** 23;

export interface GraphDecoderOptions {
  /** Whether masked inputs are counted, which reads every distinct input of a sparsified layer back. True by default. */
  readonly countMasked?: boolean;
}

/**
 * Makes a decoder for one sequence, empty at first.
 *
 * @param model Of `buildModel`, filled; sparsified or not. Thresholds may change while it decodes; layers that are
 *   sparsified later are masked too but not counted. It must outlive the decoder.
 * @param config The model's.
 * @returns The caller disposes it. It throws {SparsifyError} `bad-token` for ids outside of the vocabulary,
 *   `empty-input`, `wrong-length`, `decoder-busy` if called while a call runs, `decoder-disposed`.
 * @throws {ModelError} `wrong-model` if the model lacks the layers `model.norm` and `lm_head`.
 * @example
 * const decoder = createGraphDecoder(model, config);
 * const logits = await decoder.append([1, 2, 3]);
 */
export function createGraphDecoder(
  model: tf.LayersModel,
  config: LlamaConfig,
  options: GraphDecoderOptions = {},
): Decoder {
  return new GraphDecoder(model, config, options);
}

class GraphDecoder implements Decoder {
  private readonly body: tf.LayersModel;
  private readonly head: Layer;
  private readonly cache = new KeyValueCache();
  private readonly maskedInputs: MaskedInputs;
  private readonly counting: boolean;
  private state: DecoderState = 'idle';

  constructor(
    model: tf.LayersModel,
    private readonly config: LlamaConfig,
    {countMasked = true}: GraphDecoderOptions,
  ) {
    this.head = layerOf(model, HEAD_NAME);
    this.body = tf.model({inputs: model.inputs, outputs: outputOf(model, layerOf(model, FINAL_NORM_NAME))});
    this.maskedInputs = new MaskedInputs(model);
    this.counting = countMasked;
  }

  get length(): number {
    return this.cache.length;
  }

  async append(tokens: ArrayLike<number>, options: AppendOptions = {}): Promise<Float32Array> {
    const ids = checkedIds(tokens, 'tokens', this.config.vocabularySize);
    return this.exclusively(async () => {
      const [last] = await this.inPasses(ids, options, (hidden, start, count) =>
        start + count === ids.length ? [this.logits(hidden, count - 1, 1, options)] : [],
      );
      return readAndDispose(last);
    });
  }

  async appendAll(tokens: ArrayLike<number>, options: AppendOptions = {}): Promise<Float32Array> {
    const ids = checkedIds(tokens, 'tokens', this.config.vocabularySize);
    return this.exclusively(async () => {
      const parts = await this.inPasses(ids, options, (hidden, _start, count) =>
        this.inChunks(count, (at, rows) => this.logits(hidden, at, rows, options)),
      );
      if (parts.length === 1) return readAndDispose(parts[0]);
      const all = new Float32Array(ids.length * this.config.vocabularySize);
      let at = 0;
      for (const part of parts) {
        all.set(await readAndDispose(part), at);
        at += part.size;
      }
      return all;
    });
  }

  async score(
    tokens: ArrayLike<number>,
    targets: ArrayLike<number>,
    options: AppendOptions = {},
  ): Promise<Float32Array> {
    const ids = checkedIds(tokens, 'tokens', this.config.vocabularySize);
    const next = checkedIds(targets, 'targets', this.config.vocabularySize);
    checkTargets(ids, next);
    return this.exclusively(async () => {
      const parts = await this.inPasses(ids, options, (hidden, start, count) =>
        this.inChunks(count, (at, rows) => {
          const wanted = next.subarray(start + at, start + at + rows);
          return tf.tidy(() => logLikelihoods(this.logits(hidden, at, rows, options), wanted));
        }),
      );
      const scores = tf.concat(parts);
      tf.dispose(parts);
      return readAndDispose(scores);
    });
  }

  truncate(length: number): void {
    checkIdle(this.state);
    checkTruncation(length, this.cache.length);
    this.cache.length = length;
  }

  counts(): ReadonlyMap<string, MaskedCount> {
    checkNotDisposed(this.state);
    return this.maskedInputs.counts();
  }

  resetCounts(): void {
    checkNotDisposed(this.state);
    this.maskedInputs.reset();
  }

  dispose(): void {
    this.state = 'disposed';
    this.cache.dispose();
    this.maskedInputs.dispose();
  }

  /**
   * Runs tokens through the layers, pass by pass; other work gets its turn between two passes. If one fails, the
   * decoder holds the tokens that it held before.
   *
   * @param compute What is wanted of a pass's normed output [1, count, H].
   * @returns What `compute` gave, all passes in a row; the caller disposes it.
   */
  private async inPasses(
    ids: Int32Array,
    options: AppendOptions,
    compute: (hidden: tf.Tensor, start: number, count: number) => tf.Tensor[],
  ): Promise<tf.Tensor[]> {
    checkAppendOptions(options);
    const {dense = false} = options;
    const before = this.cache.length;
    const results: tf.Tensor[] = [];
    try {
      for (let start = 0; start < ids.length; start += TOKENS_A_PASS) {
        if (start > 0) await nextTurn();
        checkNotDisposed(this.state);
        const part = ids.slice(start, start + TOKENS_A_PASS);
        const wanted = this.cache.extendBy(part.length, (pass) => {
          const input = tf.tensor2d(part, [1, part.length], 'int32');
          const hidden = this.maskedInputs.during({dense, counting: this.counting}, () =>
            duringForwardPass(pass, () => this.body.apply(input) as tf.Tensor),
          );
          return compute(hidden, start, part.length);
        });
        results.push(...wanted);
      }
      return results;
    } catch (error) {
      tf.dispose(results);
      if (this.state !== 'disposed') this.cache.length = before;
      throw error;
    }
  }

  /** @returns Logits of `rows` positions of `hidden` [1, T, H] from `at` on, [rows, vocabulary]. */
  private logits(hidden: tf.Tensor, at: number, rows: number, {dense = false}: AppendOptions): tf.Tensor {
    return tf.tidy(() => {
      const part = tf.reshape(tf.slice(hidden, [0, at, 0], [1, rows, -1]), [rows, this.config.hiddenSize]);
      return this.maskedInputs.during(
        {dense, counting: this.counting},
        () => this.head.apply(part) as tf.Tensor,
      );
    });
  }

  /** Splits positions so that the head's output stays bounded, and gives what each part gave. */
  private inChunks(count: number, compute: (at: number, rows: number) => tf.Tensor): tf.Tensor[] {
    const most = Math.max(1, Math.floor(LOGITS_A_TIME / this.config.vocabularySize));
    const parts: tf.Tensor[] = [];
    for (let at = 0; at < count; at += most) parts.push(compute(at, Math.min(most, count - at)));
    return parts;
  }

  private async exclusively<T>(work: () => Promise<T>): Promise<T> {
    checkIdle(this.state);
    this.state = 'busy';
    try {
      return await work();
    } finally {
      if (this.state === 'busy') this.state = 'idle'; // it may have been disposed meanwhile
    }
  }
}

/**
 * @param logits [rows, vocabulary].
 * @returns Natural log likelihood of each row's target, [rows].
 */
function logLikelihoods(logits: tf.Tensor, targets: Int32Array): tf.Tensor {
  const places = new Int32Array(targets.length * 2);
  targets.forEach((target, row) => places.set([row, target], row * 2));
  const chosen = tf.gatherND(logits, tf.tensor2d(places, [targets.length, 2], 'int32'));
  return tf.sub(chosen, tf.logSumExp(logits, 1));
}

async function readAndDispose(tensor: tf.Tensor): Promise<Float32Array> {
  try {
    return floatsOf(await tensor.data());
  } finally {
    tensor.dispose();
  }
}

function layerOf(model: tf.LayersModel, name: string): Layer {
  const layer = model.layers.find((layer) => layer.name === name);
  if (layer !== undefined) return layer;
  throw new ModelError(
    'wrong-model',
    `the model has no layer "${name}"; give one that buildModel made: ${model.layers.length} layers, ` +
      `${model.layers[0]?.name ?? 'none'} first`,
    {name},
  );
}

/** What a layer gives within a model; it may have been called in others too. */
function outputOf(model: tf.LayersModel, layer: Layer): tf.SymbolicTensor {
  const own = callsOf(layer).find((_, index) => belongsTo(asContainer(model), layer, index));
  return own!.outputTensors[0];
}
