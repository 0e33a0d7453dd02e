import {expect} from 'chai';
import {existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {hostname, tmpdir} from 'node:os';
import {join} from 'node:path';
import {withLock} from '../../scripts/provision/lock.mjs';
import {finished, runModule, startModule, urlOf} from '../child.js';

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
    import {withLock} from ${JSON.stringify(urlOf('scripts/provision/lock.mjs'))};
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

  /** Leaves the lock behind as a process does that is killed while it holds it. */
  const killHolder = async (): Promise<void> => {
    const holder = startModule(`
      import {withLock} from ${JSON.stringify(urlOf('scripts/provision/lock.mjs'))};
      await withLock(${JSON.stringify(lock)}, () => {
        console.log('held');
        return new Promise(() => setInterval(() => {}, 1000));
      });`);
    await new Promise((resolve) => holder.stdout?.once('data', resolve));
    const end = finished(holder);
    holder.kill('SIGKILL');
    await end;
    expect(existsSync(lock)).to.equal(true);
  };

  it('lets one of two processes in at a time', async () => {
    const ends = await Promise.all([runModule(visitor(10)), runModule(visitor(10))]);
    expect(ends.map(({code}) => code)).to.deep.equal([0, 0]);
    expectOneAtATime(20);
    expect(existsSync(lock)).to.equal(false);
  });

  it('is taken over from a process that was killed, by one of several at a time', async () => {
    await killHolder();
    const ends = await Promise.all([1, 2, 3].map(() => runModule(visitor(3))));
    expect(ends.map(({code}) => code)).to.deep.equal([0, 0, 0]);
    expectOneAtATime(9);
  });

  it('is taken over when the process id belongs to another process by now', async function () {
    // Only Linux tells when a process started.
    if (process.platform !== 'linux') this.skip();
    writeFileSync(lock, JSON.stringify({host: hostname(), pid: process.pid, started: '1', token: 'old'}));
    expect(await withLock(lock, () => Promise.resolve('entered'))).to.equal('entered');
  });

  it('is not taken from another machine whose heartbeat is fresh', async () => {
    writeFileSync(lock, JSON.stringify({host: 'elsewhere', pid: 1, started: '1', token: 'theirs'}));
    let entered: Promise<void> | undefined;
    const holder = await new Promise<{host: string}>((resolve) => {
      entered = withLock(lock, () => Promise.resolve(), {onWait: resolve});
    });
    expect(holder.host).to.equal('elsewhere');
    expect(readFileSync(lock, 'utf8')).to.contain('theirs');
    rmSync(lock);
    await entered;
  });

  it('is given back when the body throws', async () => {
    const error = await withLock(lock, () => Promise.reject(new Error('body'))).catch((e: Error) => e);
    expect(error).to.have.property('message', 'body');
    expect(existsSync(lock)).to.equal(false);
  });
});
