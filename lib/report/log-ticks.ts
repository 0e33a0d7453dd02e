/** @file Ticks of a logarithmic axis: few, and numbers that can be read. */

/** Between so many and twice as many. */
const FEW = 2;

/**
 * Powers of ten within a domain, every so many where they are many; 1, 2 and 5 times them where they are fewer than two.
 *
 * @param domain Both above 0, ascending.
 */
export function logTicks([from, to]: readonly [number, number]): number[] {
  const [first, last] = [Math.floor(Math.log10(from)), Math.ceil(Math.log10(to))];
  const exponents = Array.from({length: last - first + 1}, (_, i) => first + i);
  const isInside = (tick: number) => tick >= from && tick <= to;
  const powers = exponents.map((exponent) => Number(`1e${exponent}`)).filter(isInside);
  if (powers.length < FEW) {
    return exponents
      .flatMap((exponent) => [1, 2, 5].map((digit) => Number(`${digit}e${exponent}`)))
      .filter(isInside);
  }
  const step = Math.ceil(powers.length / (2 * FEW));
  return powers.filter((_, i) => i % step === 0);
}
