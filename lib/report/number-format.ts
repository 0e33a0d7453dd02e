/** @file Numbers as people read them: the same in reports, model cards and the tables of the command line. */

export {percent} from '../percent.js';

/** `12.3 KB`, in powers of 1,000. */
export function describeBytes(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB'];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}

/** A positive number with so many significant digits, without an exponent where it needs none. */
export function significant(value: number, digits = 3): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e7) return value.toExponential(digits - 1);
  if (size >= 10 ** digits) return Math.round(value).toLocaleString('en');
  return Number(value.toPrecision(digits)).toString();
}

/** `134.5 million`, or the number itself below one. */
export function describeCount(count: number): string {
  if (count < 1e6) return count.toLocaleString('en');
  return count < 1e9 ? `${(count / 1e6).toFixed(1)} million` : `${(count / 1e9).toFixed(2)} billion`;
}

/** Milliseconds, or microseconds below one. */
export function describeMs(ms: number): string {
  return ms < 1 ? `${significant(ms * 1000)} µs` : `${significant(ms)} ms`;
}

/** `1.84x`. */
export function times(ratio: number): string {
  return `${ratio.toFixed(2)}x`;
}

/** The mean of numbers, null if there is none. */
export function meanOf(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}
