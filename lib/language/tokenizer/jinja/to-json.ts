/** @file The filter `tojson` as transformers defines it: Python's `json.dumps` without escaping for HTML. */
import {
  floatText,
  isBoolean,
  isDict,
  isFloat,
  isInteger,
  isLoop,
  isNone,
  isSequence,
  isText,
  kindOf,
  TemplateError,
  type Value,
} from './values.js';

export interface JsonOptions {
  /** Everything beyond ASCII as `\uXXXX`. */
  readonly ascii: boolean;
  /** Keys in the order of their code points. */
  readonly sorted: boolean;
  /** Spaces, or a text, before every level; none if absent. */
  readonly indent: Value | undefined;
  /** What stands between items, and between key and value. */
  readonly separators: Value | undefined;
}

/** @throws {TemplateError} For what json.dumps refuses, such as undefined values. */
export function toJson(value: Value, options: JsonOptions): string {
  const indent = indentOf(options.indent);
  const [between, colon] = separatorsOf(options.separators, indent === null);
  const write = (one: Value, depth: number): string => {
    if (isText(one)) return quoted(one.value, options.ascii);
    if (isInteger(one)) return String(one.value);
    if (isFloat(one)) return Number.isFinite(one.value) ? floatText(one.value) : notFinite(one.value);
    if (isBoolean(one)) return String(one.value);
    if (isNone(one)) return 'null';
    if (isSequence(one))
      return wrapped(
        '[]',
        one.value.map((item) => write(item, depth + 1)),
        depth,
      );
    if (isDict(one) && !isLoop(one)) {
      const entries = [...one.value];
      if (options.sorted) entries.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
      const parts = entries.map(([key, item]) => quoted(key, options.ascii) + colon + write(item, depth + 1));
      return wrapped('{}', parts, depth);
    }
    throw new TemplateError(`${kindOf(one)} has no form in JSON`);
  };
  const wrapped = ([open, close]: string, parts: string[], depth: number): string => {
    if (indent === null || parts.length === 0) return open + parts.join(between) + close;
    const line = (level: number) => `\n${indent.repeat(level)}`;
    return open + line(depth + 1) + parts.join(between + line(depth + 1)) + line(depth) + close;
  };
  return write(value, 0);
}

function indentOf(value: Value | undefined): string | null {
  if (value === undefined || isNone(value)) return null;
  if (isInteger(value)) return ' '.repeat(Math.max(0, value.value));
  if (isText(value)) return value.value;
  throw new TemplateError('indent must be a number or a text');
}

function separatorsOf(value: Value | undefined, isOneLine: boolean): readonly [string, string] {
  if (value === undefined || isNone(value)) return [isOneLine ? ', ' : ',', ': '];
  if (isSequence(value) && value.value.length === 2 && value.value.every(isText)) {
    return [value.value[0].value, value.value[1].value];
  }
  throw new TemplateError('separators must be two texts');
}

function notFinite(value: number): string {
  return Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity';
}

function quoted(value: string, ascii: boolean): string {
  const json = JSON.stringify(value);
  const beyond = ascii ? /[\u0080-\uffff]/g : /(?!)/g;
  return json.replace(beyond, (half) => `\\u${half.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
