/**
 * @file llama.cpp in Node, to compare with: node-llama-cpp, installed on demand into the per-user cache. No dependency
 * of this package: its programs take 80 MB.
 */
import {existsSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {cacheFolder, publishFolder} from '../../../lib/provision/cache.js';
import {lastLines, runCommand} from '../../../lib/provision/processes/command.js';

const VERSION = '3.22.1';
/** Of the package that holds the programs; they are built for processors without a GPU too. */
const PLATFORMS: Readonly<Record<string, string>> = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-arm64': 'mac-arm64-metal',
  'darwin-x64': 'mac-x64',
  'win32-x64': 'win-x64',
};

/**
 * The module's entry file; installs it first where it is missing.
 *
 * @throws {Error} If npm can't install it.
 */
export async function llamaCppEntry(): Promise<string> {
  const folder = join(cacheFolder(), `node-llama-cpp-${VERSION}`);
  const entry = join(folder, 'node_modules', 'node-llama-cpp', 'dist', 'index.js');
  if (existsSync(entry)) return entry;
  const platform = PLATFORMS[`${process.platform}-${process.arch}`];
  if (platform === undefined)
    throw new Error(`node-llama-cpp has no build for ${process.platform} ${process.arch}`);
  console.error(`installing node-llama-cpp ${VERSION} into the cache, to compare with`);
  await publishFolder(folder, async (partial) => {
    writeFileSync(join(partial, 'package.json'), '{"private": true}\n');
    const packages = [`node-llama-cpp@${VERSION}`, `@node-llama-cpp/${platform}@${VERSION}`];
    const result = await runCommand(
      'npm',
      ['install', '--ignore-scripts', '--omit=optional', '--no-audit', '--no-fund', ...packages],
      {cwd: partial},
    );
    if (result.code !== 0) throw new Error(`npm could not install node-llama-cpp: ${lastLines(result)}`);
  });
  return entry;
}
