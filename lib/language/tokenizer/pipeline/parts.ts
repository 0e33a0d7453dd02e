/**
 * @file The parts that a `tokenizer.json` is put together from: their type, and fields that must be known. A part or a
 * field that is not known here would cut texts otherwise than the library that the model was trained with.
 */
import {ModelError} from '../../../errors.js';

/** One part: a normalizer, a pre-tokenizer, a decoder, a model. */
export interface Part {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** The part in a field of `tokenizer.json`, or null. @throws {ModelError} `malformed-tokenizer`. */
export function partOf(value: unknown, what: string): Part | null {
  if (value === null || value === undefined) return null;
  if (typeof value === 'object' && 'type' in value && typeof value.type === 'string') return value as Part;
  throw malformed(what, 'it has no type');
}

/** The parts of a sequence. @throws {ModelError} `malformed-tokenizer`. */
export function partsOf(value: unknown, what: string): Part[] {
  const parts = Array.isArray(value) ? value.map((one) => partOf(one, what)) : [null];
  if (parts.every((part) => part !== null)) return parts;
  throw malformed(what, 'its sequence has something that is no part');
}

/** @throws {ModelError} `malformed-tokenizer` if the part has a field, not null, beside `type` and `fields`. */
export function checkFields(part: Part, what: string, fields: readonly string[]): void {
  const unknown = Object.keys(part).find(
    (field) => field !== 'type' && part[field] !== null && !fields.includes(field),
  );
  if (unknown !== undefined) throw unsupported(what, `${part.type} with "${unknown.slice(0, 80)}"`);
}

/** The value of a field that is true or false. @throws {ModelError} `malformed-tokenizer`. */
export function flagOf(part: Part, field: string, otherwise: boolean): boolean {
  const value = part[field] ?? otherwise;
  if (typeof value === 'boolean') return value;
  throw malformed(part.type, `"${field}" is neither true nor false`);
}

/** The value of a field that is a text. @throws {ModelError} `malformed-tokenizer`. */
export function textOf(part: Part, field: string, otherwise?: string): string {
  const value = part[field] ?? otherwise;
  if (typeof value === 'string') return value;
  throw malformed(part.type, `"${field}" is no text`);
}

/** The error that a part is not supported. */
export function unsupported(what: string, which: string): ModelError {
  return new ModelError(
    'malformed-tokenizer',
    `the tokenizer has a ${what} that is not supported: ${which}; without it texts would be cut into other tokens: ` +
      'give token ids, or use another checkpoint of this model, such as its GGUF',
    {what, which},
  );
}

/** The error that tokenizer.json is damaged. */
export function malformed(what: string, reason: string): ModelError {
  return new ModelError(
    'malformed-tokenizer',
    `the tokenizer cannot be used: ${what}: ${reason}; download tokenizer.json and tokenizer_config.json again`,
    {what},
  );
}
