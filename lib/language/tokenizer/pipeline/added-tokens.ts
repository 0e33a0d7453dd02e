/** @file Tokens that are found in a text as they are, before it is cut (Rust `tokenizers`, `added_vocabulary.rs`). */
import {malformed} from './parts.js';
import {WORD} from './patterns.js';

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Only where no letter stands before or behind it. */
  readonly single_word: boolean;
  /** Takes the whitespace before it. */
  readonly lstrip: boolean;
  /** Takes the whitespace behind it. */
  readonly rstrip: boolean;
  /** Looked for in the normalized text instead of the text as it is. */
  readonly normalized: boolean;
  readonly special: boolean;
}

/** The added tokens of `tokenizer.json`. @throws {ModelError} `malformed-tokenizer`. */
export function addedTokens(value: unknown): AddedToken[] {
  if (!Array.isArray(value)) throw malformed('added_tokens', 'they are no list');
  return value.map((one) => {
    const {id, content, special = false, normalized = !special, ...flags} = one as Partial<AddedToken>;
    const {single_word = false, lstrip = false, rstrip = false} = flags;
    if (!Number.isSafeInteger(id) || typeof content !== 'string') {
      throw malformed('added_tokens', 'one has no id or no content');
    }
    return {id: id!, content, special, normalized, single_word, lstrip, rstrip};
  });
}

/** A stretch of a text, or the token that stands there. */
export interface Section {
  readonly text: string;
  readonly token: AddedToken | null;
  /** Where it begins in the text. */
  readonly start: number;
}

const SPACE = /^\p{White_Space}$/u;
const WORD_CHARACTER = new RegExp(`^${WORD}$`, 'u');
const isWord = (character: string) => WORD_CHARACTER.test(character);
/** The characters at a place of a text, of which one can take two places. */
const behind = (text: string, at: number) => String.fromCodePoint(...[text.codePointAt(at) ?? []].flat());
const before = (text: string, at: number) => Array.from(text.slice(Math.max(0, at - 2), at)).at(-1) ?? '';

/** Finds tokens in texts: the leftmost first, of several there the longest. */
export class AddedTokenFinder {
  /** By first character, longest first. */
  private readonly byStart = new Map<string, [string, AddedToken][]>();

  /** @param tokens With the text to look for, the first counts of those with the same. */
  constructor(tokens: readonly (readonly [string, AddedToken])[]) {
    for (const [text, token] of tokens) {
      if (text === '') continue;
      const others = this.byStart.get(text[0]) ?? [];
      this.byStart.set(text[0], others);
      if (!others.some(([other]) => other === text)) others.push([text, token]);
    }
    for (const others of this.byStart.values()) others.sort(([a], [b]) => b.length - a.length);
  }

  /** The text in sections, none empty. */
  split(text: string): Section[] {
    const sections: Section[] = [];
    let done = 0;
    for (let at = 0; at < text.length;) {
      const found = this.byStart.get(text[at])?.find(([content]) => text.startsWith(content, at));
      if (found === undefined) {
        at++;
        continue;
      }
      const [content, token] = found;
      const from = at;
      at += content.length;
      if (token.single_word && (isWord(before(text, from)) || isWord(behind(text, at)))) continue;
      let [start, end] = [from, at];
      // Whitespace has one half only, so that it can be taken half by half.
      if (token.lstrip) while (start > done && SPACE.test(text[start - 1])) start--;
      if (token.rstrip) while (end < text.length && SPACE.test(text[end])) end++;
      if (start > done) sections.push({text: text.slice(done, start), token: null, start: done});
      sections.push({text: text.slice(start, end), token, start});
      done = end;
      at = Math.max(at, done);
    }
    if (done < text.length) sections.push({text: text.slice(done), token: null, start: done});
    return sections;
  }
}
