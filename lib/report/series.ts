/** @file Colours of series: variables of the page, which differ in dark and light. */

/** How many there are; more kinds begin again. */
export const SERIES = 10;

/** The colour of a series by its number. */
export function seriesColor(index: number): string {
  return `var(--s${index % SERIES})`;
}
