/** @file Shares beside an axis: with as many digits as its ticks differ by. */
import {percent} from './number-format.js';

/**
 * Formats the ticks of an axis in per cent.
 *
 * @param shares What the axis spans.
 * @param ticks About how many it has.
 */
export function percentTicks(shares: readonly number[], ticks: number): (share: number) => string {
  const step = (100 * (Math.max(...shares) - Math.min(...shares))) / ticks;
  // D3, which places the ticks, takes the next power of ten from 7.07 of the last on.
  const digits = step > 0 ? Math.min(4, Math.max(0, -Math.floor(Math.log10(step * Math.SQRT2)))) : 0;
  return (share) => percent(share, digits);
}
