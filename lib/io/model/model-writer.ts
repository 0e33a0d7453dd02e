/**
 * @file Writes a model so that the folder holds either the old one or the new one, whole, at every moment.
 *
 * Weights are written into a hidden staging folder inside the target folder, flushed, and moved beside the
 * old ones under names made of their content's hash; what the old `model.json` refers to is not touched. Then
 * the new `model.json` replaces the old one in a single rename, and only after that the old weights go. So a
 * kill or a full disk costs nothing but a leftover, which the next save removes, and other files in the
 * folder (a README, a second model) stay. Renaming a whole folder would lose those, and leaves a moment
 * between two renames in which there is no model.
 *
 * One process at a time may write a given model; readers may read meanwhile.
 */

import {randomBytes} from 'node:crypto';
import {rmSync} from 'node:fs';
import {mkdir, readdir, rename, rm, rmdir, stat} from 'node:fs/promises';
import {basename, dirname, join} from 'node:path';

import type {io} from '@tensorflow/tfjs';

import {FileError} from '../../errors.js';
import {flushFolder, publishFile, writeFlushed} from '../files/atomic-file.js';
import {readText} from '../files/read-text.js';
import {fileFailure} from '../files/file-failure.js';
import {makeFolder} from '../files/make-folder.js';
import {parseModelJson, weightsSize} from './model-json.js';
import {MAX_SHARD_BYTES, writeShards} from './shard-writer.js';

/** Weights that no model.json names are removed once their last change is older than this. */
const ORPHAN_AGE_MS = 60_000;

/** A model's artifacts without its weights' data. */
export type ModelDescription = Omit<io.ModelArtifacts, 'weightSpecs' | 'weightData' | 'getWeightStream'>;

