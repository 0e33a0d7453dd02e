/** @file Numbers and failures as a visitor reads them. */

const UNITS = ['bytes', 'KB', 'MB', 'GB'];

/** Bytes with three digits: `135 MB`. A KB is 1,000 bytes. */
export function bytesInWords(bytes: number): string {
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), UNITS.length - 1);
  const value = bytes / 1000 ** power;
  return `${power === 0 ? value : value.toPrecision(value < 1000 ? 3 : 4)} ${UNITS[power]}`;
}

/** A share in [0, 1] as a percentage. */
export function percent(share: number, digits = 0): string {
  return `${(100 * share).toFixed(digits)} %`;
}

/** Milliseconds with three digits. */
export function milliseconds(ms: number): string {
  return ms >= 1000 ? `${(ms / 1000).toPrecision(3)} s` : `${ms.toPrecision(3)} ms`;
}

/** How much faster sparse is, or that it is not. */
export function speedInWords(denseMs: number, sparseMs: number): string {
  const ratio = denseMs / sparseMs;
  if (ratio >= 1.03) return `Sparse is ${ratio.toFixed(2)} times as fast.`;
  if (ratio > 0.97) return 'Sparse is not faster here: both take the same time.';
  return `Sparse is not faster here: it takes ${(1 / ratio).toFixed(2)} times as long.`;
}

/** What went wrong; errors of the package say what to do next. */
export function failureInWords(error: unknown): string {
  if (error instanceof DOMException && error.name === 'AbortError') return 'Stopped.';
  const text = error instanceof Error ? error.message : String(error);
  // The name of a file or a layer stays as it is written.
  return /^[a-z]+\b[^./_]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}
