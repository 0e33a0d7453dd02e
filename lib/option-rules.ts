/**
 * @file The one check of options, for every function that takes them: what each may be called and may hold. A name that
 * nobody reads would otherwise pass in silence, and what was asked for would not happen.
 */
import {SparsifyError, nearest} from './errors.js';

/**
 * Throws unless a value will do.
 *
 * @param value Undefined where the option is left out.
 * @param option Its name.
 * @param whose What has the option, for messages.
 */
export type OptionRule = (value: unknown, option: string, whose: string) => void;

/** A rule for every option of an interface: the compiler does not let a name be forgotten here, or be invented. */
export type OptionRules<Options> = Readonly<Record<keyof Options, OptionRule>>;

/**
 * Checks the names of options, then what they hold.
 *
 * @param whose What has them, for messages: the function's name.
 * @param options As they were given; undefined counts as none.
 * @param ErrorType What is thrown for a name.
 * @throws {SparsifyError} `unknown-option` for a name that is none, with the nearest ones; `missing-option`; `bad-option` for
 *   a value, or for options that are no object; or what a rule throws.
 */
export function checkOptions<Options extends object>(
  whose: string,
  options: unknown,
  rules: OptionRules<Options>,
  ErrorType = SparsifyError,
): void {
  const given = options ?? (options === undefined ? {} : null);
  if (!isRecord(given)) {
    throw badOption(
      `the options of ${whose} are`,
      options,
      `they must be an object: write {${allowed(rules)[0]}: …}`,
    );
  }
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(rules, name)) continue;
    const near = nearest(name, allowed(rules));
    throw new ErrorType(
      'unknown-option',
      `${whose} has no option "${name}"; it has ${allowed(rules).join(', ')}: ` +
        (near.length > 0 ? `write ${near.map((other) => `"${other}"`).join(' or ')}` : 'remove it'),
      {option: name, allowed: allowed(rules), nearest: near},
    );
  }
  for (const [name, rule] of Object.entries<OptionRule>(rules)) rule(given[name], name, whose);
}

/** A rule for an option that may be left out. */
export function optional(allowed: string, fits: (value: unknown) => boolean): OptionRule {
  return (value, option, whose) => {
    if (value === undefined || fits(value)) return;
    throw badOption(`${option} of ${whose} is`, value, `it must be ${allowed}`);
  };
}

/**
 * A rule for an option that must be there.
 *
 * @param hint How it is written.
 */
export function required(hint: string, rule: OptionRule = CHECKED_LATER): OptionRule {
  return (value, option, whose) => {
    if (value !== undefined) return rule(value, option, whose);
    throw new SparsifyError('missing-option', `${whose} needs the option ${option}: write ${hint}`, {option});
  };
}

/** A rule for options within an option. */
export function nested<Options extends object>(rules: OptionRules<Options>): OptionRule {
  return (value, option, whose) => {
    if (value === undefined) return;
    if (!isRecord(value)) {
      throw badOption(
        `${option} of ${whose} is`,
        value,
        `it must be an object with ${allowed(rules).join(', ')}`,
      );
    }
    checkOptions(`${option} of ${whose}`, value, rules);
  };
}

/** A rule for a list, of which every entry must do. */
export function listOf(rule: OptionRule): OptionRule {
  return (value, option, whose) => {
    if (value === undefined) return;
    if (!Array.isArray(value)) throw badOption(`${option} of ${whose} is`, value, 'it must be an array');
    for (const [i, entry] of (value as unknown[]).entries()) {
      required(`${option}[${i}]`, rule)(entry, `${option}[${i}]`, whose);
    }
  };
}

export function oneOf(values: readonly unknown[]): OptionRule {
  const known = values.map((value) => JSON.stringify(value)).join(', ');
  return optional(`one of ${known}`, (value) => values.includes(value));
}

/** A whole number, from `least` on. */
export function count(least = 1): OptionRule {
  return optional(
    `a whole number of ${least} or more`,
    (value) => Number.isInteger(value) && (value as number) >= least,
  );
}

/** For what the function itself checks, or takes in every form. */
export const CHECKED_LATER: OptionRule = () => undefined;

export const FLAG = optional('true or false', (value) => typeof value === 'boolean');

export const CALLBACK = optional('a function', (value) => typeof value === 'function');

export const SIGNAL = optional(
  "an AbortSignal: an AbortController's signal, or AbortSignal.timeout(60_000)",
  (value) => typeof (value as Partial<AbortSignal> | null)?.throwIfAborted === 'function',
);

export const TEXT = optional('a string', (value) => typeof value === 'string');

export const TEXTS = listOf(TEXT);

export const NUMBER = optional('a number', (value) => typeof value === 'number' && !Number.isNaN(value));

export const POSITIVE = optional(
  'a number above 0',
  (value) => typeof value === 'number' && value > 0 && value < Infinity,
);

export const OBJECT = optional('an object', isRecord);

function allowed(rules: object): string[] {
  return Object.keys(rules);
}

/** What has fields of its own: no array and no Map, whose entries would not be seen. */
function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !(Symbol.iterator in value);
}

function badOption(what: string, got: unknown, remedy: string): SparsifyError {
  return new SparsifyError('bad-option', `${what} ${show(got)}; ${remedy}`, {got});
}

function show(value: unknown): string {
  if (typeof value === 'string') return `the string ${JSON.stringify(value.slice(0, 40))}`;
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null) return String(value);
  return Array.isArray(value) ? 'an array' : `an object (${value.constructor?.name ?? 'Object'})`;
}
