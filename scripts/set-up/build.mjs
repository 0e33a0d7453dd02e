/** @file dist/: compiled when a source is newer, beside its place, and moved there when complete. */
import {chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync} from 'node:fs';
import {renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {inRoot, runNode, say} from './repository.mjs';
import {writeWorkerBundle} from './worker-bundle.mjs';

const SOURCES = ['lib'];
const STAMP = '.sources';

/** Compiles dist/ unless it is newer than every source. Type errors are reported and do not stop the task. */
export async function ensureBuilt() {
  if (sourcesStamp() === builtStamp()) return;
  say('building dist/');
  const code = await buildDist();
  if (code !== 0) say('dist/ was built in spite of the type errors above; npm run check must pass');
}

/**
 * Compiles lib/ to dist/, with declarations.
 *
 * @returns {Promise<number>} The compiler's exit code; on type errors dist/ is made all the same.
 */
export async function buildDist() {
  const stamp = sourcesStamp();
  // As deep as dist/, since source maps name the sources by the way from there.
  const partial = inRoot(`dist-${process.pid}`);
  const old = `${partial}-old`;
  rmSync(partial, {recursive: true, force: true});
  mkdirSync(partial, {recursive: true});
  try {
    const code = await runNode([
      inRoot('node_modules', 'typescript', 'bin', 'tsc'),
      ...['-p', inRoot('scripts', 'tsconfig.build.json'), '--outDir', partial],
    ]);
    if (!existsSync(join(partial, 'lib'))) throw new Error('tsc wrote nothing; its messages are above');
    await writeWorkerBundle(partial);
    const bin = join(partial, 'lib', 'cli', 'main.js');
    if (existsSync(bin)) chmodSync(bin, 0o755);
    writeFileSync(join(partial, STAMP), stamp);
    if (existsSync(inRoot('dist'))) renameSync(inRoot('dist'), old);
    renameSync(partial, inRoot('dist'));
    return code;
  } finally {
    rmSync(old, {recursive: true, force: true});
    rmSync(partial, {recursive: true, force: true});
  }
}

/** What dist/ was built from, or undefined. */
function builtStamp() {
  try {
    return readFileSync(inRoot('dist', STAMP), 'utf8');
  } catch {
    return undefined;
  }
}

/** Names, sizes and times of all sources. */
function sourcesStamp() {
  const lines = SOURCES.flatMap((folder) =>
    readdirSync(inRoot(folder), {recursive: true, encoding: 'utf8'})
      .filter((name) => name.endsWith('.ts'))
      .sort()
      .map((name) => {
        const {size, mtimeMs} = statSync(inRoot(folder, name));
        return `${folder}/${name} ${size} ${mtimeMs}`;
      }),
  );
  return lines.join('\n');
}
