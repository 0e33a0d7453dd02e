/** @file A share as people read it: the same in errors, warnings, reports and tables. */

/** A share in [0, 1] as per cent. */
export function percent(share: number, digits = 1): string {
  return `${(100 * share).toFixed(digits)} %`;
}
