/** Types of native.mjs for the sources under lib/. */

/** The addon, proven to load and compute beside this tfjs-node; or why there is none. */
export type Native = {readonly path: string} | {readonly reason: string};

export interface NativeOptions {
  /** Folder of the installed @tensorflow/tfjs-node, which must load. */
  readonly tfjsNodeDir: string;
  /** The per-user cache. */
  readonly cacheDir?: string;
  /** Is told each step. */
  readonly log?: (line: string) => void;
  /** Try it now, also if it was seen to work. */
  readonly fresh?: boolean;
}

export function nativeAddonPath(cacheDir?: string): string;
export function findNative(options: NativeOptions): Promise<Native>;
/** With `force` one that does not work is built again. */
export function provisionNative(options: NativeOptions & {readonly force?: boolean}): Promise<Native>;
