/**
 * @file What JSON may cost: a body within the limit of bytes can still hold so many small arrays and objects that parsing
 * it stops the process for a minute and takes gigabytes (32 MiB of `[]` do). Looked for in the bytes, before it is parsed.
 */
import {badRequest} from './http-errors.js';

/** A smaller body is parsed within milliseconds, whatever is in it. */
const HARMLESS_BYTES = 64 * 1024;
/** Tensors of rank 8 in named inputs are 12 deep. */
const MAX_DEPTH = 64;
/** Arrays, objects and fields; numbers cost a tenth, and are not counted. */
const MAX_PARTS = 1_000_000;

const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a];
const [ARRAY, ARRAY_END, OBJECT, OBJECT_END] = [0x5b, 0x5d, 0x7b, 0x7d];
/** By byte, 1 for what numbers, words and the space between them are made of: most of a body. */
const IS_INNER = Uint8Array.from({length: 256}, (_, byte) =>
  [QUOTE, COLON, ARRAY, ARRAY_END, OBJECT, OBJECT_END].includes(byte) ? 0 : 1,
);

/**
 * Checks a body that is to be parsed; whether it is JSON at all is not looked at.
 *
 * @throws {ServeError} 400 if it is nested too deep, or in too many parts.
 */
export function checkJsonCost(bytes: Uint8Array): void {
  if (bytes.length < HARMLESS_BYTES) return;
  let depth = 0;
  let parts = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (IS_INNER[byte] === 1) continue;
    if (byte === QUOTE) i = endOfString(bytes, i);
    else if (byte === COLON) parts++;
    else if (byte === ARRAY || byte === OBJECT) {
      parts++;
      if (++depth > MAX_DEPTH) throw badRequest(`the body is nested more than ${MAX_DEPTH} deep`);
    } else if (byte === ARRAY_END || byte === OBJECT_END) depth--;
    if (parts > MAX_PARTS) {
      throw badRequest(
        `the body has more than ${MAX_PARTS} arrays, objects and fields: send fewer rows at a time, or tensors ` +
          'as flat arrays or binary data to /v2/models/NAME/infer',
      );
    }
  }
}

/** Where the string ends that begins at a quote; the end of the body if it does not. */
function endOfString(bytes: Uint8Array, start: number): number {
  let i = start + 1;
  while (i < bytes.length && bytes[i] !== QUOTE) i += bytes[i] === BACKSLASH ? 2 : 1;
  return i;
}
