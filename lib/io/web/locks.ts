/**
 * @file One download of a file at a time: over all tabs of an origin by Web Locks (https://w3c.github.io/web-locks), which
 * end with the tab that holds them; where there are none, within this page.
 */

/** Lets go of a lock; a second call does nothing. */
export type Release = () => void;

/**
 * Waits for a lock.
 *
 * @param name Of what is locked.
 * @param onWait Is told once if somebody else holds it.
 * @param signal Ends the waiting: the promise rejects with its reason.
 */
export async function lock(name: string, onWait: () => void, signal?: AbortSignal): Promise<Release> {
  signal?.throwIfAborted();
  const locks = (globalThis.navigator as Partial<Navigator> | undefined)?.locks;
  if (locks === undefined) return lockHere(name, onWait, signal);
  return (await tryWeb(locks, name)) ?? (onWait(), await waitForWeb(locks, name, signal));
}

function tryWeb(locks: LockManager, name: string): Promise<Release | null> {
  return new Promise((resolve, reject) => {
    locks
      .request(name, {ifAvailable: true}, (held) => {
        if (held !== null) return new Promise<void>((release) => resolve(release));
        resolve(null);
        return undefined;
      })
      .catch(reject);
  });
}

function waitForWeb(locks: LockManager, name: string, signal: AbortSignal | undefined): Promise<Release> {
  return new Promise((resolve, reject) => {
    locks.request(name, {signal}, () => new Promise<void>((release) => resolve(release))).catch(reject);
  });
}

/** The ends of those that hold a lock in this page. */
const held = new Map<string, Promise<void>>();

async function lockHere(name: string, onWait: () => void, signal: AbortSignal | undefined): Promise<Release> {
  if (held.has(name)) onWait();
  for (let other = held.get(name); other !== undefined; other = held.get(name)) {
    await orAborted(other, signal);
  }
  let end: Release = () => undefined;
  const promise = new Promise<void>((resolve) => (end = resolve));
  held.set(name, promise);
  return () => {
    if (held.get(name) === promise) held.delete(name);
    end();
  };
}

function orAborted(step: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return step;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', abort, {once: true});
    void step.then(() => {
      signal.removeEventListener('abort', abort);
      resolve();
    });
  });
}
