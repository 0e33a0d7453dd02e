/** @file Normalizers of `tokenizer.json`: what is done to a text before it is cut (Rust `tokenizers`, `normalizers/`). */
import {checkFields, flagOf, partsOf, textOf, unsupported, type Part} from './parts.js';
import {patternOf} from './patterns.js';

export type Normalize = (text: string) => string;

const WHAT = 'normalizer';
const FORMS = ['NFC', 'NFD', 'NFKC', 'NFKD'];

/** @throws {ModelError} `malformed-tokenizer`. */
export function createNormalizer(part: Part | null): Normalize {
  if (part === null) return (text) => text;
  if (FORMS.includes(part.type)) {
    checkFields(part, WHAT, []);
    return (text) => text.normalize(part.type);
  }
  switch (part.type) {
    case 'Sequence': {
      checkFields(part, WHAT, ['normalizers']);
      const steps = partsOf(part['normalizers'], WHAT).map(createNormalizer);
      return (text) => steps.reduce((value, step) => step(value), text);
    }
    case 'Lowercase':
      checkFields(part, WHAT, []);
      // Letter by letter: a sigma at the end of a word becomes no other letter.
      return (text) => Array.from(text, (character) => character.toLowerCase()).join('');
    case 'Strip': {
      checkFields(part, WHAT, ['strip_left', 'strip_right']);
      const left = flagOf(part, 'strip_left', true) ? /^\p{White_Space}+/u : /(?!)/;
      const right = flagOf(part, 'strip_right', true) ? /\p{White_Space}+$/u : /(?!)/;
      return (text) => text.replace(left, '').replace(right, '');
    }
    case 'StripAccents':
      checkFields(part, WHAT, []);
      return (text) => text.replace(/\p{M}/gu, '');
    case 'Replace': {
      checkFields(part, WHAT, ['pattern', 'content']);
      const pattern = patternOf(part['pattern'], WHAT);
      const content = textOf(part, 'content');
      return (text) => text.replace(pattern, () => content);
    }
    case 'Prepend': {
      checkFields(part, WHAT, ['prepend']);
      const prepend = textOf(part, 'prepend');
      return (text) => (text === '' ? '' : prepend + text);
    }
    default:
      throw unsupported(WHAT, part.type.slice(0, 80));
  }
}
