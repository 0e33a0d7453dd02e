/**
 * @file One step of several sequences at a time: decoders that can go together read the weights once for all of them,
 * the others go one after another. So sequences may join and leave between any two steps (continuous batching).
 */
import {SparsifyError} from '../../errors.js';
import type {JointStep, Step} from './decoder.js';

/**
 * Appends one token to each sequence.
 *
 * @param steps Of different decoders, of any kind and number; at least one.
 * @returns Logits by step, [vocabulary] each, the same as `append` gives within rounding; valid until the next call to
 *   that step's decoder. If it rejects, every sequence is as it was.
 * @throws {SparsifyError} `empty-input`, `decoder-twice`, and what `append` throws.
 * @example
 * const [a, b] = await stepTogether([{decoder: first, token: 5}, {decoder: second, token: 9}]);
 */
export async function stepTogether(steps: readonly Step[]): Promise<Float32Array[]> {
  if (steps.length === 0)
    throw new SparsifyError('empty-input', 'the list of steps is empty; give at least one');
  if (new Set(steps.map(({decoder}) => decoder)).size < steps.length) {
    throw new SparsifyError(
      'decoder-twice',
      'a decoder is in the list of steps twice; a sequence takes one token a step',
    );
  }
  const before = steps.map(({decoder}) => decoder.length);
  const logits: Float32Array[] = [];
  try {
    for (const group of groupsOf(steps)) {
      const results = await computeGroup(group.map((i) => steps[i]));
      results.forEach((result, i) => (logits[group[i]] = result));
    }
  } catch (error) {
    steps.forEach(({decoder}, i) => decoder.length > before[i] && decoder.truncate(before[i]));
    throw error;
  }
  return logits;
}

/** Indices of the steps that go together; a decoder that goes alone is a group of its own. */
function groupsOf(steps: readonly Step[]): number[][] {
  const groups: number[][] = [];
  const known = new Map<JointStep, Map<boolean, number[]>>();
  steps.forEach(({decoder: {together}, dense = false}, i) => {
    const byDense =
      together === undefined ? undefined : (known.get(together) ?? new Map<boolean, number[]>());
    const group = byDense?.get(dense);
    if (group !== undefined) {
      group.push(i);
      return;
    }
    const added = [i];
    groups.push(added);
    if (together !== undefined) known.set(together, byDense!.set(dense, added));
  });
  return groups;
}

async function computeGroup(steps: readonly Step[]): Promise<Float32Array[]> {
  const [{decoder, token, dense}] = steps;
  if (steps.length > 1) return decoder.together!(steps);
  return [await decoder.append([token], {dense})];
}
