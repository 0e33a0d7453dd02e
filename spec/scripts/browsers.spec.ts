/** @file The browsers of the specs: which program is taken, and what happens where there is none. */
import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {spawnSync} from 'node:child_process';
import {expect} from 'chai';
import {moduleArgs, quietly, urlOf} from '../support/child.js';
import {ROOT} from '../support/guides.js';
import {temporaryFolder} from '../support/temporary-folder.js';

describe('the browsers of the specs', () => {
  const folder = temporaryFolder();
  before(function () {
    // There browsers are found in places that no variable moves.
    if (process.platform !== 'linux') this.skip();
  });

  /** Runs Node where nothing is installed but what `bin` has. */
  const run = (args: readonly string[], env: NodeJS.ProcessEnv = {}) => {
    mkdirSync(join(folder.path, 'bin'), {recursive: true});
    const {status, stdout, stderr} = spawnSync(process.execPath, args, {
      cwd: ROOT,
      encoding: 'utf8',
      env: quietly({
        ...{PATH: join(folder.path, 'bin'), HOME: folder.path, XDG_CACHE_HOME: folder.path},
        ...{CHROME_PATH: undefined, FIREFOX_PATH: undefined, CI: undefined},
        TFJS_SPARSIFY_PROVISION: 'off',
        ...env,
      }),
    });
    return {status, stdout, stderr};
  };
  const browserCode = (code: string) =>
    moduleArgs(`
      import {ensureBrowsers, findBrowser} from ${JSON.stringify(urlOf('scripts/set-up/browser.ts'))};
      ${code}`);
  const find = (env?: NodeJS.ProcessEnv) =>
    run(browserCode("console.log(JSON.stringify([findBrowser('chrome'), findBrowser('firefox')]))"), env);

  it('are those that CHROME_PATH and FIREFOX_PATH name', () => {
    const {stdout} = find({CHROME_PATH: process.execPath, FIREFOX_PATH: process.execPath});
    expect(JSON.parse(stdout)).to.deep.equal([process.execPath, process.execPath]);
    const wrong = find({CHROME_PATH: join(folder.path, 'nothing')});
    expect(wrong.status).to.equal(1);
    expect(wrong.stderr).to.include(`CHROME_PATH is ${join(folder.path, 'nothing')}, which is no program`);
  });

  it('are told to be missing in a line for each, and asked for on PATH first', () => {
    const {status, stderr} = run(browserCode('await ensureBrowsers()'));
    expect(status, stderr).to.equal(0);
    const lines = stderr.trim().split('\n');
    expect(lines).to.have.lengthOf(2);
    expect(lines[0]).to.match(/without the specs in chrome.*PROVISION=off.*set CHROME_PATH$/);
    expect(lines[1]).to.match(/without the specs in firefox.*PROVISION=off.*set FIREFOX_PATH$/);

    const chrome = join(folder.path, 'bin', 'google-chrome');
    writeFileSync(chrome, '#!/bin/sh\n', {mode: 0o755});
    expect(JSON.parse(find().stdout)).to.deep.equal([chrome, null]);
  });

  it('leave their specs out where they are missing, but in CI', () => {
    const mocha = join(ROOT, 'node_modules/mocha/bin/mocha.js');
    const args = [mocha, '--reporter', 'json', '-g', 'in Firefox', 'spec/browser/harness.spec.ts'];
    const left = run(args);
    expect(left.status, left.stderr).to.equal(0);
    expect((JSON.parse(left.stdout) as {stats: object}).stats).to.include({
      passes: 0,
      pending: 1,
      failures: 0,
    });
    const inCi = run(args, {CI: 'true'});
    expect(inCi.status).to.equal(1);
    expect(inCi.stdout).to.include('there is no firefox, which the specs in CI need');
  });
});
