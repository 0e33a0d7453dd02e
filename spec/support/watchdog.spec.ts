import {spawn} from 'node:child_process';
import {createRequire} from 'node:module';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {expect} from 'chai';
import {finished, urlOf} from './child.js';

/** Runs mocha with this repository's settings. */
function mocha(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const bin = join(dirname(createRequire(import.meta.url).resolve('mocha/package.json')), 'bin', 'mocha.js');
  return finished(
    spawn(process.execPath, [bin, ...args], {
      cwd: fileURLToPath(urlOf('.')),
      env: {...process.env, ...env},
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  );
}

describe('mocha with the settings of this repository', () => {
  it('ends a process whose thread stands still, and says in which test', async () => {
    const {code, stderr} = await mocha(['spec/fixtures/locked-up.ts'], {SPARSIFY_SPEC_GRACE_MS: '500'});
    expect(stderr)
      .to.include('locked up')
      .and.include('a kernel never returns')
      .and.not.include('kernel returns');
    expect(code).to.not.equal(0);
  });

  it('runs the file that is named alone, and prints nothing of what passes', async () => {
    const {code, stdout, stderr} = await mocha(['spec/fixtures/talkative.ts', '-g', 'passes']);
    expect({code, stderr}).to.deep.equal({code: 0, stderr: ''});
    expect(stdout).to.match(/^\s*\.\s+1 passing \(\d+m?s\)\s*$/);
  });

  it('shows what a test wrote if it fails', async () => {
    const {code, stdout, stderr} = await mocha(['spec/fixtures/talkative.ts']);
    expect({code, stderr}).to.deep.equal({code: 1, stderr: ''});
    expect(stdout).to.match(/it wrote:\s+progress of the failing one\s+a warning with 7\s/);
    expect(stdout).to.not.include('passing one');
  });
});
