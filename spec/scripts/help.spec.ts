import {execFileSync, spawnSync, type ExecFileSyncOptionsWithStringEncoding} from 'node:child_process';
import {fileURLToPath} from 'node:url';
import {expect} from 'chai';

/** Nothing can be started by its name. */
const ALONE: ExecFileSyncOptionsWithStringEncoding = {
  cwd: fileURLToPath(new URL('../..', import.meta.url)),
  encoding: 'utf8',
  env: {...process.env, PATH: '', NODE_OPTIONS: ''},
};

describe('--help of the npm scripts', () => {
  // The others print theirs with the packages' code, which takes seconds each.
  for (const task of ['test', 'test-nodes', 'test-gpu', 'build', 'check', 'coverage', 'docs', 'mutants']) {
    it(`says what ${task} is for, and does nothing`, () => {
      const text = execFileSync(process.execPath, ['scripts/run.mjs', task, '--help'], ALONE);
      expect(text).to.match(new RegExp(`^Usage: npm (run )?${task.replace('-', ':')}\\b.*\\n\\n\\w`));
    });
  }

  it('says what sanitize runs, and builds nothing', () => {
    const text = execFileSync(process.execPath, ['scripts/sanitize.mjs', '--help'], ALONE);
    expect(text)
      .to.match(/^Usage: npm run sanitize\n/)
      .and.include('ThreadSanitizer');
  });

  it('lists the tasks, and names them where one is unknown', () => {
    const run = (args: string[]) => spawnSync(process.execPath, ['scripts/run.mjs', ...args], ALONE);
    expect(run(['--help']))
      .to.include({status: 0})
      .and.have.property('stdout')
      .that.includes('demo-digits');
    expect(run(['demos']))
      .to.include({status: 2})
      .and.have.property('stderr')
      .that.includes('demo-digits');
  });
});
