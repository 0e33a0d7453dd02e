/** @file The native kernels with the instruction sets of older processors: the same specs, in processes of their own. */
import {expect} from 'chai';
import {spawn} from 'node:child_process';
import {createRequire} from 'node:module';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {loadBackend} from '../../lib/backend/load.js';
import {nativeKernels} from '../../lib/backend/native.js';
import {finished, quietly, runModule, urlOf} from '../support/child.js';
import '../support/backends.js';

/** By the value of SPARSIFY_MAX_TARGET, worst first: the name that the addon gives it. */
const TARGETS = {sse2: 'SSE2', sse4: 'SSE4', avx2: 'AVX2', avx512: 'AVX3'} as const;

/** Of the kernels' specs those that are quick and go through every loop: float32, INT8, the decoder. */
const SPECS = [
  'spec/kernels/tensorflow-backend.spec.ts',
  'spec/kernels/int8-tensorflow.spec.ts',
  'spec/language/decoding/native-decoder-int8.spec.ts',
];
const CHOSEN =
  '(1 x 7|31 x 33|64 x 1003|577 x 9.) at sparsity 0(.5)?$|say how they run|after the bias|one threshold|masked$';

describe('the native kernels with the instruction sets of older processors', () => {
  const best = nativeKernels()?.instructionSet();
  const names = Object.values<string>(TARGETS);

  for (const [cap, name] of Object.entries(TARGETS)) {
    it(`equal the reference with at most ${name}`, async function () {
      // A processor of ARM has none of them, and one without AVX-512 runs with AVX2 below as it does above.
      if (best === undefined || names.indexOf(best) <= names.indexOf(name)) this.skip();
      this.timeout(300_000);
      const mocha = join(
        dirname(createRequire(import.meta.url).resolve('mocha/package.json')),
        'bin/mocha.js',
      );
      const {code, stdout} = await finished(
        spawn(process.execPath, [mocha, '--reporter', 'spec', '-g', CHOSEN, ...SPECS], {
          cwd: fileURLToPath(urlOf('.')),
          env: quietly({SPARSIFY_MAX_TARGET: cap, SPARSIFY_BACKEND: 'node'}),
          stdio: ['ignore', 'pipe', 'pipe'],
        }),
      );
      expect(code, stdout).to.equal(0);
      expect(Number(/(\d+) passing/.exec(stdout)?.[1])).to.be.at.least(50);
      expect(stdout).to.contain(`say how they run (${name})`);
    });
  }

  it('name what SPARSIFY_MAX_TARGET may be', async function () {
    if (best === undefined) this.skip();
    const {stdout} = await runModule(
      `import {loadBackend} from ${JSON.stringify(urlOf('lib/backend/load.ts'))};
      await loadBackend({name: 'node'}).catch(({code, message}) => console.log(code, message));`,
      {SPARSIFY_MAX_TARGET: 'mmx'},
    );
    expect(stdout)
      .to.match(/^bad-max-target /)
      .and.contain('SPARSIFY_MAX_TARGET is "mmx"; it must be sse2, sse4, avx2 or avx512');
  });

  it('name the same in the addon, which is loaded after that check', async function () {
    const {native} = await loadBackend({name: 'node'});
    if (native === undefined || !('path' in native)) this.skip();
    const {stdout} = await runModule(
      `import {createRequire} from 'node:module';
      try {
        createRequire(${JSON.stringify(import.meta.url)})(${JSON.stringify(native.path)});
      } catch ({message}) {
        console.log(message);
      }`,
      {SPARSIFY_MAX_TARGET: 'mmx'},
    );
    expect(stdout.trim()).to.equal(
      'SPARSIFY_MAX_TARGET is "mmx"; it must be sse2, sse4, avx2 or avx512, or unset for the best that the processor has',
    );
  });
});
