/** @file What every decoder checks of its calls, so that all refuse alike. */
import {SparsifyError} from '../../errors.js';
import {FLAG, checkOptions, type OptionRules} from '../../option-rules.js';
import type {AppendOptions} from './decoder.js';

const APPEND_RULES: OptionRules<AppendOptions> = {dense: FLAG};

/** @throws {SparsifyError} `unknown-option`, `bad-option`. */
export function checkAppendOptions(options: unknown): void {
  checkOptions('a decoder', options, APPEND_RULES);
}

/**
 * Copies ids that a model knows.
 *
 * @param what Name of the list, for errors.
 * @throws {SparsifyError} `empty-input`; `bad-token` for one that is no integer in [0, vocabularySize).
 */
export function checkedIds(ids: ArrayLike<number>, what: string, vocabularySize: number): Int32Array {
  if (ids.length === 0) {
    throw new SparsifyError('empty-input', `the list of ${what} is empty; give at least one id`);
  }
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    if (Number.isInteger(id) && id >= 0 && id < vocabularySize) continue;
    throw new SparsifyError(
      'bad-token',
      `${what}[${i}] is ${id}; an id must be an integer from 0 to ${vocabularySize - 1}, the model's vocabulary`,
      {index: i, got: id, vocabularySize},
    );
  }
  return Int32Array.from(ids);
}

/** @throws {SparsifyError} `wrong-length` unless there are as many targets as tokens. */
export function checkTargets(tokens: Int32Array, targets: Int32Array): void {
  if (targets.length === tokens.length) return;
  throw new SparsifyError(
    'wrong-length',
    `score got ${tokens.length} tokens and ${targets.length} targets; give one target a token: what follows it`,
    {tokens: tokens.length, targets: targets.length},
  );
}

/** @throws {SparsifyError} `wrong-length` unless a sequence of `held` tokens can be cut to `length`. */
export function checkTruncation(length: number, held: number): void {
  if (Number.isInteger(length) && length >= 0 && length <= held) return;
  throw new SparsifyError(
    'wrong-length',
    `cannot truncate to ${length} tokens; the decoder holds ${held}: give an integer from 0 to that`,
    {got: length, held},
  );
}

/** Whether a decoder can be called. */
export type DecoderState = 'idle' | 'busy' | 'disposed';

/** @throws {SparsifyError} `decoder-busy`, `decoder-disposed`. */
export function checkIdle(state: DecoderState): void {
  checkNotDisposed(state);
  if (state === 'idle') return;
  throw new SparsifyError(
    'decoder-busy',
    'the decoder is still computing; await its last call before the next',
  );
}

/** @throws {SparsifyError} `decoder-disposed`. */
export function checkNotDisposed(state: DecoderState): void {
  if (state !== 'disposed') return;
  throw new SparsifyError('decoder-disposed', 'the decoder is disposed; make a new one for the model');
}
