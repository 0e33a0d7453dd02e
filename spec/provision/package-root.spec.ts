import {expect} from 'chai';
import {existsSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {runModule, urlOf} from '../support/child.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

describe('inPackage', () => {
  for (const module of ['lib/provision/package-root.ts', 'dist/lib/provision/package-root.js']) {
    it(`finds the sources of the kernels from ${module}, whatever the working folder`, async () => {
      const {stdout, stderr} = await runModule(
        `process.chdir('/');
        const {inPackage} = await import(${JSON.stringify(urlOf(module))});
        console.log(inPackage('lib', 'kernels', 'native', 'addon.cc'));`,
      );
      expect(stderr).to.equal('');
      expect(stdout).to.equal(`${join(ROOT, 'lib/kernels/native/addon.cc')}\n`);
      expect(existsSync(stdout.trim())).to.equal(true);
    });
  }
});
