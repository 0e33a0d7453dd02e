/** @file Makes one ES module for a page or a worker out of a TypeScript file and all that it imports. */
import {fileURLToPath} from 'node:url';
import {build, type Plugin} from 'esbuild';
import {bundleWorker} from '../../../scripts/set-up/worker-bundle.mjs';
import {urlOf} from '../child.js';

const bundles = new Map<string, Promise<string>>();

/**
 * Bundles a file of this repository; in one process every file is bundled once.
 *
 * @param file From the root of the repository, as `spec/browser/pages/x.ts`.
 * @returns The module's text.
 */
export function bundleOf(file: string): Promise<string> {
  const known = bundles.get(file);
  if (known !== undefined) return known;
  const bundling = bundle(fileURLToPath(urlOf(file)));
  bundles.set(file, bundling);
  return bundling;
}

let workerText: Promise<string> | undefined;

/** The text of the worker of language models, which the build makes a module of. */
const WORKER_TEXT: Plugin = {
  name: 'worker-text',
  setup: (build) => {
    build.onResolve({filter: /\/worker-text\.js$/}, () => ({path: 'worker-text', namespace: 'worker-text'}));
    build.onLoad({filter: /.*/, namespace: 'worker-text'}, async () => {
      workerText ??= bundleWorker();
      return {contents: `export const WORKER_TEXT = ${JSON.stringify(await workerText)};`};
    });
  },
};

async function bundle(entry: string): Promise<string> {
  const {outputFiles} = await build({
    entryPoints: [entry],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    loader: {'.wasm': 'binary'},
    plugins: [WORKER_TEXT],
    sourcemap: 'inline',
    sourcesContent: false,
    logLevel: 'silent',
  });
  return outputFiles[0].text;
}

/** The functions of a bundled module by name: their results come as JSON carries them, so typed arrays are to be plain ones. */
export type BundledFunctions<Entry> = {
  readonly [
    Name in keyof Entry as Entry[Name] extends (...args: never[]) => unknown ? Name : never
  ]: Entry[Name] extends (...args: infer Args) => infer Result
    ? (...args: Args) => Promise<Awaited<Result>>
    : never;
};
