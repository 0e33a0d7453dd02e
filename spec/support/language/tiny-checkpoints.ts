/** @file The tiny checkpoints under spec/fixtures/tiny with what the reference implementation computes for them. */
import {readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';

const FOLDER = fileURLToPath(new URL('../../fixtures/tiny/', import.meta.url));

export const TINY_CHECKPOINTS = [
  'llama2-mha',
  'llama3-gqa-rope',
  'llama-bias-headdim',
  'llama-sharded',
  'mistral-window',
  'mixtral-moe',
  'qwen2-bias',
  'smollm-tied-bf16',
] as const;

/** `expected.json`, described in the folder's README. */
export interface Expected {
  readonly input_ids: number[][];
  readonly logits_last: number[][];
  readonly logits_sum: number;
  readonly logits_abs_sum: number;
  readonly hidden_l2: number[];
  readonly input_abs_sum: Record<string, number>;
  readonly router?: Record<
    string,
    {
      top_experts_last_token_row0: number[];
      weights_last_token_row0: number[];
      tokens_per_expert: number[];
    }
  >;
  readonly greedy_ids: number[];
}

export function tinyFolder(name: string): string {
  return `${FOLDER}${name}`;
}

export function expectedOf(name: string): Expected {
  return JSON.parse(readFileSync(`${FOLDER}${name}/expected.json`, 'utf8')) as Expected;
}

/** Largest difference over largest magnitude of `expected`. */
export function relativeError(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (got.length !== expected.length) throw new Error(`${got.length} values, expected ${expected.length}`);
  let worst = 0;
  let largest = 0;
  for (let i = 0; i < got.length; i++) {
    worst = Math.max(worst, Math.abs(got[i] - expected[i]));
    largest = Math.max(largest, Math.abs(expected[i]));
    if (Number.isNaN(got[i])) return NaN;
  }
  return worst / largest;
}

/** Index of the greatest value. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
