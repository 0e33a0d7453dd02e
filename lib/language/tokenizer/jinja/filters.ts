/**
 * @file Filters and tests of jinja2 3.1 (`jinja2/filters.py`, `jinja2/tests.py`) as chat templates use them. One that is
 * not here is an error of the template.
 */
import {Arguments} from './arguments.js';
import {methodOf, pair, replaced} from './methods.js';
import {fixed, percent, splitLines, strip} from './texts.js';
import {toJson} from './to-json.js';
import {
  compare,
  contains,
  equals,
  float,
  generator,
  integer,
  isArray,
  isBoolean,
  isCallable,
  isDict,
  isFloat,
  isGenerator,
  isInteger,
  isNone,
  isSequence,
  isText,
  isUndefined,
  itemsOf,
  kindOf,
  list,
  numberOf,
  str,
  TemplateError,
  text,
  truth,
  undefinedValue,
  tuple,
  type Value,
} from './values.js';

type Filter = (self: Value, args: Arguments) => Value;
type Test = (self: Value, other?: Value) => boolean;

/** Applies a filter. @throws {TemplateError} If it is not known, or not for such a value. */
export function applyFilter(name: string, self: Value, args: readonly Value[]): Value {
  if (Object.hasOwn(FILTERS, name)) return FILTERS[name](self, new Arguments(args));
  throw new TemplateError(`the filter "${name}" is not supported`);
}

/** Asks a test. @throws {TemplateError} If it is not known, or not for such a value. */
export function applyTest(name: string, self: Value, other?: Value): boolean {
  if (Object.hasOwn(TESTS, name)) return TESTS[name](self, other);
  throw new TemplateError(`the test "${name}" is not supported`);
}

const flagOf = (value: Value | undefined): boolean => value !== undefined && truth(value);
const textOf = (value: Value | undefined, otherwise: string): string => {
  if (value === undefined) return otherwise;
  if (isText(value)) return value.value;
  throw new TemplateError(`${kindOf(value)} must be a text`);
};
const wholeOf = (value: Value | undefined, otherwise: number): number => {
  if (value === undefined) return otherwise;
  if (isInteger(value)) return value.value;
  throw new TemplateError(`${kindOf(value)} must be a whole number`);
};

/** A method of a text on what the value prints as. */
const ofText =
  (method: string): Filter =>
  (self, args) => {
    args.take();
    return call(methodOf(text(str(self)), method)!);
  };

function call(method: Value): Value {
  if (isCallable(method)) return method.value([], undefined!);
  throw new TemplateError('this is no function');
}

/** Part of an item by a path such as `function.name` or an index; a default stands in for each part that is not there. */
function attribute(item: Value, path: Value, otherwise?: Value): Value {
  const parts = isInteger(path) ? [path] : textOf(path, '').split('.').map(partOf);
  return parts.reduce((value, part) => {
    const found = memberOf(value, part);
    return isUndefined(found) && otherwise !== undefined ? otherwise : found;
  }, item);
}

const partOf = (part: string): Value => (/^\d+$/.test(part) ? integer(Number(part)) : text(part));

/** Python's `value[key]`, undefined if there is none. */
export function memberOf(value: Value, key: Value): Value {
  if (isUndefined(value)) throw new TemplateError('a part of what is undefined was asked for');
  if (isDict(value) && isText(key)) return value.value.get(key.value) ?? undefinedValue();
  if ((isSequence(value) || isText(value)) && (isInteger(key) || isBoolean(key))) {
    const items = isText(value) ? Array.from(value.value, text) : value.value;
    return items.at(Number(key.value)) ?? undefinedValue();
  }
  return undefinedValue();
}

function order(
  values: Value[],
  by: (value: Value) => Value,
  args: {reverse: boolean; cased: boolean},
): Value[] {
  const key = (value: Value): Value => {
    const part = by(value);
    return isText(part) && !args.cased ? text(part.value.toLowerCase()) : part;
  };
  const keyed = values.map((value) => ({value, key: key(value)}));
  // One value is never compared in Python either.
  keyed.sort((a, b) => (args.reverse ? compare(b.key, a.key) : compare(a.key, b.key)));
  return keyed.map(({value}) => value);
}

