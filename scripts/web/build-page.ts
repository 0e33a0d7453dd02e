/** @file Builds the page of models/web with what it needs beside it: a folder that any static host can serve. */
import {createHash} from 'node:crypto';
import {
  cpSync,
  linkSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import {join} from 'node:path';
import type {io} from '@tensorflow/tfjs';
import {build} from 'vite';
import {parseMetadata} from '../../lib/language/config/saved-metadata.js';
import {needOf} from '../../lib/language/memory-need.js';
import {inRoot} from '../set-up/repository.mjs';

/** What the page shows of the digits model. */
const DIGITS = /^(model.*\.(json|bin)|.*\.npy)$/;
const THREADED_WASM = /tfjs-backend-wasm-threaded-simd\.js$/;
const SERVICE_WORKER = 'service-worker.js';

/** The language model of the page's chat. */
export type ChatModel =
  /** A folder that `save` of a language model wrote, and what it is called. */
  | {readonly name: string; readonly folder: string}
  /** Why there is none. */
  | {readonly reason: string};

export interface BuildPageOptions {
  /** Is made anew. */
  readonly folder: string;
  readonly chat: ChatModel;
  /** Origins beside its own that the page may ask, for models of visitors; none by default. */
  readonly allowed?: readonly string[];
}

/**
 * Builds the page.
 *
 * @throws What vite throws; the folder is then not whole.
 */
export async function buildPage({folder, chat, allowed = []}: BuildPageOptions): Promise<void> {
  await build({
    configFile: false,
    root: inRoot('models', 'web'),
    base: './', // the page may lie in a folder of its host
    publicDir: false,
    logLevel: 'warn',
    plugins: [
      {name: 'policy', transformIndexHtml: (html) => html.replace('%CSP%', policy(allowed))},
      {
        name: 'threads-of-tfjs',
        transform: (code, id) => (THREADED_WASM.test(id) ? withoutOuterName(code) : null),
      },
    ],
    worker: {format: 'es'},
    build: {
      outDir: folder,
      emptyOutDir: true,
      target: 'es2022',
      assetsInlineLimit: 0, // the policy allows no data: scripts and binaries
      modulePreload: {polyfill: false},
      chunkSizeWarningLimit: 4096,
      rolldownOptions: {
        input: [inRoot('models', 'web', 'index.html'), inRoot('models', 'web', 'service-worker.ts')],
        output: {
          // A service worker may only answer for the folder that it lies in, under a name that stays.
          entryFileNames: ({name}) =>
            name === 'service-worker' ? SERVICE_WORKER : 'assets/[name]-[hash].js',
        },
      },
    },
  });
  copyDigits(join(folder, 'models', 'digits'));
  const models = join(folder, 'models');
  if ('folder' in chat) linkFiles(chat.folder, join(models, 'chat'));
  const index =
    'folder' in chat
      ? {name: chat.name, path: 'models/chat/', ...sizesOf(join(models, 'chat'))}
      : {reason: chat.reason};
  writeFileSync(join(models, 'chat.json'), JSON.stringify(index));
  listFiles(folder);
}

/**
 * TensorFlow.js starts its threads with the text of a function, which asks whether a name outside of it is there. A minifier
 * knows that it is, and takes the question away; in the thread the name is then missing, and the page waits for ever.
 */
function withoutOuterName(code: string): string {
  const found = 'typeof _scriptDir !== "undefined" && _scriptDir';
  if (!code.includes(found))
    throw new Error(`the threads of tfjs-backend-wasm no longer ask for "${found}": look at this plugin`);
  return code
    .replace(found, 'globalThis._scriptDir')
    .replace('scriptDirectory=_scriptDir', 'scriptDirectory=globalThis._scriptDir');
}

/**
 * What the page may load, and from where. WebAssembly is compiled from the page's own files; TensorFlow.js starts its threads
 * from blobs.
 */
function policy(allowed: readonly string[]): string {
  return [
    "default-src 'none'",
    "script-src 'self' blob: 'wasm-unsafe-eval'",
    "worker-src 'self' blob:",
    "style-src 'self'",
    "img-src 'self'",
    ["connect-src 'self' blob:", ...allowed].join(' '),
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
}

function copyDigits(to: string): void {
  const from = inRoot('models', 'digits');
  mkdirSync(to, {recursive: true});
  for (const name of readdirSync(from).filter((entry) => DIGITS.test(entry)))
    cpSync(join(from, name), join(to, name));
}

/** The files of a folder without a second copy on the disk, where the file system can. */
function linkFiles(from: string, to: string): void {
  rmSync(to, {recursive: true, force: true});
  mkdirSync(to, {recursive: true});
  for (const name of readdirSync(from)) {
    try {
      linkSync(join(from, name), join(to, name));
    } catch {
      cpSync(join(from, name), join(to, name));
    }
  }
}

/** Bytes of a saved language model on disk, and in memory with a conversation. */
function sizesOf(folder: string): {bytes: number; memoryBytes: number} {
  const bytes = readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
  const json = JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8')) as io.ModelJSON;
  const weights = json.weightsManifest.flatMap(({paths}) =>
    paths.map((path) => statSync(join(folder, path)).size),
  );
  const weightBytes = weights.reduce((sum, size) => sum + size, 0);
  return {
    bytes,
    memoryBytes: needOf(parseMetadata(json.userDefinedMetadata).config, weightBytes, 0).totalBytes,
  };
}

/** Tells the service worker which files it keeps: all but itself and the language model, which the package keeps. */
function listFiles(folder: string): void {
  const files = readdirSync(folder, {recursive: true, withFileTypes: true})
    .filter((entry) => entry.isFile())
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(folder.length + 1)
        .replaceAll('\\', '/'),
    )
    .filter((path) => path !== SERVICE_WORKER && !path.startsWith('models/chat/'))
    .sort();
  const hash = createHash('sha256');
  for (const path of files) hash.update(path).update(readFileSync(join(folder, path)));
  const worker = join(folder, SERVICE_WORKER);
  const filled = readFileSync(worker, 'utf8')
    .replace('%FILES%', JSON.stringify(files))
    .replace('%HASH%', hash.digest('hex').slice(0, 16));
  if (filled.includes('%FILES%') || filled.includes('%HASH%'))
    throw new Error(`${worker} has places left to fill`);
  writeFileSync(worker, filled);
}
