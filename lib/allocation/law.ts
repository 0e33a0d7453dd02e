/**
 * @file How the error of a layer grows with its sparsity: one law for all layers, scaled by one probe each.
 *
 * D(s) = E (s / (1 - s))^1.5, where E makes it the probe's error at the probe's level. Smooth and convex, with a wall at
 * s → 1: a layer that masks everything gives nothing. On SmolLM2 it lost less than curves measured at five levels a layer.
 */

/** Of the odds s / (1 - s). */
export const LAW_EXPONENT = 1.5;

/** Share of its inputs that a layer masks when it is probed. */
export const PROBE_LEVEL = 0.65;

/**
 * The error that the law predicts.
 *
 * @param error Of the probe, at least 0.
 * @param level Of the probe, in (0, 1).
 * @param sparsity In [0, 1).
 */
export function predictedError(error: number, level: number, sparsity: number): number {
  return error * (odds(sparsity) / odds(level)) ** LAW_EXPONENT;
}

function odds(share: number): number {
  return share / (1 - share);
}
