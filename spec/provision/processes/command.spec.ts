import {expect} from 'chai';
import {chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {delimiter, join} from 'node:path';
import {errorLine, lastLines, runCommand} from '../../../lib/provision/processes/command.js';
import {findProgram} from '../../../lib/provision/processes/programs.js';

describe('programs that set-up runs', () => {
  let folder: string;
  const {PATH} = process.env;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'command-spec-'));
  });
  afterEach(() => {
    process.env.PATH = PATH;
    rmSync(folder, {recursive: true});
  });

  describe('runCommand', () => {
    before(function () {
      if (process.platform === 'win32') this.skip(); // needs sh
    });

    const sh = (script: string, options = {}) => runCommand('/bin/sh', ['-c', script], options);

    it('gives the exit code and both outputs', async () => {
      expect(await sh('echo out; echo err >&2; exit 3')).to.deep.equal({
        ...{code: 3, signal: null, timedOut: false},
        ...{stdout: 'out\n', stderr: 'err\n'},
      });
    });

    it('runs in the folder and environment that it is given', async () => {
      const {stdout} = await sh('pwd; echo "$ONLY"', {cwd: folder, env: {ONLY: 'this'}});
      expect(stdout).to.equal(`${folder}\nthis\n`);
    });

    it('gives the signal that ended it', async () => {
      expect(await sh('kill -TERM $$')).to.include({code: null, signal: 'SIGTERM', timedOut: false});
    });

    it('gives code 127 and the reason for a program that is not there', async () => {
      const {code, stderr} = await runCommand(join(folder, 'nothing'), []);
      expect(code).to.equal(127);
      expect(stderr).to.contain('ENOENT');
    });

    it('keeps the end of a long output', async () => {
      const {stdout} = await runCommand(process.execPath, [
        '-e',
        "process.stdout.write('first' + 'x'.repeat(300000) + 'last')",
      ]);
      expect(stdout).to.have.length(200_000);
      expect(stdout).to.match(/^x+last$/);
    });

    /** A program that starts another and waits for it; both write their process ids down. */
    const family = () => `sleep 60 > /dev/null 2>&1 & echo $! > ${join(folder, 'child')}; wait`;
    const childPid = () => Number(readFileSync(join(folder, 'child'), 'utf8'));
    /** Whether a process runs; one that has ended and that nobody has waited for does not. */
    const runs = (pid: number): boolean => {
      try {
        process.kill(pid, 0);
      } catch {
        return false;
      }
      return !existsSync(`/proc/${pid}/stat`) || !/\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    };

    /** Whether a process has ended: a signal is delivered a moment after it was sent, long before `sleep 60` is over. */
    const hasEnded = async (pid: number): Promise<boolean> => {
      for (let tries = 0; tries < 250 && runs(pid); tries++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return !runs(pid);
    };

    it('ends it with all that it started when the time is over', async () => {
      const result = await sh(family(), {timeoutMs: 2_000});
      expect(result).to.include({code: null, signal: 'SIGKILL', timedOut: true});
      expect(await hasEnded(childPid())).to.equal(true);
    });

    it('ends it with all that it started when it is told so', async () => {
      const controller = new AbortController();
      const result = sh(family(), {signal: controller.signal});
      while (!existsSync(join(folder, 'child')) || childPid() === 0) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      controller.abort();
      expect(await result).to.include({code: null, signal: 'SIGKILL', timedOut: false});
      expect(await hasEnded(childPid())).to.equal(true);
    });

    it('begins nothing when it was told so before', async () => {
      const result = await sh(`echo > ${join(folder, 'begun')}`, {signal: AbortSignal.abort()});
      expect(result).to.include({code: null, stderr: 'interrupted'});
      expect(existsSync(join(folder, 'begun'))).to.equal(false);
    });

    it('leaves no listener behind', async () => {
      const counts = () => ['SIGINT', 'SIGTERM', 'SIGHUP'].map((name) => process.listenerCount(name));
      const before = counts();
      await sh('true');
      await runCommand(join(folder, 'nothing'), []);
      expect(counts()).to.deep.equal(before);
    });
  });

  describe('findProgram', () => {
    it('takes the first name that is there, in the first folder that has it', () => {
      const [a, b] = [join(folder, 'a'), join(folder, 'b')];
      for (const path of [join(a, 'second'), join(b, 'first'), join(b, 'second')]) {
        mkdirSync(join(path, '..'), {recursive: true});
        writeFileSync(path, '', {mode: 0o755});
      }
      mkdirSync(join(a, 'first')); // a folder is no program
      process.env.PATH = ['', a, b].join(delimiter);
      expect(findProgram(['none', 'first', 'second'])).to.equal(join(b, 'first'));
      expect(findProgram(['second'])).to.equal(join(a, 'second'));
      expect(findProgram(['none'])).to.equal(undefined);
      if (process.platform === 'win32') return;
      chmodSync(join(a, 'second'), 0o644);
      expect(findProgram(['second'])).to.equal(join(b, 'second'));
    });
  });

  describe('what a failed program said', () => {
    const result = (stderr: string, stdout = '') => ({
      ...{code: 1, signal: null, timedOut: false},
      ...{stdout, stderr},
    });

    it('is the first line that names an error, else the last', () => {
      expect(errorLine(result('at x\nTypeError: one\nError: two\nend\n'))).to.equal('TypeError: one');
      expect(errorLine(result('begin\nend\n'))).to.equal('end');
      expect(errorLine(result(' \n', 'out\nError: there\n'))).to.equal('Error: there');
    });

    it('is its last four lines, or as many as are wanted', () => {
      expect(lastLines(result('1\n2\n3\n4\n5\n'))).to.equal('2\n3\n4\n5');
      expect(lastLines(result('', '1\n2\n3'), 2)).to.equal('2\n3');
    });
  });
});