const extreme =
  (sign: number): Filter =>
  (self, args) => {
    const [cased, by] = args.take('case_sensitive', 'attribute');
    const key = (value: Value) => {
      const part = by === undefined || isNone(by) ? value : attribute(value, by);
      return isText(part) && !flagOf(cased) ? text(part.value.toLowerCase()) : part;
    };
    const values = itemsOf(self);
    if (values.length === 0) return undefinedValue();
    return values.reduce((best, value) => (sign * compare(key(value), key(best)) > 0 ? value : best));
  };

const choosing =
  (isChosen: boolean, byAttribute: boolean): Filter =>
  (self, args) => {
    const all = args.all();
    const path = byAttribute ? all.shift() : undefined;
    if (byAttribute && path === undefined) throw new TemplateError('the name of an attribute is missing');
    const [name, other, ...rest] = all;
    if (rest.length > 0) throw new TemplateError('a test with several arguments is not supported');
    const passes = (item: Value) => {
      const part = path === undefined ? item : attribute(item, path);
      return name === undefined ? truth(part) : applyTest(textOf(name, ''), part, other);
    };
    return generator(itemsOf(self).filter((item) => passes(item) === isChosen));
  };

const mapped: Filter = (self, args) => {
  const items = itemsOf(self);
  if (args.hasName('attribute')) {
    const [path, otherwise] = args.named('attribute', 'default');
    return generator(items.map((item) => attribute(item, path!, otherwise)));
  }
  const [name, ...rest] = args.all();
  if (name === undefined) throw new TemplateError('map needs an attribute or a filter');
  return generator(items.map((item) => applyFilter(textOf(name, ''), item, rest)));
};

/** To whole numbers as Python's `int(...)` takes them. */
function parsedInteger(value: string): number | null {
  const trimmed = strip(value, 'both', null);
  if (/^[+-]?\d+(?:_\d+)*$/.test(trimmed)) return Number(trimmed.replaceAll('_', ''));
  const number = parsedFloat(value); // jinja2 falls back to int(float(...))
  return number === null || !Number.isFinite(number) ? null : Math.trunc(number);
}

function parsedFloat(value: string): number | null {
  const trimmed = strip(value, 'both', null);
  const isNumber = /^[+-]?(?:\d+(?:_\d+)*\.?(?:\d+(?:_\d+)*)?|\.\d+(?:_\d+)*)(?:[eE][+-]?\d+)?$/.test(
    trimmed,
  );
  return isNumber ? Number(trimmed.replaceAll('_', '')) : null;
}

