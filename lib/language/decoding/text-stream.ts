/**
 * @file Tokens to text while they come: gives out a character only when it is whole, and text only when no stop string
 * can begin in it any more.
 */

/** The part of a tokenizer that turns ids into text. */
export interface TokenDecoder {
  decode(ids: readonly number[]): string;
}

/** What a byte sequence that is cut off or wrong decodes to. */
const REPLACEMENT_CHARACTER = '\ufffd';

/**
 * A character has at most 4 bytes, so of a byte-level vocabulary 4 tokens; after more than that the bytes are no
 * character at all and are given out as they decode.
 */
const MAX_HELD_TOKENS = 8;

/** Text of a growing sequence of tokens, piece by piece; the pieces joined are the text of the whole. */
export class TextStream {
  private readonly ids: number[];
  /** Decoding starts here, at tokens given out already: a first token may lose its leading space. */
  private start = 0;
  /** Tokens given out, or before the text. */
  private done: number;

  /** @param before Ids that the text follows; the last few are enough. */
  constructor(
    private readonly tokenizer: TokenDecoder,
    before: readonly number[] = [],
  ) {
    this.ids = before.slice(-MAX_HELD_TOKENS);
    this.done = this.ids.length;
  }

  /** Adds a token. Returns the text that is certain now, empty if it ends within a character. */
  push(id: number): string {
    this.ids.push(id);
    const text = this.pending();
    const isCut = text.endsWith(REPLACEMENT_CHARACTER) && this.ids.length - this.done < MAX_HELD_TOKENS;
    return isCut ? '' : this.giveOut(text);
  }

  /** The rest, at the end. */
  flush(): string {
    return this.giveOut(this.pending());
  }

  private pending(): string {
    const before = this.tokenizer.decode(this.ids.slice(this.start, this.done));
    return this.tokenizer.decode(this.ids.slice(this.start)).slice(before.length);
  }

  private giveOut(text: string): string {
    if (text === '') return '';
    this.start = this.done;
    this.done = this.ids.length;
    return text;
  }
}

/** Text up to the first stop string. */
export class StopStrings {
  private held = '';
  /** Whether a stop string has come; nothing more is given out then. */
  stopped = false;

  /** @param strings None of them empty. */
  constructor(private readonly strings: readonly string[]) {}

  /** Adds text. Returns what is before a stop string, or cannot be part of one any more. */
  push(text: string): string {
    if (this.stopped) return '';
    const all = this.held + text;
    const found = this.strings.map((stop) => all.indexOf(stop)).filter((index) => index >= 0);
    this.stopped = found.length > 0;
    const end = this.stopped ? Math.min(...found) : all.length - this.possibleStart(all);
    this.held = all.slice(end);
    return all.slice(0, end);
  }

  /** What is held back, at the end. */
  flush(): string {
    const rest = this.stopped ? '' : this.held;
    this.held = '';
    return rest;
  }

  /** How much of the text's end a stop string may begin with. */
  private possibleStart(text: string): number {
    let longest = 0;
    for (const stop of this.strings) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
