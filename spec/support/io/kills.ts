/** @file Kills processes that save a model over and over, at random moments, and looks at what is left. */

import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {existsSync, mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {fileURLToPath} from 'node:url';

import {io} from '@tensorflow/tfjs';
import {build} from 'esbuild';

import {fileSystem} from '../../../lib/io/model/file-system.js';
import {quietly} from '../child.js';

/** Kills fall on the first so many saves of a process, as far as they last as long as the first ones did. */
const SAVES_PER_KILL = 4;

/** Its multiples modulo 1 cover the range evenly, in any order but a regular one. */
const GOLDEN_RATIO = (Math.sqrt(5) - 1) / 2;

/** What the kills left. */
export interface Killed {
  /** What was wrong after which kill: none if all is well. */
  readonly failures: readonly string[];
  /** How many different saves were the last one before a kill. */
  readonly saves: number;
}

/**
 * Starts `killed-save.ts` and kills it, again and again in the same folder; after each kill the model must be whole
 * (its checksums too), of one save, and not older than the one before.
 *
 * @param folder Where the model is saved.
 * @param plan How many kills, and the seed of their moments.
 * @param onKill Hears how many kills there were.
 */
export async function killDuringSaves(
  folder: string,
  {kills, seed}: {readonly kills: number; readonly seed: number},
  onKill: (done: number) => void = () => undefined,
): Promise<Killed> {
  const built = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-killed-save-'));
  const program = join(built, 'killed-save.mjs');
  // One file of JavaScript, so that a process starts in a tenth of the time.
  await build({
    entryPoints: [fileURLToPath(new URL('killed-save.ts', import.meta.url))],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'esm',
  });
  try {
    return await killRepeatedly(program, folder, {kills, seed}, onKill);
  } finally {
    rmSync(built, {recursive: true, force: true});
  }
}

async function killRepeatedly(
  program: string,
  folder: string,
  {kills, seed}: {readonly kills: number; readonly seed: number},
  onKill: (done: number) => void,
): Promise<Killed> {
  const saveMs = await timeOfSave(program, folder);
  const failures: string[] = [];
  const seen = new Set<number>();
  let last = 0;
  for (let kill = 1; kill <= kills; kill++) {
    const child = spawn(process.execPath, [program, folder, String(last + 1)], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: quietly(),
    });
    const exit = once(child, 'exit');
    await Promise.race([once(child.stdout, 'data'), exit]);
    await sleep(SAVES_PER_KILL * saveMs * ((seed * Math.SQRT2 + kill * GOLDEN_RATIO) % 1));
    child.kill('SIGKILL');
    await exit;
    if (child.signalCode !== 'SIGKILL') failures.push(`${kill}: it ended by itself`);
    onKill(kill);
    if (last === 0 && !existsSync(`${folder}/model.json`)) continue; // killed before the first save
    try {
      const values = await savedValues(folder);
      if (values.length !== 1) failures.push(`${kill}: a mixture of ${values.join(', ')}`);
      if (values[0] < last) failures.push(`${kill}: ${values[0]} after ${last}`);
      last = values[0];
      seen.add(last);
    } catch (error) {
      failures.push(`${kill}: ${String(error)}`);
    }
  }
  return {failures, saves: seen.size};
}

/** The time of one save here and now, of three; the disk may be busy. */
async function timeOfSave(program: string, folder: string): Promise<number> {
  const child = spawn(process.execPath, [program, folder, '1'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: quietly(),
  });
  const exit = once(child, 'exit');
  await once(child.stdout, 'data'); // ready
  const start = performance.now();
  let said = '';
  for await (const chunk of child.stdout) {
    said += String(chunk);
    if (said.split('saved').length > 3) break;
  }
  const saveMs = (performance.now() - start) / 3;
  child.kill('SIGKILL');
  await exit;
  return saveMs;
}

async function savedValues(folder: string): Promise<number[]> {
  const {weightData} = await fileSystem(folder).load();
  const weights = new Float32Array(io.CompositeArrayBuffer.join(weightData));
  return [...new Set(weights.filter((_, i) => i % 25_000 !== 0))]; // the others tell shards apart
}