const HTML: Readonly<Record<string, string>> = {
  ...{'&': '&amp;', '<': '&lt;', '>': '&gt;', "'": '&#39;', '"': '&#34;'},
};
/** What `{{ ... | e }}` prints. Escaped texts escape what they are joined with, so they may be printed only. */
export const escapeHtml = (value: Value): string =>
  str(value).replace(/[&<>'"]/g, (character) => HTML[character]);

/** Halves to even, as Python rounds, on the exact binary value. */
function rounded(value: number, digits: number, method: string): number {
  const scale = 10 ** digits;
  if (method === 'ceil') return Math.ceil(value * scale) / scale;
  if (method === 'floor') return Math.floor(value * scale) / scale;
  if (method !== 'common' || digits < 0) throw new TemplateError('round() like this is not supported');
  return Number(fixed(value, digits));
}

const FILTERS: Readonly<Record<string, Filter>> = {
  abs: (self, args) => {
    args.take();
    const number = numberOf(self);
    if (number === null) throw new TemplateError(`${kindOf(self)} has no absolute value`);
    return isFloat(self) ? float(Math.abs(number)) : integer(Math.abs(number));
  },
  capitalize: ofText('capitalize'),
  default: (self, args) => {
    const [otherwise, isFalse] = args.take('default_value', 'boolean');
    return isUndefined(self) || (flagOf(isFalse) && !truth(self)) ? (otherwise ?? text('')) : self;
  },
  dictsort: (self, args) => {
    const [cased, by, reverse] = args.take('case_sensitive', 'by', 'reverse');
    if (!isDict(self)) throw new TemplateError(`${kindOf(self)} is no dictionary`);
    const which = textOf(by, 'key');
    if (which !== 'key' && which !== 'value') throw new TemplateError('dictsort sorts by "key" or "value"');
    const pairs = [...self.value].map(([key, value]) => pair(key, value));
    const index = integer(which === 'key' ? 0 : 1);
    return list(
      order(pairs, (one) => memberOf(one, index), {reverse: flagOf(reverse), cased: flagOf(cased)}),
    );
  },
  first: (self, args) => (args.take(), itemsOf(self).at(0) ?? undefinedValue()),
  float: (self, args) => {
    const [otherwise] = args.take('default');
    const number = isText(self) ? parsedFloat(self.value) : numberOf(self);
    return number === null ? (otherwise ?? float(0)) : float(number);
  },
  format: (self, args) => {
    const pattern = str(self);
    const values = args.all();
    return text(percent(pattern, tuple(values)));
  },
  indent: (self, args) => {
    const [width, first, blank] = args.take('width', 'first', 'blank');
    const margin = width !== undefined && isText(width) ? width.value : ' '.repeat(wholeOf(width, 4));
    const lines = splitLines(`${str(self)}\n`);
    const indented = lines.map((line, i) =>
      i === 0 || (line === '' && !flagOf(blank)) ? line : margin + line,
    );
    return text((flagOf(first) ? margin : '') + indented.join('\n'));
  },
  int: (self, args) => {
    const [otherwise, base] = args.take('default', 'base');
    if (wholeOf(base, 10) !== 10) throw new TemplateError('int() of another base is not supported');
    const number = isText(self) ? parsedInteger(self.value) : numberOf(self);
    if (isUndefined(self)) throw new TemplateError('undefined is no number');
    return number === null || !Number.isFinite(number)
      ? (otherwise ?? integer(0))
      : integer(Math.trunc(number) + 0);
  },
  items: (self, args) => {
    args.take();
    if (isUndefined(self)) return generator([]);
    if (!isDict(self)) throw new TemplateError(`${kindOf(self)} is no dictionary`);
    return generator([...self.value].map(([key, value]) => pair(key, value)));
  },
  join: (self, args) => {
    const [between, by] = args.take('d', 'attribute');
    const parts = itemsOf(self).map((item) => (by === undefined || isNone(by) ? item : attribute(item, by)));
    return text(parts.map(str).join(between === undefined ? '' : str(between)));
  },
  last: (self, args) => {
    args.take();
    if (isGenerator(self)) throw new TemplateError('what has no end yet has no last item');
    return itemsOf(self).at(-1) ?? undefinedValue();
  },
  length: (self, args) => {
    args.take();
    if (isText(self)) return integer(Array.from(self.value).length);
    if (isGenerator(self)) throw new TemplateError('what is made item by item has no length: add "| list"');
    return integer(itemsOf(self).length);
  },
  list: (self, args) => (args.take(), list([...itemsOf(self)])),
  lower: ofText('lower'),
  map: mapped,
  max: extreme(1),
  min: extreme(-1),
  reject: choosing(false, false),
  rejectattr: choosing(false, true),
  replace: (self, args) => {
    const [from, to, count] = args.take('old', 'new', 'count');
    if (from === undefined || to === undefined) throw new TemplateError('replace needs two texts');
    return text(
      replaced(str(self), str(from), str(to), count === undefined || isNone(count) ? -1 : wholeOf(count, -1)),
    );
  },
  reverse: (self, args) => {
    args.take();
    if (isText(self)) return text(Array.from(self.value).reverse().join(''));
    return generator([...itemsOf(self)].reverse());
  },
  round: (self, args) => {
    const [precision, method] = args.take('precision', 'method');
    const number = numberOf(self);
    const digits = wholeOf(precision, 0);
    if (number === null) throw new TemplateError(`${kindOf(self)} cannot be rounded`);
    const result = rounded(number, digits, textOf(method, 'common'));
    return isFloat(self) ? float(result) : integer(result);
  },
  safe: (self, args) => (args.take(), self),
  select: choosing(true, false),
  selectattr: choosing(true, true),
  sort: (self, args) => {
    const [reverse, cased, by] = args.take('reverse', 'case_sensitive', 'attribute');
    if (by !== undefined && isText(by) && by.value.includes(',')) {
      throw new TemplateError('sort by several attributes is not supported');
    }
    const key = (value: Value) => (by === undefined || isNone(by) ? value : attribute(value, by));
    return list(order([...itemsOf(self)], key, {reverse: flagOf(reverse), cased: flagOf(cased)}));
  },
  string: (self, args) => (args.take(), text(str(self))),
  sum: (self, args) => {
    const [by, start] = args.take('attribute', 'start');
    const parts = itemsOf(self).map((item) => (by === undefined || isNone(by) ? item : attribute(item, by)));
    const numbers = [start ?? integer(0), ...parts];
    const total = numbers.reduce((sum, part) => {
      const number = numberOf(part);
      if (number === null) throw new TemplateError(`${kindOf(part)} cannot be added up`);
      return sum + number;
    }, 0);
    return numbers.some(isFloat) ? float(total) : integer(total);
  },
  title: (self, args) => {
    args.take();
    const parts = str(self).split(/([-\s({[<]+)/u);
    return text(parts.map((part) => part.slice(0, 1).toUpperCase() + part.slice(1).toLowerCase()).join(''));
  },
  tojson: (self, args) => {
    const [ascii, indent, separators, sorted] = args.take(
      'ensure_ascii',
      'indent',
      'separators',
      'sort_keys',
    );
    return text(toJson(self, {ascii: flagOf(ascii), sorted: flagOf(sorted), indent, separators}));
  },
  trim: (self, args) => {
    const [characters] = args.take('chars');
    const isDefault = characters === undefined || isNone(characters);
    return text(strip(str(self), 'both', isDefault ? null : textOf(characters, '')));
  },
  unique: (self, args) => {
    const [cased, by] = args.take('case_sensitive', 'attribute');
    const keys: Value[] = [];
    const kept = itemsOf(self).filter((item) => {
      const part = by === undefined || isNone(by) ? item : attribute(item, by);
      const key = isText(part) && !flagOf(cased) ? text(part.value.toLowerCase()) : part;
      if (keys.some((one) => equals(one, key))) return false;
      keys.push(key);
      return true;
    });
    return generator(kept);
  },
  upper: ofText('upper'),
  wordcount: (self, args) => (args.take(), integer((str(self).match(/[\p{L}\p{N}_]+/gu) ?? []).length)),
  ...{
    d: (self, args) => FILTERS['default'](self, args),
    count: (self, args) => FILTERS['length'](self, args),
  },
};

const compared =
  (passes: (order: number) => boolean): Test =>
  (self, other) =>
    passes(compare(self, other!));
const isEqual: Test = (self, other) => equals(self, other!);
const isNot: Test = (self, other) => !equals(self, other!);
const [isLess, isMore] = [compared((order) => order < 0), compared((order) => order > 0)];
const [isAtMost, isAtLeast] = [compared((order) => order <= 0), compared((order) => order >= 0)];
const isWhole = (self: Value): self is Value & {value: number} => isInteger(self);
const remainder = (self: Value, by: number): number => {
  const number = numberOf(self);
  if (number === null) throw new TemplateError(`${kindOf(self)} is no number`);
  return ((number % by) + by) % by;
};

const TESTS: Readonly<Record<string, Test>> = {
  boolean: isBoolean,
  callable: isCallable,
  defined: (self) => !isUndefined(self),
  divisibleby: (self, other) => remainder(self, numberOf(other!)!) === 0,
  even: (self) => remainder(self, 2) === 0,
  false: (self) => isBoolean(self) && !self.value,
  float: isFloat,
  in: (self, other) => contains(self, other!),
  integer: isWhole,
  iterable: (self) => isArray(self) || isText(self) || isDict(self) || isUndefined(self),
  lower: (self) => isCase(self, 'islower'),
  mapping: isDict,
  none: isNone,
  number: (self) => numberOf(self) !== null,
  odd: (self) => remainder(self, 2) === 1,
  sequence: (self) => isSequence(self) || isText(self) || isDict(self) || isUndefined(self),
  string: isText,
  true: (self) => isBoolean(self) && self.value,
  undefined: isUndefined,
  upper: (self) => isCase(self, 'isupper'),
  ...{equalto: isEqual, eq: isEqual, '==': isEqual, ne: isNot, '!=': isNot},
  ...{lessthan: isLess, lt: isLess, '<': isLess, greaterthan: isMore, gt: isMore, '>': isMore},
  ...{le: isAtMost, '<=': isAtMost, ge: isAtLeast, '>=': isAtLeast},
};

function isCase(self: Value, method: string): boolean {
  return truth(call(methodOf(text(str(self)), method)!));
}
