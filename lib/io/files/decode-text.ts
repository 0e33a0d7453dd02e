/**
 * @file Bytes of a text file as text: UTF-8, or UTF-16 as Windows and spreadsheets write it, with or without a byte order
 * mark, which is no part of the text. Anything else is named, never replaced by question marks.
 */
import {FileError} from '../../errors.js';

/** Encodings of text that are read. */
export type TextEncoding = 'utf-8' | 'utf-16le' | 'utf-16be';

/** How many first bytes tell the encoding. */
const ENCODING_BYTES = 4;

/**
 * The encoding of a text, by its byte order mark, or by where the zeros are: texts of data start with a character of ASCII.
 *
 * @param start The first bytes; 4 if there are so many.
 */
export function encodingOf(start: Uint8Array): TextEncoding {
  const [a, b, c, d] = start as Iterable<number | undefined>;
  if (a === 0xff && b === 0xfe) return 'utf-16le';
  if (a === 0xfe && b === 0xff) return 'utf-16be';
  if (a !== 0 && b === 0 && c !== 0) return 'utf-16le';
  if (a === 0 && b !== undefined && b !== 0 && d !== 0) return 'utf-16be';
  return 'utf-8';
}

/** Decodes a text piece by piece. */
export class TextPieces {
  private decoder: TextDecoder | undefined;
  private encoding: TextEncoding = 'utf-8';
  private start = new Uint8Array(0);
  private offset = 0;

  /** @param source The file, for errors. */
  constructor(private readonly source: string) {}

  /**
   * The text of the next bytes, as far as they end a character.
   *
   * @throws {FileError} `malformed-text` if they are not in the text's encoding.
   */
  add(bytes: Uint8Array): string {
    const piece = this.start.byteLength === 0 ? bytes : joined(this.start, bytes);
    if (this.decoder === undefined && piece.byteLength < ENCODING_BYTES) {
      this.start = Uint8Array.from(piece);
      return '';
    }
    this.start = new Uint8Array(0);
    return this.decode(piece, true);
  }

  /** The rest of the text. @throws {FileError} `malformed-text` if it ends within a character. */
  end(): string {
    return this.decode(this.start, false);
  }

  private decode(bytes: Uint8Array, stream: boolean): string {
    if (this.decoder === undefined) {
      this.encoding = encodingOf(bytes);
      this.decoder = new TextDecoder(this.encoding, {fatal: true}); // takes a byte order mark off
    }
    const start = this.offset;
    this.offset += bytes.byteLength;
    try {
      return this.decoder.decode(bytes, {stream});
    } catch (cause) {
      throw new FileError(
        'malformed-text',
        `${this.source} is not ${this.encoding.toUpperCase()} text (from byte ${start} on, or just before): save it as UTF-8`,
        {source: this.source, encoding: this.encoding, offset: start},
        {cause},
      );
    }
  }
}

/**
 * Decodes a text.
 *
 * @param source The file, for errors.
 * @throws {FileError} `malformed-text`.
 */
export function decodeText(bytes: Uint8Array, source: string): string {
  const pieces = new TextPieces(source);
  return pieces.add(bytes) + pieces.end();
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.byteLength + b.byteLength);
  both.set(a);
  both.set(b, a.byteLength);
  return both;
}
