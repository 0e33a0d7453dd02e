/** @file How a model is fetched, wherever it comes from. */

/** How far a download is. */
export interface FetchProgress {
  /** The file that is on its way. */
  readonly file: string;
  /** Of all files together. */
  readonly receivedBytes: number;
  readonly totalBytes: number;
}

export interface FetchOptions {
  /** Is told as bytes come. */
  readonly onProgress?: (progress: FetchProgress) => void;
  /**
   * Is told what the caller's user should know: every 15 s that another process fetches the same and this one waits; that
   * the Hub cannot be asked, so that an older copy is taken.
   */
  readonly onNotice?: (text: string) => void;
  /** Stops the download, or the wait for another; what came of a file from the Hub is kept for the next time. */
  readonly signal?: AbortSignal;
  /** Where it goes; the per-user cache by default (`XDG_CACHE_HOME` moves it). */
  readonly cache?: string;
}
