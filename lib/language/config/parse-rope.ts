/**
 * @file The rotary fields of a Hugging Face `config.json`, old (`rope_theta`, `rope_scaling` with `type` or
 * `rope_type`) and new (`rope_parameters`). What they mean: transformers, `modeling_rope_utils.py`.
 */
import {ModelError} from '../../errors.js';
import type {RopeScaling} from './llama-config.js';
import {Fields, type Range} from './config-field.js';
import {checkAllRead} from './unread-fields.js';

const FACTOR: Range = {least: 1e-3, most: 1e6};
const LENGTH: Range = {least: 1, most: 2 ** 30};
/** Notes that change no frequency: of how a checkpoint was made, and the length that a linear scaling started from. */
const HARMLESS = ['finetuned', 'original_max_position_embeddings'];
const SUPPORTED = ['default', 'linear', 'llama3', 'longrope'] as const;

/** What the rotary fields say. */
export interface Rope {
  readonly theta: number;
  readonly scaling: RopeScaling;
  /** Positions that the scaling was chosen for. */
  readonly contextLength: number;
}

export interface RopeDefaults {
  readonly headSize: number;
  /** Where no field gives it. */
  readonly theta: number;
  /** `max_position_embeddings`. */
  readonly maxPositions: number;
  /** Positions that are wanted; chooses between the factors of `longrope`. */
  readonly wanted: number | undefined;
}

/**
 * Reads frequencies and scaling.
 *
 * @param config The fields of `config.json`.
 * @throws {ModelError} `invalid-config`, `unsupported-rope` for a scaling that is not supported, `unknown-field` for a field
 *   of a scaling that is not one of its own.
 */
export function parseRope(config: Fields, defaults: RopeDefaults): Rope {
  const rope = ropeFields(config);
  const parsed = parseFields(config, rope, defaults);
  rope.ignore('type', 'rope_type');
  config.ignore('original_max_position_embeddings');
  checkAllRead(rope, HARMLESS);
  return parsed;
}

/** New files have `rope_parameters`, old ones `rope_scaling`: of two that differ it is not clear which counts. */
function ropeFields(config: Fields): Fields {
  const [current, old] = ['rope_parameters', 'rope_scaling'].map((field) => config.object(field));
  if (current !== null && old !== null) {
    const [a, b] = ['rope_parameters', 'rope_scaling'].map((field) => JSON.stringify(config.raw(field)));
    if (a !== b) throw config.invalid('rope_scaling', 'absent, or the same as "rope_parameters"');
  }
  return current ?? old ?? new Fields({}, 'config.json');
}

function parseFields(
  config: Fields,
  rope: Fields,
  {headSize, theta, maxPositions, wanted}: RopeDefaults,
): Rope {
  const base = config.number('rope_theta', {least: 1, most: 1e12}, theta);
  const partial = rope.number(
    'partial_rotary_factor',
    {least: 0, most: 1},
    config.number('partial_rotary_factor', {least: 0, most: 1}, 1),
  );
  if (partial !== 1) {
    throw unsupported(`turns ${partial * 100} % of each head only (partial_rotary_factor ${partial})`);
  }
  const common = {
    theta: rope.number('rope_theta', {least: 1, most: 1e12}, base),
    contextLength: maxPositions,
  };
  switch (scalingType(rope)) {
    case 'default':
      return {...common, scaling: {kind: 'none'}};
    case 'linear':
      return {...common, scaling: {kind: 'linear', factor: rope.number('factor', FACTOR)}};
    case 'llama3':
      return {...common, scaling: llama3(rope)};
    case 'longrope': {
      rope.ignore('short_factor', 'long_factor', 'factor', 'attention_factor');
      const original = (rope.has('original_max_position_embeddings') ? rope : config).integer(
        'original_max_position_embeddings',
        LENGTH,
      );
      const long = (wanted ?? original) > original;
      const stretch =
        config.has('original_max_position_embeddings') || !rope.has('factor')
          ? maxPositions / original
          : rope.number('factor', FACTOR);
      const attentionFactor = stretch <= 1 ? 1 : Math.sqrt(1 + Math.log(stretch) / Math.log(original));
      return {
        ...common,
        contextLength: long ? maxPositions : Math.min(original, maxPositions),
        scaling: {
          kind: 'factors',
          factors: rope.numbers(long ? 'long_factor' : 'short_factor', headSize / 2, FACTOR),
          attentionFactor: rope.number('attention_factor', FACTOR, attentionFactor),
        },
      };
    }
  }
}

function llama3(rope: Fields): RopeScaling {
  const lowFrequencyFactor = rope.number('low_freq_factor', FACTOR);
  const highFrequencyFactor = rope.number('high_freq_factor', FACTOR);
  if (highFrequencyFactor <= lowFrequencyFactor) {
    throw rope.invalid('high_freq_factor', `greater than low_freq_factor, ${lowFrequencyFactor}`);
  }
  return {
    kind: 'llama3',
    factor: rope.number('factor', FACTOR),
    lowFrequencyFactor,
    highFrequencyFactor,
    originalContextLength: rope.integer('original_max_position_embeddings', LENGTH),
  };
}

/** Of `rope_type`, or `type` as it was called before; `su` is an old name of `longrope`. */
function scalingType(rope: Fields): (typeof SUPPORTED)[number] {
  const got = rope.raw('rope_type') ?? rope.raw('type') ?? 'default';
  const type = got === 'su' ? 'longrope' : got;
  const known = SUPPORTED.find((name) => name === type);
  if (known !== undefined) return known;
  throw unsupported(`scales rotary frequencies by ${JSON.stringify(got)}`);
}

function unsupported(what: string): ModelError {
  return new ModelError(
    'unsupported-rope',
    `config.json: the model ${what}, which is not supported; supported are ${SUPPORTED.join(', ')}, over whole heads: ` +
      'use another checkpoint',
    {supported: SUPPORTED},
  );
}
