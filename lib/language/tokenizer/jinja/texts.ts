/** @file What Python does with texts and JavaScript does otherwise: whitespace, lines, `%` and `format`. */
import {
  isDict,
  isFloat,
  isInteger,
  isTuple,
  numberOf,
  repr,
  str,
  TemplateError,
  type Value,
} from './values.js';

const SEPARATORS = String.fromCharCode(0x1c, 0x1d, 0x1e, 0x1f);
/** Python's whitespace: that of Unicode and four separators of ASCII; JavaScript's has neither them nor U+0085, but U+FEFF. */
export const whitespace = new RegExp(`[\\p{White_Space}${SEPARATORS}]+`, 'u');
const AT_START = new RegExp(`^${whitespace.source}`, 'u');
const AT_END = new RegExp(`${whitespace.source}$`, 'u');

/** Takes whitespace, or any of `characters`, off one or both ends. */
export function strip(value: string, sides: 'both' | 'start' | 'end', characters: string | null): string {
  if (characters === null) {
    const start = sides === 'end' ? value : value.replace(AT_START, '');
    return sides === 'start' ? start : start.replace(AT_END, '');
  }
  const letters = Array.from(value);
  const off = new Set(characters);
  let [first, last] = [0, letters.length];
  while (sides !== 'end' && first < last && off.has(letters[first])) first++;
  while (sides !== 'start' && last > first && off.has(letters[last - 1])) last--;
  return letters.slice(first, last).join('');
}

const LINE_ENDS = new RegExp(`\\r\\n|[\\n\\r\\v\\f${SEPARATORS.slice(0, 3)}\\x85\\u2028\\u2029]`, 'u');

/** Lines without their ends, as `str.splitlines` cuts them. */
export function splitLines(value: string): string[] {
  const lines = value.split(LINE_ENDS);
  if (lines.at(-1) === '') lines.pop();
  return lines;
}

/** Python's `text % values` with `%s`, `%r`, `%d`, `%i`, `%f`, a width, a precision and the flags `-` and `0`. */
export function percent(pattern: string, values: Value): string {
  if (isDict(values)) throw new TemplateError('% with a dictionary is not supported');
  const args = isTuple(values) ? [...values.value] : [values];
  const result = pattern.replace(
    /%([-0]?)(\d*)(?:\.(\d+))?(.?)/gsu,
    (_, flag: string, width: string, precision: string | undefined, kind: string) => {
      if (kind === '%' && flag + width === '' && precision === undefined) return '%';
      const value = args.shift();
      if (value === undefined) throw new TemplateError('% has too few values');
      const shown = converted(kind, value, precision);
      if (flag === '0' && (kind === 's' || kind === 'r')) return shown.padStart(Number(width));
      return padded(shown, Number(width), flag === '-' ? '<' : '>', flag === '0');
    },
  );
  if (args.length > 0) throw new TemplateError('% has too many values');
  return result;
}

function converted(kind: string, value: Value, precision: string | undefined): string {
  const number = numberOf(value);
  if (kind === 's' || kind === 'r') {
    const shown = kind === 's' ? str(value) : repr(value);
    return precision === undefined ? shown : Array.from(shown).slice(0, Number(precision)).join('');
  }
  if ((kind === 'd' || kind === 'i') && number !== null && precision === undefined) {
    return String(Math.trunc(number) + 0);
  }
  if (kind === 'f' && number !== null) return fixed(number, Number(precision ?? 6));
  throw new TemplateError(`%${kind} of such a value is not supported`);
}

function padded(shown: string, width: number, align: string, zeros: boolean): string {
  const missing = width - Array.from(shown).length;
  if (missing <= 0) return shown;
  if (zeros && align === '>') return shown.replace(/^-?/, (sign) => sign + '0'.repeat(missing));
  return align === '<' ? shown + ' '.repeat(missing) : ' '.repeat(missing) + shown;
}

/** Digits after the point. Both languages round the exact binary value; of two that are as near, Python takes the even one. */
export function fixed(value: number, digits: number): string {
  if (!Number.isFinite(value) || Math.abs(value) >= 1e21 || digits > MAX_DIGITS) {
    throw new TemplateError('a number of this size is not supported');
  }
  const size = Math.abs(value);
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const [whole, rest] = size.toFixed(100).split('.');
  const isTie = /^50*$/.test(rest.slice(digits));
  if (!isTie) return sign + size.toFixed(digits);
  const below = whole + rest.slice(0, digits);
  const nearest = String(BigInt(below) + (BigInt(below) % 2n)).padStart(digits + 1, '0');
  const point = nearest.length - digits;
  return sign + nearest.slice(0, point) + (digits > 0 ? `.${nearest.slice(point)}` : '');
}

/** Far more than a template prints, and less than JavaScript writes exactly. */
const MAX_DIGITS = 50;

/** Python's `text.format(...)` with `{}`, `{0}` and `{:.2f}`, `{:d}`, `{:s}`, `{:5}`, `{:<5}`, `{:>5}`, `{:05d}`. */
export function format(pattern: string, args: readonly Value[]): string {
  let next = 0;
  return pattern.replace(/\{\{|\}\}|\{(\d*)(?::([^{}]*))?\}|[{}]/gu, (whole, place?: string, spec = '') => {
    if (whole === '{{' || whole === '}}') return whole[0];
    if (place === undefined) throw new TemplateError('format() of such a pattern is not supported');
    const value = args.at(place === '' ? next++ : Number(place));
    if (value === undefined) throw new TemplateError('format() has too few values');
    return formatted(value, spec as string);
  });
}

function formatted(value: Value, spec: string): string {
  const match = /^([<>]?)(0?)(\d*)(?:\.(\d+))?([sdf]?)$/.exec(spec);
  const number = isInteger(value) || isFloat(value) ? value.value : null;
  if (match === null) throw new TemplateError(`format() with ":${spec}" is not supported`);
  const [, align, zero, width, precision, kind] = match;
  const fits =
    spec === '' ||
    (kind === 'f'
      ? number !== null
      : kind === 'd'
        ? isInteger(value) && !precision
        : number === null && zero === '') ||
    (kind === '' && number !== null && precision === undefined);
  if (!fits || (number === null && spec !== '' && typeof value.value !== 'string')) {
    throw new TemplateError(`format() with ":${spec}" of such a value is not supported`);
  }
  const shown =
    kind === 'f'
      ? fixed(number!, Number(precision ?? 6))
      : number === null && precision !== undefined
        ? Array.from(str(value)).slice(0, Number(precision)).join('')
        : str(value);
  return padded(shown, Number(width), align || (number === null ? '<' : '>'), zero === '0');
}
