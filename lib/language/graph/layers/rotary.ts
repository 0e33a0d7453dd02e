/**
 * @file Rotary position embedding (Su et al. 2021, arXiv:2104.09864) in the half-split order of Hugging Face: element i
 * of a head turns with element i + headSize / 2.
 *
 * Frequencies are computed in float64 and rounded to float32, and a position's angle is rounded to float32 before its
 * cosine is taken: models were trained with angles that are float32 products, which far positions show.
 */
import type {LlamaConfig, RopeScaling} from '../../config/llama-config.js';

/**
 * Radians by which each pair of a head turns from one position to the next, scaling included.
 *
 * @returns float32 values, [headSize / 2].
 */
export function rotaryFrequencies({
  headSize,
  ropeTheta,
  ropeScaling,
}: Pick<LlamaConfig, 'headSize' | 'ropeTheta' | 'ropeScaling'>): Float32Array {
  return Float32Array.from({length: headSize / 2}, (_, i) =>
    scaled(ropeTheta ** ((-2 * i) / headSize), i, ropeScaling),
  );
}

/** What cosines and sines are multiplied by; 1 without `longrope`. */
export function rotaryAttentionFactor(scaling: RopeScaling): number {
  return scaling.kind === 'factors' ? scaling.attentionFactor : 1;
}

function scaled(frequency: number, i: number, scaling: RopeScaling): number {
  switch (scaling.kind) {
    case 'none':
      return frequency;
    case 'linear':
      return frequency / scaling.factor;
    case 'factors':
      return frequency / scaling.factors[i];
    case 'llama3': {
      const {factor, lowFrequencyFactor, highFrequencyFactor, originalContextLength} = scaling;
      const turns = (originalContextLength * frequency) / (2 * Math.PI); // within the original context
      if (turns < lowFrequencyFactor) return frequency / factor;
      if (turns > highFrequencyFactor) return frequency;
      const kept = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor);
      return ((1 - kept) * frequency) / factor + kept * frequency;
    }
  }
}

/** Cosines and sines to turn heads with: `x * cosines + swapped(x) * sines`, where `swapped` exchanges the halves. */
export interface RotaryTable {
  /** [count, headSize]: both halves alike. */
  readonly cosines: Float32Array;
  /** [count, headSize]: the first half negated. */
  readonly sines: Float32Array;
}

/** The table for positions `start` to `start + count - 1`. */
export function rotaryTable(
  frequencies: ArrayLike<number>,
  attentionFactor: number,
  start: number,
  count: number,
): RotaryTable {
  const half = frequencies.length;
  const cosines = new Float32Array(count * half * 2);
  const sines = new Float32Array(count * half * 2);
  for (let row = 0; row < count; row++) {
    const at = row * half * 2;
    for (let i = 0; i < half; i++) {
      const angle = Math.fround((start + row) * frequencies[i]);
      const cosine = Math.cos(angle) * attentionFactor;
      const sine = Math.sin(angle) * attentionFactor;
      cosines[at + i] = cosine;
      cosines[at + half + i] = cosine;
      sines[at + i] = -sine;
      sines[at + half + i] = sine;
    }
  }
  return {cosines, sines};
}
