/** @file The backend of a command. */
import {loadBackend, type LoadedBackend} from '../backend/load.js';

/** The last line that was said. */
let said: string | undefined;

/**
 * Loads a backend, and says on stderr, once, if a GPU was to be used but is not.
 *
 * @param name As `--backend` has it.
 * @throws {BackendError} as `loadBackend`.
 */
export async function startBackend(name: string | undefined): Promise<LoadedBackend> {
  const backend = await loadBackend({name});
  if (backend.notice !== undefined && backend.notice !== said) console.error(backend.notice);
  said = backend.notice;
  return backend;
}
