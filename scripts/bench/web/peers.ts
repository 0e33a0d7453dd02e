/**
 * @file What runs models in a page beside us: wllama (llama.cpp) and onnxruntime-web (what transformers.js runs), installed
 * on demand into the per-user cache. No dependencies of this package.
 */
import {existsSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {cacheFolder, publishFolder} from '../../../lib/provision/cache.js';
import {lastLines, runCommand} from '../../../lib/provision/processes/command.js';

const PEERS = {
  wllama: {package: '@wllama/wllama', version: '3.13.0', served: 'esm'},
  onnxruntime: {package: 'onnxruntime-web', version: '1.30.0', served: 'dist'},
} as const;

export type PeerName = keyof typeof PEERS;

/** The folder with a peer's modules and binaries, or why there is none. */
export type Peer =
  {readonly name: string; readonly folder: string} | {readonly name: string; readonly reason: string};

/** Finds a peer, or installs it. */
export async function findPeer(peer: PeerName): Promise<Peer> {
  const {package: packageName, version, served} = PEERS[peer];
  const name = `${packageName} ${version}`;
  const folder = join(cacheFolder(), `${packageName.replace(/\W+/g, '-').replace(/^-/, '')}-${version}`);
  const found = join(folder, 'node_modules', packageName, served);
  if (existsSync(found)) return {name, folder: found};
  console.error(`installing ${name} into the cache, to compare with`);
  try {
    await publishFolder(folder, async (partial) => {
      writeFileSync(join(partial, 'package.json'), '{"private": true}\n');
      const install = ['install', '--ignore-scripts', '--no-audit', '--no-fund', `${packageName}@${version}`];
      const result = await runCommand('npm', install, {cwd: partial});
      if (result.code !== 0) throw new Error(lastLines(result));
    });
    return {name, folder: found};
  } catch (error) {
    return {name, reason: `npm could not install it: ${(error as Error).message}`};
  }
}
