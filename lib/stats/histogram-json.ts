/**
 * @file The written form of a histogram: numbers as they are, counts as a base64 string of varints (LEB128, seven
 * bits a byte, low ones first), in which a 0 is followed by how many empty buckets there are. Reading trusts
 * nothing.
 */
import {SparsifyError} from '../errors.js';

const VERSION = 1;
/** Buckets of non-zero finite values, and bytes that 2^53 takes as a varint: they bound what is read. */
const MAX_BUCKETS = 0xff00;
const MAX_VARINT_BYTES = 8;

/** A histogram as JSON. `min` and `max` are of the non-zero finite |x|; null if there was none. */
export interface HistogramJSON {
  readonly version: number;
  readonly zeros: number;
  readonly infinite: number;
  readonly nan: number;
  readonly min: number | null;
  readonly max: number | null;
  /** Counts from the bucket of `min` to that of `max`, as base64 of varints. */
  readonly counts: string;
  /** Values that are alone in their bucket, once or several times, where they are 0.5 % of all or more; rising. */
  readonly singles?: readonly number[];
}

/** A histogram's parts; `counts` runs from the bucket of `min` to that of `max`. */
export interface HistogramContents extends Omit<HistogramJSON, 'version' | 'counts' | 'singles'> {
  readonly counts: Float64Array;
  readonly singles: readonly number[];
}

/** The JSON of a histogram's parts. */
export function writeHistogram({counts, singles, ...rest}: HistogramContents): HistogramJSON {
  return {
    version: VERSION,
    ...rest,
    counts: encodeCounts(counts),
    ...(singles.length === 0 ? {} : {singles}),
  };
}

/**
 * Parses a histogram's JSON.
 * @param json anything.
 * @param bucketOf the bucket of a value.
 * @throws SparsifyError `invalid-histogram`, saying which field is wrong.
 */
export function parseHistogram(json: unknown, bucketOf: (value: number) => number): HistogramContents {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw invalid(`it is ${Array.isArray(json) ? 'an array' : String(json)}; it must be an object`);
  }
  const fields = json as Readonly<Record<string, unknown>>;
  if (fields.version !== VERSION) {
    throw invalid(`its version is ${String(fields.version)}; this release reads version ${VERSION}`);
  }
  const zeros = parseCount('zeros', fields.zeros);
  const infinite = parseCount('infinite', fields.infinite);
  const nan = parseCount('nan', fields.nan);
  if (typeof fields.counts !== 'string') {
    throw invalid('counts must be a string');
  }
  if (fields.min === null && fields.max === null) {
    if (fields.counts !== '') {
      throw invalid('it has counts, but no min and max');
    }
    return {zeros, infinite, nan, min: null, max: null, counts: new Float64Array(0), singles: []};
  }
  const min = parseExtreme('min', fields.min);
  const max = parseExtreme('max', fields.max);
  if (min > max) {
    throw invalid(`min is ${min}, above max, ${max}`);
  }
  const counts = decodeCounts(fields.counts, bucketOf(max) - bucketOf(min) + 1);
  if (counts[0] === 0 || counts[counts.length - 1] === 0) {
    throw invalid('the bucket of min or max is empty');
  }
  const total = counts.reduce((sum, count) => sum + count, zeros + infinite + nan);
  if (total > Number.MAX_SAFE_INTEGER) {
    throw invalid('it counts more than 2^53 values');
  }
  const singles = parseSingles(fields.singles, (value) => counts[bucketOf(value) - bucketOf(min)] > 0);
  return {zeros, infinite, nan, min, max, counts, singles};
}

/** @param isCounted whether a value's bucket is filled. */
function parseSingles(value: unknown, isCounted: (value: number) => boolean): number[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    throw invalid('singles must be a list of values');
  }
  const singles = value.map((single: unknown) => parseExtreme('a single value', single));
  const wrong = singles.find((single, i) => !isCounted(single) || (i > 0 && single <= singles[i - 1]));
  if (wrong !== undefined) {
    throw invalid(`the single value ${wrong} was not counted, or is not above the one before it`);
  }
  return singles;
}

function parseCount(field: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw invalid(`${field} is ${String(value)}; it must be an integer in [0, 2^53)`);
  }
  return value;
}

function parseExtreme(field: string, value: unknown): number {
  if (typeof value !== 'number' || !(value > 0 && value < Infinity) || Math.fround(value) !== value) {
    throw invalid(`${field} is ${String(value)}; it must be a positive finite float32`);
  }
  return value;
}

function encodeCounts(counts: Float64Array): string {
  let bytes = '';
  const write = (value: number) => {
    let left = value;
    for (; left > 127; left = Math.floor(left / 128)) {
      bytes += String.fromCharCode((left % 128) | 128);
    }
    bytes += String.fromCharCode(left);
  };
  for (let i = 0; i < counts.length; i++) {
    write(counts[i]);
    if (counts[i] === 0) {
      const start = i;
      while (i + 1 < counts.length && counts[i + 1] === 0) {
        i++;
      }
      write(i + 1 - start);
    }
  }
  return btoa(bytes);
}

function decodeCounts(text: string, length: number): Float64Array {
  if (length > MAX_BUCKETS || text.length > Math.ceil((length * MAX_VARINT_BYTES) / 3) * 4) {
    throw invalid(`counts has ${text.length} characters, too many for ${length} buckets`);
  }
  let bytes: string;
  try {
    bytes = atob(text);
  } catch (cause) {
    throw invalid('counts is not base64', cause);
  }
  let at = 0;
  const read = (): number => {
    let value = 0;
    for (let scale = 1; at < bytes.length; scale *= 128) {
      const byte = bytes.charCodeAt(at++);
      value += (byte & 127) * scale;
      if (value > Number.MAX_SAFE_INTEGER) {
        throw invalid('a count is above 2^53');
      }
      if (byte < 128) {
        return value;
      }
    }
    throw invalid('counts ends early');
  };
  const counts = new Float64Array(length);
  let i = 0;
  while (i < length) {
    const value = read();
    const run = value === 0 ? read() : 1;
    if (run < 1 || run > length - i) {
      throw invalid(`a run of ${run} empty buckets does not fit`);
    }
    counts[i] = value;
    i += run;
  }
  if (at < bytes.length) {
    throw invalid(`counts has ${bytes.length - at} bytes too many`);
  }
  return counts;
}

function invalid(reason: string, cause?: unknown): SparsifyError {
  return new SparsifyError(
    'invalid-histogram',
    `not a histogram of activations: ${reason}. Take it unchanged from AbsHistogram.toJSON()`,
    {},
    {cause},
  );
}
