/** @file What the doors for browsers weigh: at most what the guide says, minified and gzipped, without TensorFlow.js. */
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {gzipSync} from 'node:zlib';
import {expect} from 'chai';
import {build} from 'esbuild';
import {bundleWorker} from '../scripts/set-up/worker-bundle.mjs';
import {ROOT} from './support/guides.js';

/** What esbuild makes of a module for a page. */
async function bundled(code: string): Promise<string> {
  const {outputFiles} = await build({
    stdin: {contents: code, resolveDir: ROOT, loader: 'ts'},
    bundle: true,
    write: false,
    minify: true,
    platform: 'browser',
    format: 'esm',
    // The worker's text is a module that is loaded when a model is.
    external: ['@tensorflow/*', '*/worker-text.js'],
  });
  return outputFiles[0].text;
}

interface Door {
  readonly name: string;
  readonly whole: () => Promise<string>;
  /** The one thing of it whose size is told too. */
  readonly alone?: {readonly name: string; readonly from: string};
}

const DOORS: readonly Door[] = [
  {
    name: 'tfjs-sparsify',
    whole: () => bundled("export * from './lib/index.ts'"),
    alone: {name: 'sparsifyActivations', from: './lib/index.ts'},
  },
  {name: 'tfjs-sparsify/wasm', whole: () => bundled("export * from './lib/wasm.ts'")},
  {
    name: 'tfjs-sparsify/language',
    whole: () => bundled("export * from './lib/language/browser.ts'"),
    alone: {name: 'loadLanguageModel', from: './lib/language/browser.ts'},
  },
  {name: 'tfjs-sparsify/language/worker', whole: bundleWorker},
];

/** Rounded up to whole kilobytes, and not left standing when a door has lost a fifth. */
function expectSize(text: string, statedKilobytes: number): void {
  const kilobytes = gzipSync(text, {level: 9}).length / 1000;
  expect(kilobytes).to.be.within(0.8 * statedKilobytes, statedKilobytes);
}

describe('the size of a door in a bundle', () => {
  const guide = readFileSync(join(ROOT, 'lib/backend/README.md'), 'utf8');

  for (const {name, whole, alone} of DOORS) {
    it(`is what the guide says of ${name}`, async () => {
      const row = new RegExp(`^\\| \`${name}\` +\\| (\\d+) KB +\\|(.*)\\|$`, 'm').exec(guide);
      expect(row, 'the guide has no row for it').to.not.equal(null);
      expectSize(await whole(), Number(row![1]));
      if (alone === undefined) return;
      const stated = new RegExp(`(\\d+) KB for \`${alone.name}\` alone`).exec(row![2])?.[1];
      expectSize(await bundled(`export {${alone.name}} from '${alone.from}'`), Number(stated));
    });
  }
});
