/** @file What `full-disk.ts` prints, as JSON. */

/** Files with weights of the model that is there before the disk is full. */
export const SHARDS_OF_OLD = 3;

export interface FullDiskResult {
  /** How two saves that do not fit ended. */
  readonly errors: readonly {readonly code: string; readonly message: string}[];
  /** The values that the weights have afterwards, each once. */
  readonly found: readonly number[];
  /** What is in the folder then, hidden files too. */
  readonly files: readonly string[];
}