/** The weights of a model to be written. */
export interface WeightsToWrite {
  readonly specs: io.WeightsManifestEntry[];
  /** The bytes of all weights in the order of `specs`, cut anywhere; read one piece at a time. */
  readonly pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/**
 * Writes `model.json` and its weights; replaces an older model in one step.
 *
 * @param jsonPath Where the model.json goes; its folder is made if it is missing.
 * @param description Topology, format and metadata; or what gives them, asked once the weights are written.
 * @param weights The weights, streamed.
 * @param maxShardBytes No weight file gets larger than this.
 * @returns What was written.
 * @throws FileError `disk-full`, `no-permission`, `weights-mismatch` …; the old model is whole then.
 */
export async function writeModel(
  jsonPath: string,
  description: ModelDescription | (() => ModelDescription),
  {specs, pieces}: WeightsToWrite,
  maxShardBytes = MAX_SHARD_BYTES,
): Promise<io.SaveResult> {
  const folder = dirname(jsonPath);
  const stem = basename(jsonPath, '.json');
  const staging = join(folder, `.${stem}-saving-${process.pid}-${randomBytes(4).toString('hex')}`);
  const removeStaging = () => {
    rmSync(staging, {recursive: true, force: true});
  };
  await checkReplaceable(jsonPath);
  let isNew = false;
  try {
    isNew = await makeFolder(folder);
    await removeAbandonedStaging(folder, stem);
    await mkdir(staging);
    process.once('exit', removeStaging); // process.exit during a save, as after Ctrl-C, leaves nothing behind
    try {
      const {paths, sha256, bytes} = await writeShards(staging, `${stem}-weights-`, pieces, maxShardBytes);
      checkComplete(specs, bytes, jsonPath);
      const described = typeof description === 'function' ? description() : description;
      const text = JSON.stringify({...described, weightsManifest: [{paths, sha256, weights: specs}]});
      parseModelJson(text, jsonPath); // what this package would refuse to read, it does not write
      await writeFlushed(join(staging, 'model.json'), text);

      const oldWeights = await ownWeightsOf(jsonPath, stem);
      for (const name of new Set(paths)) await rename(join(staging, name), join(folder, name));
      await flushFolder(folder);
      await publishFile(join(staging, 'model.json'), jsonPath);
      await removeUnused(folder, stem, new Set(paths), oldWeights);
      return {modelArtifactsInfo: artifactsInfo(described, specs, bytes)};
    } finally {
      process.off('exit', removeStaging);
      await rm(staging, {recursive: true, force: true});
    }
  } catch (cause) {
    if (isNew) await rmdir(folder).catch(() => undefined); // unless others have put something there
    throw fileFailure(jsonPath, cause);
  }
}

/**
 * Refuses to overwrite a file that holds no model: a package.json, say; or that cannot be read, so that nobody knows.
 *
 * @throws FileError `not-a-model`, or what the system says of reading it.
 */
export async function checkReplaceable(jsonPath: string): Promise<void> {
  let text: string;
  try {
    text = await readText(jsonPath);
  } catch (cause) {
    const code = cause instanceof FileError ? cause.code : undefined;
    if (code === 'missing-file' || code === 'not-a-folder') return; // whether a folder can be made shows later
    if (code !== 'malformed-text') throw cause;
    text = '';
  }
  if (/"modelTopology"\s*:/.test(text)) return;
  throw new FileError(
    'not-a-model',
    `${jsonPath} exists and holds no model, so it is not replaced: name another folder for the model`,
    {path: jsonPath},
  );
}

function artifactsInfo(
  {modelTopology}: ModelDescription,
  specs: io.WeightsManifestEntry[],
  weightDataBytes: number,
): io.ModelArtifactsInfo {
  return {
    dateSaved: new Date(),
    modelTopologyType: 'JSON',
    modelTopologyBytes: Buffer.byteLength(JSON.stringify(modelTopology ?? {})),
    weightSpecsBytes: Buffer.byteLength(JSON.stringify(specs)),
    weightDataBytes,
  };
}

function checkComplete(specs: io.WeightsManifestEntry[], written: number, jsonPath: string): void {
  const {bytes, exact} = weightsSize(specs);
  if (written === bytes || (!exact && written > bytes)) return;
  throw new FileError(
    'weights-mismatch',
    `${jsonPath} was not written: the weights are ${written} bytes, their specs say ${bytes}`,
    {path: jsonPath, written, expected: bytes},
  );
}

/** The weight files of the model that is about to be replaced, as far as this writer made them. */
async function ownWeightsOf(jsonPath: string, stem: string): Promise<string[]> {
  try {
    const {weightsManifest} = parseModelJson(await readText(jsonPath), jsonPath);
    return weightsManifest.flatMap(({paths}) => paths).filter((path) => isOwnWeights(path, stem));
  } catch {
    return []; // None there, or one that cannot be read anyway.
  }
}

/** Removes what the replaced model used, and weights that a killed save had moved but never named. */
async function removeUnused(
  folder: string,
  stem: string,
  used: ReadonlySet<string>,
  replaced: readonly string[],
): Promise<void> {
  for (const name of await readdir(folder)) {
    if (used.has(name) || !isOwnWeights(name, stem)) continue;
    const path = join(folder, name);
    // Renaming sets ctime, so another process's weights, moved a moment ago, are not taken for orphans.
    if (replaced.includes(name) || Date.now() - (await stat(path)).ctimeMs > ORPHAN_AGE_MS) {
      await rm(path, {force: true});
    }
  }
}

/** Removes staging folders whose process has ended. */
async function removeAbandonedStaging(folder: string, stem: string): Promise<void> {
  const prefix = `.${stem}-saving-`;
  for (const name of await readdir(folder)) {
    const processId = name.startsWith(prefix) ? Number(name.slice(prefix.length).split('-')[0]) : NaN;
    if (Number.isInteger(processId) && !isRunning(processId)) {
      await rm(join(folder, name), {recursive: true, force: true});
    }
  }
}

function isRunning(processId: number): boolean {
  try {
    process.kill(processId, 0); // sends nothing, only asks
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

function isOwnWeights(name: string, stem: string): boolean {
  return name.startsWith(`${stem}-weights-`) && /^[0-9a-f]{16}\.bin$/.test(name.slice(stem.length + 9));
}
