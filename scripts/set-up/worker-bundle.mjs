/**
 * @file The worker of language models in a page, with all that it imports in one text: bundlers find no worker inside a package
 * by themselves, but any of them takes a module with a text.
 */
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {inRoot} from './repository.mjs';

const FOLDER = ['lib', 'language', 'page'];

/**
 * TensorFlow.js brings its backend for WebGL wherever it is imported, 90 KB gzipped. The worker chooses between wasm and cpu.
 *
 * @type {import('esbuild').Plugin}
 */
const WITHOUT_WEBGL = {
  name: 'without-webgl',
  setup(building) {
    building.onResolve({filter: /^@tensorflow\/tfjs-backend-webgl$/}, () => ({
      path: 'none',
      namespace: 'none',
    }));
    building.onLoad({filter: /.*/, namespace: 'none'}, () => ({
      contents: 'export const version_webgl = null;',
    }));
  },
};

/**
 * Bundles the worker.
 *
 * @returns {Promise<string>} A module that imports nothing.
 */
export async function bundleWorker() {
  const {build} = await import('esbuild');
  const {outputFiles} = await build({
    entryPoints: [inRoot(...FOLDER, 'worker.ts')],
    bundle: true,
    write: false,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    footer: {js: 'export {};'}, // tells readers of the file that it is a module, though it exports nothing
    // TensorFlow.js's binary for WebAssembly, which a worker from a text finds nowhere.
    loader: {'.wasm': 'binary'},
    plugins: [WITHOUT_WEBGL],
  });
  return outputFiles[0].text;
}

/**
 * Writes the worker twice: as `worker-bundle.js`, which an application may copy beside its page, and as `worker-text.js`, which
 * exports that text.
 *
 * @param {string} dist A folder that holds what tsc has made of lib/.
 */
export async function writeWorkerBundle(dist) {
  const text = await bundleWorker();
  const write = (/** @type {string} */ name, /** @type {string} */ content) =>
    writeFileSync(join(dist, ...FOLDER, name), content);
  write('worker-bundle.js', text);
  write('worker-bundle.d.ts', '/** A module worker: its URL is what counts. */\nexport {};\n');
  write('worker-text.js', `export const WORKER_TEXT = ${JSON.stringify(text)};\n`);
}
