/** @file Options that several commands share, parsed into values; wrong ones end the run with exit code 2. */
import {InvalidArgumentError, Option, type Command} from 'commander';
import {
  BACKUP_MODES,
  COMPRESSION_MODES,
  GROUP_SIZE_FALLBACKS,
  INT4_OPTION_RULES,
  SENSITIVITY_METRICS,
  type Int4Options,
} from '../compression/compression-options.js';
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
export function compressionModeOption(flags: string, description: string): Option {
  return new Option(flags, description).choices(COMPRESSION_MODES);
}

/** Adds the options that only the INT4 modes have. */
export function addInt4Options(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--group-size <INPUTS>',
        'of INT4: inputs that share a scale, which divides the inputs of a layer; -1 for all of an output; 128 by default',
      ).argParser((text: string) => {
        const size = Number(text);
        if (Number.isInteger(size) && (size > 0 || size === -1)) return size;
        throw new InvalidArgumentError('It must be a whole number above 0, or -1.');
      }),
    )
    .addOption(
      shareOption(
        '--ratio <SHARE>',
        'of INT4: share of the weights that become INT4, those that lose least; the others get the backup; 1 by default',
      ),
    )
    .option('--all-layers', 'of INT4: embeddings and the last Dense layer too')
    .addOption(
      new Option('--backup-mode <MODE>', 'of INT4: what other weights become; int8_asym by default').choices(
        BACKUP_MODES,
      ),
    )
    .addOption(
      new Option(
        '--group-size-fallback <WAY>',
        'of INT4: where the group size does not divide the inputs: an error, leave the weight float32, or adjust the group size to ' +
          'a power of two that does; error by default',
      ).choices(GROUP_SIZE_FALLBACKS),
    )
    .addOption(
      countOption(
        '--min-adjusted-group-size <INPUTS>',
        'of INT4: the least that adjust takes; 32 by default',
      ),
    )
    .addOption(
      new Option('--sensitivity-metric <METRIC>', 'of INT4: what a ratio below 1 orders layers by').choices(
        SENSITIVITY_METRICS,
      ),
    );
}

/** `--with-data`, which the INT4 modes have where a model is in memory. */
export function withDataOption(): Option {
  return new Option(
    '--with-data',
    'of INT4: round so that the errors of the inputs cancel on the data of --data, which loses less',
  );
}

/** The options of `addInt4Options` that were given. */
export function int4OptionsOf(options: Int4Options): Int4Options {
  const given = Object.entries(options).filter(
    ([name, value]) => name in INT4_OPTION_RULES && value !== undefined,
  );
  return Object.fromEntries(given);
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
