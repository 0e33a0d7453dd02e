/** @file Warnings of a command: after its figures, on stderr; with `--json` among them. */
import type {SparsifyWarning} from '../warnings.js';

/** Warnings as they come, and the option that gathers them. */
export function gatherWarnings(): {
  warnings: SparsifyWarning[];
  onWarning: (warning: SparsifyWarning) => void;
} {
  const warnings: SparsifyWarning[] = [];
  return {warnings, onWarning: (warning) => void warnings.push(warning)};
}

/** Writes warnings to stderr. */
export function printWarnings(warnings: readonly SparsifyWarning[]): void {
  for (const {message} of warnings) console.error(`\nwarning: ${message}`);
}

/** The part of warnings that `--json` shows. */
export function warningsJson(
  warnings: readonly SparsifyWarning[],
): Pick<SparsifyWarning, 'code' | 'message'>[] {
  return warnings.map(({code, message}) => ({code, message}));
}
