/** @file What is likely not what was wanted, though it is no error: told once, to the caller or on the console. */

/** A warning, with its kind for programs. */
export interface SparsifyWarning {
  /**
   * `target-missed`: thresholds mask another share than was asked for; `no-inputs`: layers that no data reached mask
   * nothing; `sparsity-missed`: an allocation spreads less than the mean that was asked for.
   */
  readonly code: 'target-missed' | 'no-inputs' | 'sparsity-missed';
  /** What happened, why, and what can be done. */
  readonly message: string;
  /** What the warning is about, by name: layers, shares. */
  readonly data: Readonly<Record<string, unknown>>;
}

export interface WarningOptions {
  /** Told of what is likely not wanted; by default it goes to `console.warn`. */
  readonly onWarning?: (warning: SparsifyWarning) => void;
}

/** The default of `onWarning`. */
export function warnOnConsole({message}: SparsifyWarning): void {
  console.warn(`tfjs-sparsify: ${message}`);
}
