/** @file Dates in chat templates (`strftime_now`), in English whatever the machine's language, as Python's C locale has them. */
import {TemplateError} from './values.js';

const MONTHS = 'January February March April May June July August September October November December'.split(
  ' ',
);
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

/**
 * Python's `date.strftime(format)`.
 *
 * @throws {TemplateError} For a directive that is not known.
 */
export function strftime(date: Date, format: string): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const hour12 = date.getHours() % 12 || 12;
  const values: Readonly<Record<string, string>> = {
    ...{Y: String(date.getFullYear()), y: two(date.getFullYear() % 100), m: two(date.getMonth() + 1)},
    ...{d: two(date.getDate()), B: MONTHS[date.getMonth()], b: MONTHS[date.getMonth()].slice(0, 3)},
    ...{A: DAYS[date.getDay()], a: DAYS[date.getDay()].slice(0, 3), H: two(date.getHours()), I: two(hour12)},
    ...{
      M: two(date.getMinutes()),
      S: two(date.getSeconds()),
      p: date.getHours() < 12 ? 'AM' : 'PM',
      '%': '%',
    },
  };
  return format.replace(/%(-?.?)/gsu, (directive, name: string) => {
    if (Object.hasOwn(values, name)) return values[name];
    // As the C library has it: without the zero in front.
    if (name.startsWith('-') && /^\d\d$/.test(values[name[1]] ?? '')) return String(Number(values[name[1]]));
    throw new TemplateError(`strftime_now() with ${directive} is not supported`);
  });
}
