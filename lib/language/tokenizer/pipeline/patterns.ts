/** @file Where a pattern of `tokenizer.json` matches, and how texts are split by it (Rust `tokenizers`, `normalizer.rs`). */
import {oniguruma} from '../huggingface.js';
import {malformed, unsupported} from './parts.js';

/** Whitespace as Unicode and Rust have it; JavaScript's `\s` has U+FEFF too and lacks U+0085. */
export const SPACES = /\p{White_Space}+/gu;
/** Letters of a word as Rust's regular expressions have them. */
export const WORD = String.raw`[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\u200c\u200d]`;

/** A part of a text: from, to, and whether the pattern matched it. */
type Segment = readonly [start: number, end: number, isMatch: boolean];

const BEHAVIORS = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const;
/** What becomes of the parts that a pattern matches. */
export type Behavior = (typeof BEHAVIORS)[number];

/** @throws {ModelError} `malformed-tokenizer`. */
export function behaviorOf(value: unknown, what: string): Behavior {
  const known = BEHAVIORS.find((name) => name === value);
  if (known !== undefined) return known;
  throw unsupported(what, `the behavior ${JSON.stringify(value)}`);
}

/** The regular expression of `{"String": …}` or `{"Regex": …}`. @throws {ModelError} If there is neither, or it is malformed. */
export function patternOf(value: unknown, what: string): RegExp {
  const {String: literal, Regex: expression} = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof literal === 'string') {
    return new RegExp(literal.replace(/[.*+?^${}()|[\]\\/-]/g, escaped), 'gu');
  }
  if (typeof expression !== 'string') throw malformed(what, 'it has no pattern');
  try {
    return oniguruma(expression);
  } catch (cause) {
    throw unsupported(what, `the pattern ${expression.slice(0, 200)} (${(cause as Error).message})`);
  }
}

function escaped(character: string): string {
  return `\\u{${character.codePointAt(0)!.toString(16)}}`;
}

/** A text cut by a pattern: the pieces in order, none empty. */
export function split(value: string, pattern: RegExp, behavior: Behavior, invert = false): string[] {
  return merged(segments(value, pattern, invert), behavior)
    .map(([start, end]) => value.slice(start, end))
    .filter((piece) => piece !== '');
}

function segments(value: string, pattern: RegExp, invert: boolean): Segment[] {
  const found: Segment[] = [];
  let done = 0;
  let lastEnd = -1;
  for (const match of value.matchAll(pattern)) {
    // An empty match cuts too, but not right behind another match.
    if (match[0] === '' && match.index === lastEnd) continue;
    if (match.index > done) found.push([done, match.index, invert]);
    done = match.index + match[0].length;
    lastEnd = done;
    found.push([match.index, done, !invert]);
  }
  if (done < value.length) found.push([done, value.length, invert]);
  return found;
}

function merged(found: readonly Segment[], behavior: Behavior): Segment[] {
  switch (behavior) {
    case 'Isolated':
      return [...found];
    case 'Removed':
      return found.filter(([, , isMatch]) => !isMatch);
    case 'Contiguous':
      return joined(found, (one, before) => one[2] === before[2]);
    case 'MergedWithPrevious':
      return joined(found, (one, before) => one[2] && !before[2]);
    case 'MergedWithNext':
      return joined(found, (one, before) => before[2] && !one[2]);
  }
}

/** Segments joined with the one before them; the kind of what was last, not of the whole, decides on the next. */
function joined(found: readonly Segment[], isJoined: (one: Segment, before: Segment) => boolean): Segment[] {
  const result: Segment[] = [];
  for (const [i, one] of found.entries()) {
    const before = found[i - 1] as Segment | undefined;
    const last = result.at(-1);
    if (before !== undefined && last !== undefined && isJoined(one, before)) {
      result[result.length - 1] = [last[0], one[1], one[2]];
    } else {
      result.push(one);
    }
  }
  return result;
}
