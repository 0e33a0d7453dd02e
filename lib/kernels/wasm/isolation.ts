/** @file Whether a page may have threads that share memory, and what to do where it may not. */

/** What is looked at: of the page, by default. */
export interface PageFeatures {
  readonly crossOriginIsolated?: boolean;
  readonly isSecureContext?: boolean;
  readonly SharedArrayBuffer?: unknown;
}

/** Why there is one thread, in one line that says what to do; null where there can be more. */
export function singleThreadReason(page: PageFeatures = globalThis): string | null {
  if (page.isSecureContext === false) {
    return 'one thread: the page was not loaded over https or from localhost; browsers share memory between threads only there';
  }
  if (page.crossOriginIsolated === false) {
    return (
      'one thread: the page is not cross-origin isolated; send "Cross-Origin-Opener-Policy: same-origin" and ' +
      '"Cross-Origin-Embedder-Policy: require-corp" with it, or, where the host sends no headers, load cross-origin-isolation.js first'
    );
  }
  if (page.SharedArrayBuffer === undefined) {
    return 'one thread: this browser has no SharedArrayBuffer; a newer one has';
  }
  return null;
}
