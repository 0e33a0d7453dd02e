/** @file What decoders give for a sequence that comes in parts, in Node and in pages. */
import type {Decoder} from '../../../lib/language/decoding/decoder.js';

/** Logits after each token, [tokens, vocabulary], appended in parts of these lengths, the last of them repeated. */
export async function decoded(
  decoder: Decoder,
  ids: readonly number[],
  lengths: readonly number[],
): Promise<number[]> {
  const logits: number[] = [];
  for (let start = 0, i = 0; start < ids.length; i++) {
    const end = Math.min(ids.length, start + lengths[Math.min(i, lengths.length - 1)]);
    for (const value of await decoder.appendAll(ids.slice(start, end))) logits.push(value);
    start = end;
  }
  return logits;
}
