/**
 * @file Patterns of scopes: Python regular expressions, as NNCF's users write them, run by JavaScript's engine
 * with the meaning of `re.match`: anchored at the start of the name, open at its end.
 *
 * Translated: leading inline flags (`(?i)`, `(?m)`, `(?s)`, `(?x)`; `(?a)` and `(?u)` change nothing here),
 * named groups `(?P<n>...)` and their references `(?P=n)`, comments `(?#...)`, `\A`, `\Z`, `{,n}`, and `]` as
 * the first character of a set. Not translated, hence `invalid-pattern`: conditionals `(?(1)...)`, atomic
 * groups and possessive quantifiers.
 */
import {ScopeError} from '../errors.js';

/** Flags in front of a pattern: `(?i)`, `(?ms)`, several in a row. */
const LEADING_FLAGS = /^(?:\(\?[aimsux]+\))+/;

/** A compiled pattern. */
export interface NamePattern {
  /** Whether the pattern matches from the start of the name. */
  matches(name: string): boolean;
  /** Whether it matches anywhere in the name: for hints. */
  occursIn(name: string): boolean;
  /** The same pattern, free to start anywhere: flags stay in front, then `.*`. */
  readonly unanchored: string;
}

/**
 * Compiles a pattern.
 * @param pattern a Python or JavaScript regular expression.
 * @throws ScopeError `invalid-pattern` when it cannot be parsed.
 */
export function compilePattern(pattern: string): NamePattern {
  const leading = LEADING_FLAGS.exec(pattern)?.[0] ?? '';
  const letters = new Set(leading.replace(/[(?)]/g, ''));
  const flags = ['i', 'm', 's'].filter((flag) => letters.has(flag)).join('');
  const body = pattern.slice(leading.length);
  let anchored: RegExp;
  let free: RegExp;
  try {
    const source = translate(body, letters.has('x'));
    anchored = new RegExp(source, `${flags}y`);
    free = new RegExp(source, flags);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ScopeError(
      'invalid-pattern',
      `pattern ${JSON.stringify(pattern)} is not a regular expression (${reason}): ` +
        'escape special characters with \\, or give an exact name in names',
      {pattern},
      {cause: error},
    );
  }
  return {
    matches(name) {
      anchored.lastIndex = 0;
      return anchored.test(name);
    },
    occursIn: (name) => free.test(name),
    unanchored: `${leading}.*${body}`,
  };
}

/** What Python writes differently, tried in this order at each position outside a set. */
const REWRITES: readonly (readonly [RegExp, (match: RegExpExecArray) => string])[] = [
  [/\\A/y, () => '(?<![\\s\\S])'],
  [/\\Z/y, () => '(?![\\s\\S])'],
  [/\\[\s\S]/y, ([escape]) => escape],
  [/\(\?P<(\w+)>/y, ([, name]) => `(?<${name}>`],
  [/\(\?P=(\w+)\)/y, ([, name]) => `\\k<${name}>`],
  [/\(\?#[^)]*\)/y, () => ''],
  [/\{,(\d+)\}/y, ([, most]) => `{0,${most}}`],
  // A set; a first `]` is a member of it.
  [
    /\[(\^?)(\]?)((?:\\[\s\S]|[^\]\\])*)\]/y,
    ([, not, bracket, rest]) => `[${not}${bracket && '\\]'}${rest}]`,
  ],
];

/** Under `(?x)` white space and comments outside sets mean nothing. */
const VERBOSE_BLANK = /\s+|#[^\n]*/y;

function translate(body: string, verbose: boolean): string {
  let source = '';
  let at = 0;
  const take = (rule: RegExp): RegExpExecArray | null => {
    rule.lastIndex = at;
    return rule.exec(body);
  };
  scan: while (at < body.length) {
    if (verbose) {
      const blank = take(VERBOSE_BLANK);
      if (blank !== null) {
        at += blank[0].length;
        continue;
      }
    }
    for (const [rule, rewrite] of REWRITES) {
      const match = take(rule);
      if (match !== null) {
        source += rewrite(match);
        at += match[0].length;
        continue scan;
      }
    }
    source += body[at++];
  }
  return source;
}
