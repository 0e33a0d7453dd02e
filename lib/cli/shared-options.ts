/** @file Options that several commands share, parsed into values; wrong ones end the run with exit code 2. */
import {InvalidArgumentError, Option} from 'commander';
import {INT8_MODES} from '../quantization/int8.js';
import {IgnoredScope, TargetScope} from '../scope/target-scope.js';
import {ROLES_HELP, patternOf} from './roles.js';

/** `PATTERN=TARGET` as a scope and its target. */
export type TargetOption = readonly [TargetScope, number];

/** `--target`, repeatable. */
export function targetOption(): Option {
  return new Option(
    '-t, --target <PATTERN=TARGET>',
    'share of inputs to mask in the layers whose path the pattern matches from its start: ".*up_proj=0.5" or ' +
      `".*=50%"; ${ROLES_HELP}: "@down=0.5"; repeatable`,
  ).argParser(collectTarget);
}

/** An option of a share, as `0.5` or `50%`. */
export function shareOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser((text: string) => {
    const value = parseShare(text);
    if (!Number.isFinite(value)) throw new InvalidArgumentError('Write a share as 0.5 or 50%.');
    return value;
  });
}

/** `--ignore`, repeatable. */
export function ignoreOption(): Option {
  return new Option(
    '-i, --ignore <PATTERN>',
    'leave the layers that match as they are; repeatable',
  ).argParser((pattern: string, before?: string[]) => [...(before ?? []), patternOf(pattern)]);
}

/** An option of how weights are quantized. */
export function int8ModeOption(flags: string, description: string): Option {
  return new Option(flags, description).choices(INT8_MODES);
}

/** `--json`. */
export function jsonOption(): Option {
  return new Option('--json', 'print one JSON object on stdout');
}

/** An option of a whole number of at least 1. */
export function countOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser((text: string) => {
    const count = Number(text);
    if (!Number.isInteger(count) || count < 1)
      throw new InvalidArgumentError('It must be a whole number of 1 or more.');
    return count;
  });
}

/** An option of any finite number. */
export function numberOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser((text: string) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It must be a number.');
    return value;
  });
}

/** The ignored scope of `--ignore` patterns, or null without any. */
export function ignoredScopeOf(patterns: readonly string[] | undefined): IgnoredScope | null {
  return patterns === undefined ? null : new IgnoredScope({patterns: [...patterns]});
}

function collectTarget(text: string, before: TargetOption[] = []): TargetOption[] {
  const separator = text.lastIndexOf('=');
  const pattern = text.slice(0, separator).trim();
  const share = text.slice(separator + 1).trim();
  const target = parseShare(share);
  if (pattern === '' || separator < 1 || Number.isNaN(target)) {
    throw new InvalidArgumentError("Write PATTERN=TARGET, as in '.*up_proj=0.5'.");
  }
  if (target < 0 || target > 1) {
    throw new InvalidArgumentError(`The target is ${share}; it must lie in [0, 1]: write 0.5 for 50 %.`);
  }
  return [...before, [new TargetScope({patterns: [patternOf(pattern)]}), target]];
}

/** `0.5` or `50%` as a number; NaN if it is none. */
export function parseShare(text: string): number {
  const isPercent = text.trim().endsWith('%');
  const digits = (isPercent ? text.trim().slice(0, -1) : text).trim();
  return digits === '' ? NaN : Number(digits) / (isPercent ? 100 : 1);
}
