/** @file The printable characters that stand for bytes in byte-level vocabularies (GPT-2, `bytes_to_unicode`). */

const isPrintable = (byte: number) =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);

let more = 0x100;
/** By byte. */
export const CHARACTERS: readonly string[] = Array.from({length: 256}, (_, byte) =>
  String.fromCharCode(isPrintable(byte) ? byte : more++),
);
/** By character. */
export const BYTES: ReadonlyMap<string, number> = new Map(
  CHARACTERS.map((character, byte) => [character, byte]),
);
