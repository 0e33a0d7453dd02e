import {expect} from 'chai';
import {spawn, spawnSync, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import {appendFile} from 'node:fs/promises';
import {hostname, tmpdir} from 'node:os';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {withLock} from '../../../lib/provision/processes/lock.js';
import {finished, moduleArgs, runModule, startModule, urlOf} from '../../support/child.js';

/** Some heartbeats, also on a machine that has much else to do. */
const SILENCE_MS = 4_000;

describe('withLock', () => {
  let folder: string;
  let lock: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'lock-spec-'));
    lock = join(folder, 'some.lock');
  });
  afterEach(() => rmSync(folder, {recursive: true}));

  /** Code that enters and leaves under the lock `times` times and writes both down. */
  const visitor = (times: number): string => `
    import {appendFileSync} from 'node:fs';
    import {setTimeout as sleep} from 'node:timers/promises';
    import {withLock} from ${JSON.stringify(urlOf('lib/provision/processes/lock.ts'))};
    for (let i = 0; i < ${times}; i++) {
      await withLock(${JSON.stringify(lock)}, async () => {
        appendFileSync(${JSON.stringify(join(folder, 'visits'))}, 'in ' + process.pid + '\\n');
        await sleep(5);
        appendFileSync(${JSON.stringify(join(folder, 'visits'))}, 'out ' + process.pid + '\\n');
      });
    }`;

  /** Checks that every `in` is followed by the same process's `out`. */
  const expectOneAtATime = (visits: number): void => {
    const lines = readFileSync(join(folder, 'visits'), 'utf8').trim().split('\n');
    expect(lines).to.have.length(2 * visits);
    for (let i = 0; i < lines.length; i += 2) {
      expect(lines[i + 1]).to.equal(lines[i].replace('in', 'out'));
    }
  };

  /** Code that takes the lock, prints `held` and keeps it; `then` runs under it. */
  const holding = (then = ''): string => `
    import {withLock} from ${JSON.stringify(urlOf('lib/provision/processes/lock.ts'))};
    await withLock(${JSON.stringify(lock)}, async () => {
      console.log('held');
      ${then}
      await new Promise(() => setInterval(() => {}, 1000));
    });`;

  /** Code that waits for the lock, prints what it is told meanwhile, and `entered`. */
  const waiting = (options = ''): string => `
    import {withLock} from ${JSON.stringify(urlOf('lib/provision/processes/lock.ts'))};
    await withLock(${JSON.stringify(lock)}, async () => console.log('entered'), {
      what: 'another visit', log: (line) => console.log(line), ${options}
    });`;

  const firstOutput = async (child: ChildProcess): Promise<string> => {
    const [chunk] = (await once(child.stdout!, 'data')) as [Buffer];
    return chunk.toString();
  };

  /** Leaves the lock behind as a process does that is killed while it holds it. */
  const killHolder = async (): Promise<void> => {
    const holder = startModule(holding());
    await firstOutput(holder);
    const end = finished(holder);
    holder.kill('SIGKILL');
    await end;
    expect(existsSync(lock)).to.equal(true);
  };

  /** Waits for the lock in this process. */
  const enter = async (silenceMs?: number): Promise<readonly string[]> => {
    const lines: string[] = [];
    const options = {what: 'another visit', log: (line: string) => void lines.push(line), silenceMs};
    expect(await withLock(lock, () => Promise.resolve('entered'), options)).to.equal('entered');
    expect(readdirSync(folder).filter((name) => name.startsWith('some.lock'))).to.deep.equal([]);
    return lines;
  };

  it('lets one of two processes in at a time', async () => {
    const ends = await Promise.all([runModule(visitor(10)), runModule(visitor(10))]);
    expect(ends.map(({code}) => code)).to.deep.equal([0, 0]);
    expectOneAtATime(20);
    expect(existsSync(lock)).to.equal(false);
  });

  it('is given back when the body throws', async () => {
    const error = await withLock(lock, () => Promise.reject(new Error('body'))).catch((e: Error) => e);
    expect(error).to.have.property('message', 'body');
    expect(existsSync(lock)).to.equal(false);
  });

  it('says at once for whom it waits, and again', async () => {
    const holder = startModule(holding());
    const end = finished(holder);
    await firstOutput(holder);
    const lines: string[] = [];
    const entered = withLock(lock, () => Promise.resolve(), {
      ...{what: 'another visit', silenceMs: SILENCE_MS},
      log(line: string) {
        lines.push(line);
        if (lines.length === 2) holder.kill('SIGTERM');
      },
    });
    await Promise.all([entered, end]);
    expect(lines[0]).to.equal(`waiting for another visit (process ${holder.pid})`);
    expect(lines[1]).to.match(
      new RegExp(
        `^still waiting for another visit \\(process ${holder.pid}\\) after \\d+ s; if it hangs, end that process$`,
      ),
    );
  });

  describe('of a process that was killed', () => {
    it('is taken over by one of several at a time', async () => {
      await killHolder();
      const ends = await Promise.all([1, 2, 3].map(() => runModule(visitor(3))));
      expect(ends.map(({code}) => code)).to.deep.equal([0, 0, 0]);
      expectOneAtATime(9);
    });

    it('is left to who took it over later', async () => {
      await killHolder();
      const controller = new AbortController();
      let hasEntered = false;
      const waited = withLock(lock, () => Promise.resolve((hasEntered = true)), {signal: controller.signal});
      const theirs = JSON.stringify({host: 'elsewhere', pid: 1, started: '1', space: 'theirs'});
      while (!readFileSync(lock, 'utf8').includes(`"pid":${process.pid},`)) await sleep(10);
      writeFileSync(`${lock}.theirs`, theirs);
      renameSync(`${lock}.theirs`, lock);
      setTimeout(() => controller.abort(new Error('enough')), 2_000);
      expect(await waited.catch((e: unknown) => e)).to.have.property('message', 'enough');
      expect(hasEntered).to.equal(false);
      expect(readFileSync(lock, 'utf8')).to.equal(theirs);
    });

    // What earlier versions left when they were killed while they took a lock over.
    for (const [what, leave] of [
      ['folder', (path: string) => mkdirSync(path)],
      ['file', (path: string) => writeFileSync(path, 'x')],
    ] as const) {
      it(`is taken over beside a left-over ${what} of a takeover`, async () => {
        await killHolder();
        leave(`${lock}.takeover`);
        const end = await runModule(waiting());
        expect(end).to.include({code: 0, stdout: 'entered\n'});
      });
    }

    it('is taken over when its parent has not noticed that it ended', async function () {
      if (process.platform !== 'linux') this.skip(); // only there it is seen
      const code = holding('process.kill(process.pid, "SIGKILL");');
      // The shell becomes a program that waits for no child.
      const parent = spawn('sh', ['-c', '"$0" "$@" & exec sleep 60', process.execPath, ...moduleArgs(code)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const end = once(parent, 'exit');
      await firstOutput(parent);
      await enter();
      expect(parent.exitCode).to.equal(null); // it was not waited for
      parent.kill('SIGKILL');
      await end;
    });

    it('is taken over when the process id belongs to another process by now', async function () {
      if (process.platform !== 'linux') this.skip();
      await killHolder();
      const holder = JSON.parse(readFileSync(lock, 'utf8')) as object;
      writeFileSync(lock, JSON.stringify({...holder, pid: process.pid}));
      await enter();
    });
  });

  describe('of a process that cannot be seen', () => {
    for (const [what, content] of [
      ['an empty file', ''],
      ['a torn file', '{"host":"here","pid":12'],
      ['a file that is no holder', 'null'],
      ['a file with a process id that is none', '{"host":"here","pid":-1,"started":"1","space":"x"}'],
      ['a file of another machine', '{"host":"elsewhere","pid":1,"started":"1","space":"theirs"}'],
      ['a file of an earlier version', `{"host":"${hostname()}","pid":1,"started":"1","token":"old"}`],
    ]) {
      it(`is taken over from ${what} when nobody touches it, and not in silence`, async () => {
        writeFileSync(lock, content);
        const lines = await enter(1_000);
        const who = content.includes('"pid":1,') ? 'process 1 on ' : `${lock} names nobody`;
        expect(lines[0])
          .to.match(/^waiting for another visit \(/)
          .and.contain(who);
        expect(lines.at(-1)).to.contain('still waiting').and.contain('it is passed over after 1 s');
      });
    }

    // As from a container with this host name and a count of processes of its own.
    it('is not taken while it is touched, though its process id is nobody or somebody else here', async () => {
      for (const pid of [2 ** 22 + 1, process.pid]) {
        writeFileSync(lock, JSON.stringify({host: hostname(), pid, started: '1', space: 'another count'}));
        const controller = new AbortController();
        const heartbeat = setInterval(() => utimesSync(lock, new Date(), new Date()), 100);
        setTimeout(() => controller.abort(new Error('still taken')), 3_000);
        const error: unknown = await withLock(lock, () => Promise.resolve(), {
          ...{silenceMs: 1_500, signal: controller.signal},
        }).catch((e: unknown) => e);
        clearInterval(heartbeat);
        expect(error).to.have.property('message', 'still taken');
      }
    });

    it('is not taken by the clock: a file from the future or long ago counts from when it was seen', async () => {
      for (const date of ['2000-01-01', '2099-01-01']) {
        writeFileSync(lock, '');
        utimesSync(lock, new Date(date), new Date(date));
        expect((await enter(1_000)).length).to.be.at.least(3);
      }
    });

    it('keeps a lock apart between containers of one host name', async function () {
      const inside = ['--user', '--map-root-user', '--pid', '--fork', '--mount-proc'];
      if (spawnSync('unshare', [...inside, 'true']).status !== 0) this.skip(); // not allowed here
      const containers = ['a', 'b'].map((name) => {
        const visit = visitor(2).replaceAll('process.pid', JSON.stringify(name)); // both are process 1
        return spawn('unshare', [...inside, process.execPath, ...moduleArgs(visit)]);
      });
      const ends = await Promise.all([...containers.map((child) => finished(child)), runModule(visitor(2))]);
      expect(ends.map(({code}) => code)).to.deep.equal([0, 0, 0]);
      expectOneAtATime(6);
    });

    it('is not taken while it lives, when its file was cut off', async () => {
      const holder = startModule(`
        import {appendFileSync} from 'node:fs';
        import {setTimeout as sleep} from 'node:timers/promises';
        ${holding(`
          await sleep(${2 * SILENCE_MS});
          appendFileSync(${JSON.stringify(join(folder, 'visits'))}, 'left\\n');
          return;`)}`);
      const end = finished(holder);
      await firstOutput(holder);
      truncateSync(lock);
      const lines: string[] = [];
      await withLock(lock, async () => appendFile(join(folder, 'visits'), 'entered\n'), {
        ...{silenceMs: SILENCE_MS, log: (line: string) => void lines.push(line)},
      });
      expect(await end).to.include({code: 0, stderr: ''});
      expect(readFileSync(join(folder, 'visits'), 'utf8')).to.equal('left\nentered\n');
      expect(lines[0]).to.contain('names nobody');
      expect(existsSync(lock)).to.equal(false);
    });
  });

  describe('on a signal', () => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      it(`${signal} ends the wait and leaves the lock to its holder`, async () => {
        const content = JSON.stringify({host: 'elsewhere', pid: 1, started: '1', space: 'theirs'});
        writeFileSync(lock, content);
        const waiter = startModule(waiting());
        const end = once(waiter, 'exit');
        expect(await firstOutput(waiter)).to.equal('waiting for another visit (process 1 on elsewhere)\n');
        waiter.kill(signal);
        expect(await end).to.deep.equal([null, signal]);
        expect(readFileSync(lock, 'utf8')).to.equal(content);
      });

      it(`${signal} ends the holder and gives the lock back`, async () => {
        const holder = startModule(holding());
        const end = once(holder, 'exit');
        await firstOutput(holder);
        holder.kill(signal);
        expect(await end).to.deep.equal([null, signal]);
        expect(existsSync(lock)).to.equal(false);
      });
    }

    it('does not begin when it is aborted already', async () => {
      const options = {signal: AbortSignal.abort(new Error('before'))};
      const error: unknown = await withLock(lock, () => Promise.resolve('entered'), options).catch(
        (e: unknown) => e,
      );
      expect(error).to.have.property('message', 'before');
      expect(existsSync(lock)).to.equal(false);
    });

    it('ends the wait by an abort signal with its reason', async () => {
      writeFileSync(lock, '');
      const controller = new AbortController();
      const waited = withLock(lock, () => Promise.resolve('entered'), {
        signal: controller.signal,
        log: () => controller.abort(new Error('stopped')),
      });
      expect(await waited.catch((e: unknown) => e)).to.have.property('message', 'stopped');
      expect(existsSync(lock)).to.equal(true);
    });

    it('leaves the lock to a body that ends by itself, as the program has it', async () => {
      const holder = startModule(`
        process.once('SIGINT', () => setTimeout(() => process.exit(7), 300));
        ${holding()}`);
      const end = once(holder, 'exit');
      await firstOutput(holder);
      holder.kill('SIGINT');
      await sleep(100);
      expect(existsSync(lock)).to.equal(true);
      expect(await end).to.deep.equal([7, null]);
      expect(existsSync(lock)).to.equal(false);
    });

    it('leaves no listener behind', async () => {
      const counts = () => ['SIGINT', 'SIGTERM', 'SIGHUP', 'exit'].map((name) => process.listenerCount(name));
      const before = counts();
      const inside = await withLock(lock, () => withLock(`${lock}.other`, () => Promise.resolve(counts())));
      expect(inside).to.deep.equal(before.map((count) => count + 1));
      expect(counts()).to.deep.equal(before);
    });
  });
});
