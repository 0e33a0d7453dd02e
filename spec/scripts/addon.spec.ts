import {expect} from 'chai';
import {existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {compileAll} from '../../scripts/provision/addon.mjs';
import {provisionGpuNative} from '../../scripts/provision/native-gpu.mjs';
import {provisionNative} from '../../scripts/provision/native.mjs';

describe('building an addon', () => {
  let folder: string;
  const environment = {...process.env};
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'addon-spec-'));
    delete process.env.SPARSIFY_NATIVE;
    delete process.env.TFJS_SPARSIFY_PROVISION;
  });
  afterEach(() => {
    rmSync(folder, {recursive: true});
    for (const name of ['SPARSIFY_NATIVE', 'TFJS_SPARSIFY_PROVISION', 'PATH', 'CXX']) {
      if (environment[name] === undefined) delete process.env[name];
      else process.env[name] = environment[name];
    }
  });

  /** A compiler of which one unit fails once another writes without end; all write down their process ids. */
  const makeCompiler = (name: string, failing: string): string => {
    const path = join(folder, name);
    const script = `#!/bin/sh
      for last; do :; done
      case "$*" in
        *stream.cc*) exit 0;;
        *${failing}*)
          sleep 0.5
          echo "x.cc:1: error: no such thing as x" >&2
          exit 1;;
      esac
      echo $$ >> ${join(folder, 'pids')}
      while :; do echo more >> "$last"; sleep 0.02; done`;
    writeFileSync(path, script, {mode: 0o755});
    return path;
  };

  /** Checks that nobody writes any more and that nothing is left. */
  const expectAllEnded = (cache: string, kind: string): void => {
    const pids = existsSync(join(folder, 'pids'))
      ? readFileSync(join(folder, 'pids'), 'utf8').trim().split('\n').map(Number)
      : []; // on one core there are no others
    for (const pid of pids) expect(() => process.kill(pid, 0), `compiler ${pid}`).to.throw('ESRCH');
    expect(readdirSync(join(cache, kind))).to.deep.equal([]);
    expect(existsSync(join(cache, `${kind}.lock`))).to.equal(false);
  };

  it('ends the other compilers when one fails, and says why', async function () {
    if (process.platform === 'win32') this.skip();
    process.env.CXX = makeCompiler('compiler', 'native/addon.cc');
    const cache = join(folder, 'cache');
    const result = await provisionNative({tfjsNodeDir: folder, cacheDir: cache});
    expect(result).to.have.property('reason').that.contains('x.cc:1: error: no such thing as x');
    expectAllEnded(cache, 'native');
  });

  it('ends the other nvccs when one fails, and says why', async function () {
    if (process.platform === 'win32') this.skip();
    mkdirSync(join(folder, 'bin'));
    makeCompiler('bin/nvcc', 'decoder-attention.cu');
    process.env.PATH = `${join(folder, 'bin')}:${process.env.PATH}`;
    const cache = join(folder, 'cache');
    const result = await provisionGpuNative({packageFolder: folder, cache});
    expect(result).to.have.property('reason').that.contains('x.cc:1: error: no such thing as x');
    expectAllEnded(cache, 'native-gpu');
  });

  describe('compileAll', () => {
    it('begins all units in their order, so many at a time as are allowed', async () => {
      const events: string[] = [];
      await compileAll(
        ['a', 'b', 'c'],
        async (unit) => {
          events.push(`${unit} begins`);
          await new Promise((resolve) => setImmediate(resolve));
          events.push(`${unit} ends`);
        },
        1,
      );
      expect(events).to.deep.equal(['a', 'b', 'c'].flatMap((unit) => [`${unit} begins`, `${unit} ends`]));
    });

    it('begins no other unit after a failure', async () => {
      const begun: string[] = [];
      const error: unknown = await compileAll(
        ['a', 'b', 'c'],
        (unit) => {
          begun.push(unit);
          return unit === 'b' ? Promise.reject(new Error('b fails')) : Promise.resolve();
        },
        1,
      ).catch((e: unknown) => e);
      expect(error).to.have.property('message', 'b fails');
      expect(begun).to.deep.equal(['a', 'b']);
    });
  });
});
