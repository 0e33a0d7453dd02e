/** @file Pre-tokenizers of `tokenizer.json`: how a text is cut into words (Rust `tokenizers`, `pre_tokenizers/`). */
import {CHARACTERS} from './byte-characters.js';
import {checkFields, flagOf, partsOf, textOf, unsupported, type Part} from './parts.js';
import {behaviorOf, patternOf, SPACES, split, WORD, type Behavior} from './patterns.js';

/** A piece of a text. */
interface Piece {
  readonly text: string;
  /** Whether the whole text begins with it. */
  readonly isFirst: boolean;
}

export type PreTokenize = (pieces: readonly Piece[]) => Piece[];

const WHAT = 'pre-tokenizer';
const PUNCTUATION = /[\p{P}!-/:-@[-`{-~]/gu;
const GPT2 =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
const WORDS = new RegExp(`${WORD}+|(?:(?!${WORD})\\P{White_Space})+`, 'gu');

/** @throws {ModelError} `malformed-tokenizer`. */
export function createPreTokenizer(part: Part | null): PreTokenize {
  if (part === null) return (pieces) => [...pieces];
  switch (part.type) {
    case 'Sequence': {
      checkFields(part, WHAT, ['pretokenizers']);
      const steps = partsOf(part['pretokenizers'], WHAT).map(createPreTokenizer);
      return (pieces) => steps.reduce<readonly Piece[]>((value, step) => step(value), pieces) as Piece[];
    }
    case 'Split': {
      checkFields(part, WHAT, ['pattern', 'behavior', 'invert']);
      const behavior = behaviorOf(part['behavior'], WHAT);
      return splitting(patternOf(part['pattern'], WHAT), behavior, flagOf(part, 'invert', false));
    }
    case 'Digits':
      checkFields(part, WHAT, ['individual_digits']);
      return splitting(/\p{N}/gu, flagOf(part, 'individual_digits', false) ? 'Isolated' : 'Contiguous');
    case 'Punctuation':
      checkFields(part, WHAT, ['behavior']);
      return splitting(PUNCTUATION, behaviorOf(part['behavior'] ?? 'Isolated', WHAT));
    case 'Whitespace':
      checkFields(part, WHAT, []);
      return splitting(WORDS, 'Removed', true);
    case 'WhitespaceSplit':
      checkFields(part, WHAT, []);
      return splitting(SPACES, 'Removed');
    case 'BertPreTokenizer': {
      checkFields(part, WHAT, []);
      const [spaces, marks] = [splitting(SPACES, 'Removed'), splitting(PUNCTUATION, 'Isolated')];
      return (pieces) => marks(spaces(pieces));
    }
    case 'CharDelimiterSplit':
      checkFields(part, WHAT, ['delimiter']);
      return splitting(patternOf({String: textOf(part, 'delimiter')}, WHAT), 'Removed');
    case 'ByteLevel':
      return byteLevel(part);
    case 'Metaspace':
      return metaspace(part);
    default:
      throw unsupported(WHAT, part.type.slice(0, 80));
  }
}

function splitting(pattern: RegExp, behavior: Behavior, invert = false): PreTokenize {
  return (pieces) =>
    pieces.flatMap(({text, isFirst}) => {
      const parts = split(text, pattern, behavior, invert);
      return parts.map((part, i) => ({text: part, isFirst: isFirst && i === 0 && text.startsWith(part)}));
    });
}

function byteLevel(part: Part): PreTokenize {
  checkFields(part, WHAT, ['add_prefix_space', 'trim_offsets', 'use_regex']);
  const hasPrefix = flagOf(part, 'add_prefix_space', true);
  const words = flagOf(part, 'use_regex', true)
    ? splitting(GPT2, 'Isolated')
    : (pieces: readonly Piece[]) => [...pieces];
  const encoder = new TextEncoder();
  const spaced = ({text, isFirst}: Piece) => ({
    text: hasPrefix && !text.startsWith(' ') ? ` ${text}` : text,
    isFirst,
  });
  return (pieces) =>
    words(pieces.map(spaced)).map(({text, isFirst}) => ({
      text: Array.from(encoder.encode(text), (byte) => CHARACTERS[byte]).join(''),
      isFirst,
    }));
}

function metaspace(part: Part): PreTokenize {
  checkFields(part, WHAT, ['replacement', 'str_rep', 'add_prefix_space', 'prepend_scheme', 'split']);
  const replacement = textOf(part, 'replacement', '▁');
  const scheme = prependScheme(part, WHAT);
  const words: PreTokenize = flagOf(part, 'split', true)
    ? splitting(patternOf({String: replacement}, WHAT), 'MergedWithNext')
    : (pieces) => [...pieces];
  return (pieces) =>
    words(
      pieces.map(({text, isFirst}) => {
        const marked = text.replaceAll(' ', () => replacement);
        const isPrefixed = scheme === 'always' || (scheme === 'first' && isFirst);
        return {text: isPrefixed && !marked.startsWith(replacement) ? replacement + marked : marked, isFirst};
      }),
    );
}

/** Whether a Metaspace puts its mark before a text. Older files say `add_prefix_space` instead. */
export function prependScheme(part: Part, what: string): 'always' | 'first' | 'never' {
  const scheme = part['prepend_scheme'] ?? (flagOf(part, 'add_prefix_space', true) ? 'always' : 'never');
  if (scheme === 'always' || scheme === 'first' || scheme === 'never') return scheme;
  throw unsupported(what, `Metaspace with the prepend_scheme ${JSON.stringify(scheme)}`);
}
