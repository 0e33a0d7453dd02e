/**
 * @file The forward pass of every Llama family as its paper and published code define it, token by token, head by head,
 * in float64 and without TensorFlow.js: the oracle for architectures without reference vectors. Held itself against
 * those vectors where there are some.
 *
 * Sources: RMS norm arXiv:1910.07467; rotary embedding arXiv:2104.09864, halves paired as in Hugging Face; llama3
 * scaling from Meta's `apply_scaling`; grouped queries arXiv:2305.13245; SwiGLU arXiv:2002.05202; mixture
 * arXiv:2401.04088; longrope arXiv:2402.13753; gemma arXiv:2403.08295; query and key norms arXiv:2505.09388 (Qwen3).
 */
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';

type Vector = Float64Array<ArrayBuffer>;

/** Reads a tensor by its Hugging Face name; undefined if there is none. */
export type Weights = (name: string) => Float32Array | undefined;

/** @returns Logits after each token, [tokens][vocabulary]. */
export function referenceForward(
  config: LlamaConfig,
  weights: Weights,
  ids: readonly number[],
  normOffset: number,
): Vector[] {
  const need = (name: string): Float32Array => {
    const values = weights(name);
    if (values === undefined) throw new Error(`no ${name}`);
    return values;
  };
  /** `weight x + bias`, weight [out, in]. */
  const linear = (name: string, x: Vector): Vector => {
    const weight = need(`${name}.weight`);
    const bias = weights(`${name}.bias`);
    return Float64Array.from({length: weight.length / x.length}, (_, row) => {
      let sum = bias?.[row] ?? 0;
      for (let i = 0; i < x.length; i++) sum += weight[row * x.length + i] * x[i];
      return sum;
    });
  };
  const norm = (name: string, x: Vector): Vector => {
    const weight = need(name);
    const meanSquare = x.reduce((sum, value) => sum + value * value, 0) / x.length;
    return x.map(
      (value, i) => (value / Math.sqrt(meanSquare + config.normEpsilon)) * (weight[i] + normOffset),
    );
  };
  const {hiddenSize, heads, keyHeads, headSize} = config;
  const embedding = need('model.embed_tokens.weight');
  let states = ids.map((id) =>
    Float64Array.from(
      embedding.subarray(id * hiddenSize, (id + 1) * hiddenSize),
      (value) => value * config.embeddingScale,
    ),
  );

  for (let layer = 0; layer < config.layers; layer++) {
    const path = `model.layers.${layer}`;
    const queries: Vector[][] = [];
    const keys: Vector[][] = [];
    const values: Vector[][] = [];
    states.forEach((state, position) => {
      const x = norm(`${path}.input_layernorm.weight`, state);
      let [q, k, v] = ['q', 'k', 'v'].map((name) =>
        config.fusedProjections ? new Float64Array(0) : linear(`${path}.self_attn.${name}_proj`, x),
      );
      if (config.fusedProjections) {
        const all = linear(`${path}.self_attn.qkv_proj`, x);
        q = all.slice(0, heads * headSize);
        k = all.slice(heads * headSize, (heads + keyHeads) * headSize);
        v = all.slice((heads + keyHeads) * headSize);
      }
      const perHead = (all: Vector): Vector[] =>
        Array.from({length: all.length / headSize}, (_, h) => all.slice(h * headSize, (h + 1) * headSize));
      const normed = (which: string, head: Vector): Vector =>
        config.queryKeyNorm ? norm(`${path}.self_attn.${which}_norm.weight`, head) : head;
      queries.push(perHead(q).map((head) => rotate(config, normed('q', head), position)));
      keys.push(perHead(k).map((head) => rotate(config, normed('k', head), position)));
      values.push(perHead(v));
    });
    states = states.map((state, t) => {
      const context = new Float64Array(heads * headSize);
      for (let h = 0; h < heads; h++) {
        const shared = Math.floor(h / (heads / keyHeads));
        const first = config.slidingWindow === null ? 0 : Math.max(0, t - config.slidingWindow + 1);
        const scores = keys
          .slice(first, t + 1)
          .map((key) => dot(queries[t][h], key[shared]) / Math.sqrt(headSize));
        softmax(scores).forEach((share, s) => {
          for (let i = 0; i < headSize; i++)
            context[h * headSize + i] += share * values[first + s][shared][i];
        });
      }
      return plus(state, linear(`${path}.self_attn.o_proj`, context));
    });
    states = states.map((state) =>
      plus(state, feedForward(config, path, norm(`${path}.post_attention_layernorm.weight`, state), linear)),
    );
  }
  const head = config.tiedEmbedding ? 'model.embed_tokens' : 'lm_head';
  return states.map((state) => linear(head, norm('model.norm.weight', state)));
}

