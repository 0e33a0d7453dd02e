/** @file Where a page may take a language model from, and how it is loaded. */
import type {NativeDecoderOptions} from '../decoding/native-decoder.js';

/**
 * A URL of a folder or `model.json` that `save` wrote; the files of such a folder; or a place of this browser that
 * `save` wrote to: `opfs://name`, `indexeddb://name`.
 */
export type LanguageModelSource = string | URL | Blob | readonly File[];

export interface OpenOptions {
  /** How weights and cache are stored while decoding; float32 by default. */
  readonly decoder?: NativeDecoderOptions;
  /** Stops loading: the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}
