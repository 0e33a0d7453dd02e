import {expect} from 'chai';
import {existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {buildAddon, compileAll} from '../../../lib/provision/addons/compile.js';
import {cpuAddon} from '../../../lib/provision/addons/cpu-addon.js';
import {gpuAddon} from '../../../lib/provision/addons/gpu-addon.js';
import {provideAddon} from '../../../lib/provision/addons/provide-addon.js';

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
    const result = await provideAddon(cpuAddon, {packageFolder: folder, cache});
    expect(result).to.have.property('reason').that.contains('x.cc:1: error: no such thing as x');
    expectAllEnded(cache, 'native');
  });

  it('ends the other nvccs when one fails, and says why', async function () {
    if (process.platform === 'win32') this.skip();
    mkdirSync(join(folder, 'bin'));
    makeCompiler('bin/nvcc', 'decoder-attention.cu');
    process.env.PATH = `${join(folder, 'bin')}:${process.env.PATH}`;
    const cache = join(folder, 'cache');
    const result = await provideAddon(gpuAddon, {packageFolder: folder, cache});
    expect(result).to.have.property('reason').that.contains('x.cc:1: error: no such thing as x');
    expectAllEnded(cache, 'native-gpu');
  });

  describe('with a unit that may lack its headers', () => {
    before(function () {
      if (process.platform === 'win32') this.skip();
    });

    /** Builds the CUDA addon with a program for nvcc; gives what it was asked for stream.cc and for the addon, and the log. */
    const build = async ({hasHeaders, refuses = ''}: {hasHeaders: boolean; refuses?: string}) => {
      const headers = join(folder, 'deps', 'include', 'tensorflow', 'core', 'framework');
      if (hasHeaders) {
        mkdirSync(headers, {recursive: true});
        writeFileSync(join(headers, 'op_kernel.h'), '');
      }
      mkdirSync(join(folder, 'bin'));
      const script = `#!/bin/sh
        echo "$*" >> ${join(folder, 'commands')}
        for last; do :; done
        case "$*" in
          *${refuses || 'REFUSED'}*) echo "x.h:1: fatal error: not as known" >&2; exit 1;;
          *-shared*) : > "$2";;
          *) : > "$last";;
        esac`;
      writeFileSync(join(folder, 'bin', 'nvcc'), script, {mode: 0o755});
      process.env.PATH = `${join(folder, 'bin')}:${process.env.PATH}`;
      const recipe = await gpuAddon({packageFolder: folder, cache: join(folder, 'cache')});
      if ('reason' in recipe) throw new Error(recipe.reason);
      const lines: string[] = [];
      const output = join(folder, 'output');
      mkdirSync(output);
      await buildAddon(recipe, output, (line) => lines.push(line));
      expect(readdirSync(output)).to.deep.equal(['sparsify-gpu.node']);
      const commands = readFileSync(join(folder, 'commands'), 'utf8').trim().split('\n');
      return {
        stream: commands.filter((command) => command.includes('cuda/stream.cc')),
        link: commands.filter((command) => command.includes('-shared')),
        lines,
      };
    };

    it('compiles it against them first, and links what they belong to', async () => {
      const {stream, link, lines} = await build({hasHeaders: true});
      expect(stream).to.have.length(1);
      expect(stream[0]).to.contain(`-I ${join(folder, 'deps', 'include')}`);
      expect(link).to.have.length(1);
      expect(link[0]).to.contain('cuda-stream.cc.o').and.contain('-l:libtensorflow_cc.so.2');
      expect(lines).to.deep.equal(['building the CUDA kernels (with nvcc, about a minute)']);
    });

    it('compiles it without them where they are missing, and says what that costs', async () => {
      const {stream, link, lines} = await build({hasHeaders: false});
      expect(stream).to.have.length(1);
      expect(stream[0]).not.to.contain(join(folder, 'deps'));
      expect(link[0]).to.contain('cuda-stream.cc.o').and.not.contain('libtensorflow');
      expect(lines.slice(1)).to.deep.equal([
        "TensorFlow's stream cannot be used, so every call waits: its headers are missing",
      ]);
    });

    it('compiles it once more without them where they do not compile', async () => {
      const {stream, link, lines} = await build({hasHeaders: true, refuses: 'SPARSIFY_TENSORFLOW_VERSION'});
      expect(stream).to.have.length(2);
      expect(stream[1]).not.to.contain(join(folder, 'deps'));
      expect(link[0]).not.to.contain('libtensorflow');
      expect(lines.slice(1)).to.deep.equal([
        "TensorFlow's stream cannot be used, so every call waits: " +
          'the CUDA kernels could not be built: x.h:1: fatal error: not as known',
      ]);
    });
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