function feedForward(
  config: LlamaConfig,
  path: string,
  x: Vector,
  linear: (name: string, x: Vector) => Vector,
): Vector {
  const gate = (g: Vector, up: Vector): Vector => g.map((value, i) => activate(config, value) * up[i]);
  if (config.experts !== null) {
    const moe = `${path}.block_sparse_moe`;
    const shares = softmax([...linear(`${moe}.gate`, x)]);
    const chosen = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, config.experts.perToken);
    const sum = chosen.reduce((total, expert) => total + shares[expert], 0);
    return chosen
      .map((e) => {
        const expert = `${moe}.experts.${e}`;
        const inner = gate(linear(`${expert}.w1`, x), linear(`${expert}.w3`, x));
        return linear(`${expert}.w2`, inner).map((value) => (value * shares[e]) / sum);
      })
      .reduce(plus);
  }
  if (config.fusedProjections) {
    const both = linear(`${path}.mlp.gate_up_proj`, x);
    const half = both.length / 2;
    return linear(`${path}.mlp.down_proj`, gate(both.slice(0, half), both.slice(half)));
  }
  return linear(
    `${path}.mlp.down_proj`,
    gate(linear(`${path}.mlp.gate_proj`, x), linear(`${path}.mlp.up_proj`, x)),
  );
}

function activate({activation}: LlamaConfig, x: number): number {
  switch (activation) {
    case 'silu':
      return x / (1 + Math.exp(-x));
    case 'gelu':
      return 0.5 * x * (1 + erf(x / Math.SQRT2));
    case 'gelu_tanh':
      return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  }
}

/** By its Maclaurin series, exact in float64 for the arguments that occur here. */
function erf(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-18; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

/** Element i and element i + headSize / 2 of a head are the real and the imaginary part of a number that is turned. */
function rotate(config: LlamaConfig, head: Vector, position: number): Vector {
  const half = head.length / 2;
  const turned = new Float64Array(head.length);
  const size = config.ropeScaling.kind === 'factors' ? config.ropeScaling.attentionFactor : 1;
  for (let i = 0; i < half; i++) {
    const angle = position * frequency(config, i);
    const [cos, sin] = [Math.cos(angle) * size, Math.sin(angle) * size];
    turned[i] = head[i] * cos - head[i + half] * sin;
    turned[i + half] = head[i] * sin + head[i + half] * cos;
  }
  return turned;
}

function frequency({ropeTheta, headSize, ropeScaling}: LlamaConfig, i: number): number {
  const plain = 1 / ropeTheta ** ((2 * i) / headSize);
  if (ropeScaling.kind === 'linear') return plain / ropeScaling.factor;
  if (ropeScaling.kind === 'factors') return plain / ropeScaling.factors[i];
  if (ropeScaling.kind === 'none') return plain;
  const {factor, lowFrequencyFactor, highFrequencyFactor, originalContextLength} = ropeScaling;
  const wavelength = (2 * Math.PI) / plain;
  if (wavelength < originalContextLength / highFrequencyFactor) return plain;
  if (wavelength > originalContextLength / lowFrequencyFactor) return plain / factor;
  const smooth =
    (originalContextLength / wavelength - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
  return (1 - smooth) * (plain / factor) + smooth * plain;
}

function dot(a: Vector, b: Vector): number {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}

function plus(a: Vector, b: Vector): Vector {
  return a.map((value, i) => value + b[i]);
}

function softmax(scores: readonly number[]): number[] {
  const most = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - most));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}
