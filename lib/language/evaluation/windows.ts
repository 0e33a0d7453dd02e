/**
 * @file How a long text is cut into pieces that fit a model's context, in the two ways in which perplexities are
 * published. `rollingWindows`: lm-evaluation-harness's `get_rolling_token_windows` with a context of 1; every token is
 * scored once, the last window is filled up with earlier text. `tokenChunks`: equal pieces without overlap, each
 * after the beginning-of-text id.
 */

/** Tokens that go into the model at once. */
export interface Window {
  /** What the model is fed, in order. */
  readonly tokens: readonly number[];
  /** `targets[i]` follows `tokens[i]`. */
  readonly targets: readonly number[];
  /** The last so many targets are scored; the tokens before are context only. */
  readonly scored: number;
}

/**
 * The windows of one document.
 *
 * @param ids Of the document, without beginning-of-text id.
 * @param prefix The id before the first token: beginning of text.
 * @param length Most tokens in a window, at least 1.
 */
export function rollingWindows(ids: readonly number[], prefix: number, length: number): Window[] {
  const windows: Window[] = [];
  const withPrefix = [prefix, ...ids];
  for (let done = 0; done < ids.length;) {
    const scored = Math.min(length, ids.length - done);
    const end = done + scored;
    const start = done === 0 ? 0 : Math.max(0, end - length);
    windows.push({tokens: withPrefix.slice(start, end), targets: ids.slice(start, end), scored});
    done = end;
  }
  return windows;
}

/**
 * A stream of tokens in equal pieces: the prefix and all ids of a piece but the last are fed, all its ids scored.
 *
 * @param ids Of all documents in a row.
 * @param size Ids of a piece; the last may have fewer.
 */
export function tokenChunks(ids: readonly number[], prefix: number, size: number): Window[] {
  return Array.from({length: Math.ceil(ids.length / size)}, (_, i) => {
    const targets = ids.slice(i * size, (i + 1) * size);
    return {tokens: [prefix, ...targets.slice(0, -1)], targets, scored: targets.length};
  });
}
