/**
 * @file Methods of Python's texts, dictionaries and lists, as templates call them. A method that is not here is an error of
 * the template: Python's own would change the value, which the sandbox of transformers refuses too, or are used nowhere.
 */
import {Arguments} from './arguments.js';
import {format, strip, splitLines, whitespace} from './texts.js';
import {
  boolean,
  callable,
  equals,
  integer,
  isDict,
  isInteger,
  isNone,
  isSequence,
  isText,
  isTuple,
  itemsOf,
  kindOf,
  list,
  none,
  TemplateError,
  text,
  tuple,
  view,
  type Value,
} from './values.js';

type Method<T> = (self: T, args: Arguments) => Value;

/** The method of that name, bound; null if the value has none. @throws {TemplateError} If Python has one that is not here. */
export function methodOf(value: Value, name: string): Value | null {
  if (isText(value)) return bound(TEXT, PYTHON_TEXT, value.value, name);
  if (isDict(value)) return bound(DICT, PYTHON_DICT, value.value, name);
  if (isSequence(value)) return bound(isTuple(value) ? TUPLE : LIST, PYTHON_LIST, value.value, name);
  return null;
}

function bound<T>(
  methods: Readonly<Record<string, Method<T>>>,
  python: ReadonlySet<string>,
  self: T,
  name: string,
): Value | null {
  if (Object.hasOwn(methods, name)) return callable((args) => methods[name](self, new Arguments(args)));
  if (!python.has(name)) return null;
  throw new TemplateError(`the method ${name}() is not supported`);
}

const words = (names: string) => new Set(names.split(' '));
const PYTHON_TEXT = words(
  'casefold center encode expandtabs format_map isalnum isalpha isascii isdecimal isidentifier isnumeric isprintable istitle ljust maketrans rjust rindex swapcase translate',
);
const PYTHON_DICT = words('clear copy fromkeys pop popitem setdefault update');
const PYTHON_LIST = words('append clear copy extend insert pop remove reverse sort');

const textOf = (value: Value | undefined, what: string): string => {
  if (value !== undefined && isText(value)) return value.value;
  throw new TemplateError(`${what} must be a text`);
};
const integerOf = (value: Value | undefined, otherwise: number): number => {
  if (value === undefined || isNone(value)) return otherwise;
  if (isInteger(value)) return value.value;
  throw new TemplateError(`${kindOf(value)} must be a whole number`);
};

/** Texts that a text starts or ends with: one, or a tuple of them. */
function affixes(value: Value | undefined): string[] {
  if (value !== undefined && isTuple(value)) return value.value.map((one) => textOf(one, 'each of a tuple'));
  return [textOf(value, 'what to look for')];
}

const stripping =
  (sides: 'both' | 'start' | 'end'): Method<string> =>
  (self, args) => {
    const [characters] = args.take('chars');
    const isDefault = characters === undefined || isNone(characters);
    return text(strip(self, sides, isDefault ? null : textOf(characters, 'chars')));
  };

const searching =
  (search: (self: string, what: string) => number, isFound: boolean): Method<string> =>
  (self, args) => {
    const at = search(self, textOf(args.take('sub')[0], 'what to look for'));
    if (at < 0 && isFound) throw new TemplateError('the text that is looked for is not there');
    return integer(at < 0 ? -1 : Array.from(self.slice(0, at)).length);
  };

const splitting =
  (fromEnd: boolean): Method<string> =>
  (self, args) => {
    const [separator, most] = args.take('sep', 'maxsplit');
    const isDefault = separator === undefined || isNone(separator);
    const parts = split(self, isDefault ? null : textOf(separator, 'sep'), integerOf(most, -1), fromEnd);
    return list(parts.map(text));
  };

function split(self: string, separator: string | null, most: number, fromEnd: boolean): string[] {
  if (separator === '') throw new TemplateError('a text cannot be split by an empty one');
  if (separator !== null) {
    const parts = self.split(separator);
    if (most < 0 || parts.length <= most + 1) return parts;
    return fromEnd
      ? [parts.slice(0, parts.length - most).join(separator), ...parts.slice(parts.length - most)]
      : [...parts.slice(0, most), parts.slice(most).join(separator)];
  }
  const words = strip(self, 'both', null)
    .split(whitespace)
    .filter((word) => word !== '');
  if (most < 0 || words.length <= most + 1) return words;
  if (fromEnd || words.length === 0)
    throw new TemplateError('rsplit() by whitespace with a limit is not supported');
  const limit = strip(self, 'start', null);
  let rest = limit;
  for (const word of words.slice(0, most)) rest = strip(rest.slice(word.length), 'start', null);
  return [...words.slice(0, most), rest];
}

const partition =
  (last: boolean): Method<string> =>
  (self, args) => {
    const separator = textOf(args.take('sep')[0], 'sep');
    const at = last ? self.lastIndexOf(separator) : self.indexOf(separator);
    if (at < 0) return tuple((last ? ['', '', self] : [self, '', '']).map(text));
    return tuple([self.slice(0, at), separator, self.slice(at + separator.length)].map(text));
  };

