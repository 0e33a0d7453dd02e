/**
 * @file How setting up a node package of TensorFlow.js ends, and the frame of doing it: forbidden by the environment, not
 * tried again right after a failure, one process at a time, and no error for a machine on which it cannot work.
 */
import {join} from 'node:path';
import type {Native} from './addons/provide-addon.js';
import {recentFailure, rememberFailure, type Failure} from './failures.js';
import {withLock} from './processes/lock.js';
import {ProvisionError} from './provision-error.js';

/** What came of setting up a node package. */
export interface Provisioned {
  /** Ready: it loaded already. Off: it does not load and TFJS_SPARSIFY_PROVISION=off forbids installing. */
  readonly state: 'ready' | 'provisioned' | 'unavailable' | 'off';
  /** What made it load. */
  readonly how: 'binding' | 'cache' | 'installer' | 'wheel' | null;
  /** TensorFlow's version. */
  readonly tensorflow: string | null;
  /** Why the package is unavailable; empty if it is not. */
  readonly reason: string;
  /** What would make it available; empty if it is. */
  readonly help: string;
  /** The addon with the sparse kernels, or why there is none; null without the package. */
  readonly native: Native | null;
}

export interface ProvisionOptions {
  /** Folder of the installed node package; found by default. */
  readonly packageFolder?: string;
  /** The per-user cache. */
  readonly cache?: string;
  /** Is told each step. */
  readonly log?: (line: string) => void;
  /** Try again even if it failed less than an hour ago. */
  readonly force?: boolean;
}

/** The options with their defaults, for a package that is installed. */
export type SetUp = Required<ProvisionOptions>;

/** A package that loads, as yet without the addon. */
export function loaded(
  state: 'ready' | 'provisioned',
  how: Exclude<Provisioned['how'], null>,
  tensorflow: string | null,
): Provisioned {
  return {state, how, tensorflow, reason: '', help: '', native: null};
}

/** A package that cannot be set up. */
export function unavailable({reason, help}: Failure): Provisioned {
  return {state: 'unavailable', how: null, tensorflow: null, reason, help, native: null};
}

/** A package that may not be set up, since `TFJS_SPARSIFY_PROVISION=off` is in the environment. */
export function forbidden(reason: string, command: string): Provisioned {
  const help = `unset TFJS_SPARSIFY_PROVISION and run: ${command}`;
  return {...unavailable({reason: `${reason}; TFJS_SPARSIFY_PROVISION=off`, help}), state: 'off'};
}

/**
 * Installs a package's native part, unless that failed less than an hour ago; one process at a time.
 *
 * @param install Is called under the lock on the cache.
 * @returns Never rejects for a machine on which it cannot work.
 */
export async function installOnce(
  {packageFolder, cache, log, force}: SetUp,
  install: () => Promise<Provisioned>,
): Promise<Provisioned> {
  const failure = recentFailure(cache, packageFolder);
  if (!force && failure !== undefined) return unavailable(failure);
  try {
    return await withLock(join(cache, 'provision.lock'), install, {what: 'another set-up', log});
  } catch (error) {
    const reason = (error as Error).message;
    const help =
      error instanceof ProvisionError
        ? error.help
        : 'check that the cache folder can be written (XDG_CACHE_HOME moves it)';
    await rememberFailure(cache, packageFolder, {reason, help});
    return unavailable({reason, help});
  }
}
