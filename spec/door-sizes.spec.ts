/** @file What the doors for browsers weigh: at most what their guides say, minified and gzipped, without TensorFlow.js. */
import {readFileSync} from 'node:fs';
import {join} from 'node:path';
import {gzipSync} from 'node:zlib';
import {expect} from 'chai';
import {build} from 'esbuild';
import {bundleWorker} from '../scripts/set-up/worker-bundle.mjs';
import {ROOT} from './support/guides.js';

interface Door {
  readonly name: string;
  /** Where `… is N KB in a bundle` stands. */
  readonly guide: string;
  readonly text: () => Promise<string>;
}

/** All of a door, as an application gets it that uses all; what it uses not, its bundler leaves out. */
async function bundled(entry: string): Promise<string> {
  const {outputFiles} = await build({
    entryPoints: [join(ROOT, entry)],
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

const DOORS: readonly Door[] = [
  {name: 'tfjs-sparsify', guide: 'lib/README.md', text: () => bundled('lib/index.ts')},
  {
    name: 'tfjs-sparsify/language',
    guide: 'lib/language/README.md',
    text: () => bundled('lib/language/browser.ts'),
  },
  {name: 'tfjs-sparsify/language/worker', guide: 'lib/language/README.md', text: bundleWorker},
];

describe('the size of a door in a bundle', () => {
  for (const {name, guide, text} of DOORS) {
    it(`${name} is what ${guide} says`, async () => {
      const prose = readFileSync(join(ROOT, guide), 'utf8').replaceAll(/\s+/g, ' ');
      const stated = Number(new RegExp(`\`${name}\` is (\\d+) KB in a bundle`).exec(prose)?.[1]);
      const kilobytes = gzipSync(await text(), {level: 9}).length / 1000;
      // Rounded up, and not left standing when a door has lost a fifth.
      expect(kilobytes).to.be.within(0.8 * stated, stated);
    });
  }
});