/** Python's capital and small letters: of code points, with the title case of the few letters that have one. */
const capitalized = (self: string): string => {
  const [first = '', ...rest] = Array.from(self);
  return titleLetter(first) + rest.join('').toLowerCase();
};
const titleLetter = (letter: string): string => {
  const upper = letter.toUpperCase();
  if (/^[\u01c4\u01c7\u01ca\u01f1]$/.test(upper)) return String.fromCharCode(upper.charCodeAt(0) + 1);
  if (/^[\u1f80-\u1fff]$/.test(letter) && upper.length > 1) {
    throw new TemplateError(`the title case of ${letter} is not supported`);
  }
  return upper.length > letter.length ? upper[0] + upper.slice(1).toLowerCase() : upper;
};
const titled = (self: string): string => self.replace(/\p{L}+/gu, capitalized);

const cased = (self: string, same: (self: string) => string): boolean =>
  self === same(self) && self.toUpperCase() !== self.toLowerCase();

const TEXT: Readonly<Record<string, Method<string>>> = {
  upper: (self, args) => (args.take(), text(self.toUpperCase())),
  lower: (self, args) => (args.take(), text(self.toLowerCase())),
  capitalize: (self, args) => (args.take(), text(capitalized(self))),
  title: (self, args) => (args.take(), text(titled(self))),
  strip: stripping('both'),
  lstrip: stripping('start'),
  rstrip: stripping('end'),
  startswith: (self, args) => boolean(affixes(args.take('prefix')[0]).some((one) => self.startsWith(one))),
  endswith: (self, args) => boolean(affixes(args.take('suffix')[0]).some((one) => self.endsWith(one))),
  removeprefix: (self, args) => {
    const prefix = textOf(args.take('prefix')[0], 'prefix');
    return text(self.startsWith(prefix) ? self.slice(prefix.length) : self);
  },
  removesuffix: (self, args) => {
    const suffix = textOf(args.take('suffix')[0], 'suffix');
    return text(suffix !== '' && self.endsWith(suffix) ? self.slice(0, -suffix.length) : self);
  },
  split: splitting(false),
  rsplit: splitting(true),
  splitlines: (self, args) => (args.take(), list(splitLines(self).map(text))),
  partition: partition(false),
  rpartition: partition(true),
  replace: (self, args) => {
    const [from, to, count] = args.take('old', 'new', 'count');
    return text(replaced(self, textOf(from, 'old'), textOf(to, 'new'), integerOf(count, -1)));
  },
  find: searching((self, what) => self.indexOf(what), false),
  rfind: searching((self, what) => self.lastIndexOf(what), false),
  index: searching((self, what) => self.indexOf(what), true),
  count: (self, args) => {
    const what = textOf(args.take('sub')[0], 'what to count');
    return integer(what === '' ? Array.from(self).length + 1 : self.split(what).length - 1);
  },
  join: (self, args) =>
    text(
      itemsOf(needed(args.take('iterable')[0]))
        .map((one) => textOf(one, 'each item'))
        .join(self),
    ),
  zfill: (self, args) => {
    const [, sign, digits] = /^([+-]?)(.*)$/s.exec(self)!;
    return text(sign + digits.padStart(integerOf(args.take('width')[0], 0) - sign.length, '0'));
  },
  isdigit: (self, args) => (args.take(), boolean(/^[0-9]+$/.test(asciiOnly(self)))),
  isspace: (self, args) => (args.take(), boolean(self !== '' && strip(self, 'both', null) === '')),
  islower: (self, args) => (args.take(), boolean(cased(self, (one) => one.toLowerCase()))),
  isupper: (self, args) => (args.take(), boolean(cased(self, (one) => one.toUpperCase()))),
  format: (self, args) => text(format(self, args.all())),
};

/** Digits of other scripts count in Python in ways of their own. */
function asciiOnly(self: string): string {
  if (/^[\x20-\x7e\s\p{L}]*$/u.test(self)) return self;
  throw new TemplateError('isdigit() of such characters is not supported');
}

function needed(value: Value | undefined): Value {
  if (value !== undefined) return value;
  throw new TemplateError('an argument is missing');
}

export function replaced(self: string, from: string, to: string, count: number): string {
  const parts = from === '' ? ['', ...Array.from(self), ''] : self.split(from);
  if (count < 0 || count >= parts.length - 1) return parts.join(to);
  return [parts.slice(0, count + 1).join(to), ...parts.slice(count + 1)].join(from);
}

const DICT: Readonly<Record<string, Method<Map<string, Value>>>> = {
  get: (self, args) => {
    const [key, otherwise] = args.all(); // Python takes neither by name
    const found = key !== undefined && isText(key) ? self.get(key.value) : undefined;
    return found ?? otherwise ?? none();
  },
  items: (self, args) => (args.take(), view([...self].map(([key, value]) => pair(key, value)))),
  keys: (self, args) => (args.take(), view([...self.keys()].map(text))),
  values: (self, args) => (args.take(), view([...self.values()])),
};

/** One of a dictionary's items. */
export function pair(key: string, value: Value): Value {
  return tuple([text(key), value]);
}

const TUPLE: Readonly<Record<string, Method<Value[]>>> = {
  index: (self, args) => {
    const at = self.findIndex((one) => equals(one, needed(args.take('value')[0])));
    if (at >= 0) return integer(at);
    throw new TemplateError('the value that is looked for is not in the list');
  },
  count: (self, args) => {
    const [value] = args.take('value');
    return integer(self.filter((one) => equals(one, needed(value))).length);
  },
};
const LIST = TUPLE;
