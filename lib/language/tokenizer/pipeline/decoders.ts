/** @file Decoders of `tokenizer.json`: tokens back to a text (Rust `tokenizers`, `decoders/`). */
import {BYTES} from './byte-characters.js';
import {checkFields, flagOf, malformed, partsOf, textOf, unsupported, type Part} from './parts.js';
import {patternOf} from './patterns.js';
import {prependScheme} from './pre-tokenize.js';

type Decode = (tokens: readonly string[]) => string[];

const WHAT = 'decoder';

/**
 * Tokens to a text; without a decoder they are put side by side with spaces between.
 *
 * @throws {ModelError} `malformed-tokenizer`.
 */
export function createDecoder(part: Part | null): (tokens: readonly string[]) => string {
  if (part === null) return (tokens) => tokens.join(' ');
  const decode = create(part);
  return (tokens) => decode(tokens).join('');
}

function create(part: Part): Decode {
  switch (part.type) {
    case 'Sequence': {
      checkFields(part, WHAT, ['decoders']);
      const steps = partsOf(part['decoders'], WHAT).map(create);
      return (tokens) => steps.reduce<readonly string[]>((value, step) => step(value), tokens) as string[];
    }
    case 'ByteLevel':
      checkFields(part, WHAT, ['add_prefix_space', 'trim_offsets', 'use_regex']);
      return byteLevel;
    case 'ByteFallback':
      checkFields(part, WHAT, []);
      return byteFallback;
    case 'Fuse':
      checkFields(part, WHAT, []);
      return (tokens) => [tokens.join('')];
    case 'Strip':
      return strip(part);
    case 'Replace': {
      checkFields(part, WHAT, ['pattern', 'content']);
      const pattern = patternOf(part['pattern'], WHAT);
      const content = textOf(part, 'content');
      return (tokens) => tokens.map((token) => token.replace(pattern, () => content));
    }
    case 'Metaspace':
      return metaspace(part);
    case 'WordPiece':
      return wordPiece(part);
    case 'BPEDecoder': {
      checkFields(part, WHAT, ['suffix']);
      const suffix = textOf(part, 'suffix', '</w>');
      return (tokens) =>
        tokens.map((token, i) => token.replaceAll(suffix, () => (i === tokens.length - 1 ? '' : ' ')));
    }
    default:
      throw unsupported(WHAT, part.type.slice(0, 80));
  }
}

/** Characters to the bytes that they stand for; a token with any other character is taken as it is. */
function byteLevel(tokens: readonly string[]): string[] {
  const encoder = new TextEncoder();
  const bytes = tokens.flatMap((token) => {
    const own = Array.from(token, (character) => BYTES.get(character));
    return own.includes(undefined) ? Array.from(encoder.encode(token)) : (own as number[]);
  });
  return [new TextDecoder('utf-8', {ignoreBOM: true}).decode(Uint8Array.from(bytes))];
}

/** Runs of `<0x41>`: the characters of their bytes, or one U+FFFD a byte if the run is no UTF-8. */
function byteFallback(tokens: readonly string[]): string[] {
  const result: string[] = [];
  let run: number[] = [];
  const flush = () => {
    if (run.length > 0) result.push(...charactersOf(run));
    run = [];
  };
  for (const token of tokens) {
    const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
    if (match !== null) {
      run.push(parseInt(match[1], 16));
    } else {
      flush();
      result.push(token);
    }
  }
  flush();
  return result;
}

function charactersOf(run: readonly number[]): string[] {
  try {
    return [new TextDecoder('utf-8', {fatal: true, ignoreBOM: true}).decode(Uint8Array.from(run))];
  } catch {
    return run.map(() => '\ufffd');
  }
}

function strip(part: Part): Decode {
  checkFields(part, WHAT, ['content', 'start', 'stop']);
  const content = textOf(part, 'content');
  const [start, stop] = ['start', 'stop'].map((field) => part[field] ?? 0);
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(stop))
    throw malformed('Strip', 'it has no start or stop');
  return (tokens) =>
    tokens.map((token) => {
      const letters = Array.from(token);
      let [from, to] = [0, letters.length];
      while (from < (start as number) && letters[from] === content) from++;
      while (letters.length - to < (stop as number) && to > from && letters[to - 1] === content) to--;
      return letters.slice(from, to).join('');
    });
}

/** The mark is a space, but for the first token, where a mark was put before the text. */
function metaspace(part: Part): Decode {
  checkFields(part, WHAT, ['replacement', 'str_rep', 'add_prefix_space', 'prepend_scheme', 'split']);
  const replacement = textOf(part, 'replacement', '▁');
  const isPrefixed = prependScheme(part, WHAT) !== 'never';
  return (tokens) =>
    tokens.map((token, i) => token.replaceAll(replacement, () => (i === 0 && isPrefixed ? '' : ' ')));
}

const CLEAN: readonly (readonly [string, string])[] = [
  ...[' .', ' ?', ' !', ' ,', " n't", " 'm", " 's", " 've", " 're"].map(
    (text) => [text, text.slice(1)] as const,
  ),
];

function wordPiece(part: Part): Decode {
  checkFields(part, WHAT, ['prefix', 'cleanup']);
  const prefix = textOf(part, 'prefix', '##');
  const isClean = flagOf(part, 'cleanup', true);
  return (tokens) =>
    tokens.map((token, i) => {
      const joined = i === 0 ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
      return isClean ? cleaned(joined) : joined;
    });
}

function cleaned(text: string): string {
  const steps = [
    ...CLEAN.slice(0, 4),
    [" ' ", "'"],
    ...CLEAN.slice(4, 6),
    [' do not', " don't"],
    ...CLEAN.slice(6),
  ];
  return steps.reduce((value, [from, to]) => value.replaceAll(from, () => to), text);
}
