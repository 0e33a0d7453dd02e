import {expect} from 'chai';
import {zipSync} from 'fflate';
import {execFileSync} from 'node:child_process';
import {createHash} from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {removePartials} from '../../lib/provision/cache.js';
import {checkNodePackage} from '../../lib/provision/node-package/load-check.js';
import {findProgram} from '../../lib/provision/processes/programs.js';
import {ProvisionError} from '../../lib/provision/provision-error.js';
import {provision} from '../../lib/provision/tfjs-node.js';
import {fetchLibtensorflow} from '../../lib/provision/wheels/libtensorflow.js';
import {finished, startModule, urlOf} from '../support/child.js';

describe('provisioning', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'provision-spec-'));
  });
  afterEach(() => rmSync(folder, {recursive: true}));

  describe('fetchLibtensorflow', () => {
    const project = 'sparsify-spec-fixture';

    /** Makes a wheel with the layout of TensorFlow's, a few bytes large, and what fetching it needs. */
    const makeWheel = () => {
      const index = join(folder, 'index');
      mkdirSync(index);
      const info = 'sparsify_spec_fixture-1.0.dist-info';
      const bytes = zipSync(
        Object.fromEntries(
          Object.entries({
            'tensorflow/libtensorflow_cc.so.2': 'the library',
            'tensorflow/libtensorflow_framework.so.2': 'its framework',
            'tensorflow/include/tensorflow/c/c_api.h': 'a header',
            'tensorflow/include/external/llvm/large.h': 'not needed',
            'tensorflow/python/not_needed.py': 'not needed',
            [`${info}/METADATA`]: `Metadata-Version: 2.1\nName: ${project}\nVersion: 1.0\n`,
            [`${info}/WHEEL`]:
              'Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-cp311-manylinux_2_27_x86_64\n',
            [`${info}/RECORD`]: '',
          }).map(([name, text]) => [name, new TextEncoder().encode(text)]),
        ),
      );
      writeFileSync(join(index, 'sparsify_spec_fixture-1.0-cp311-cp311-manylinux_2_27_x86_64.whl'), bytes);
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      return {
        wheel: {project, version: '1.0', platform: 'manylinux_2_27_x86_64', sha256},
        python: findProgram(['python3', 'python']) ?? '',
        log: () => {},
        pipArgs: ['--no-index', '--find-links', index],
      };
    };

    before(function () {
      // Without Python there is nothing to fetch with, which has a spec of its own below.
      if (findProgram(['python3', 'python']) === undefined) this.skip();
    });

    it('unpacks libraries and headers, links them, and deletes the wheel', async () => {
      const cache = join(folder, 'cache');
      const target = join(cache, 'libtensorflow');
      await fetchLibtensorflow(target, makeWheel());
      expect(readdirSync(cache)).to.deep.equal(['libtensorflow']);
      expect(readdirSync(target).sort()).to.deep.equal(['include', 'lib', 'source.json']);
      expect(readFileSync(join(target, 'lib', 'libtensorflow.so'), 'utf8')).to.equal('the library');
      expect(readlinkSync(join(target, 'lib', 'libtensorflow.so'))).to.equal('libtensorflow_cc.so.2');
      expect(readFileSync(join(target, 'include/tensorflow/c/c_api.h'), 'utf8')).to.equal('a header');
      expect(existsSync(join(target, 'include/external'))).to.equal(false);
    });

    it('rejects a wheel with another checksum and leaves nothing', async () => {
      const {wheel, ...rest} = makeWheel();
      const expected = '0'.repeat(64);
      const cache = join(folder, 'cache');
      const error: unknown = await fetchLibtensorflow(join(cache, 'libtensorflow'), {
        ...rest,
        wheel: {...wheel, sha256: expected},
      }).catch((e: unknown) => e);
      expect(error).to.be.instanceOf(ProvisionError).with.property('code', 'checksum-mismatch');
      expect(error).to.have.property('message').that.contains(wheel.sha256).and.contains(expected);
      expect(readdirSync(cache)).to.deep.equal([]);
    });

    it('says what pip said when it finds no wheel, and leaves nothing', async () => {
      const {wheel, ...rest} = makeWheel();
      const cache = join(folder, 'cache');
      const error: unknown = await fetchLibtensorflow(join(cache, 'libtensorflow'), {
        ...rest,
        wheel: {...wheel, version: '9.9'},
      }).catch((e: unknown) => e);
      expect(error).to.be.instanceOf(ProvisionError).with.property('code', 'download-failed');
      expect(error).to.have.property('message').that.contains(`${project}==9.9`);
      expect(readdirSync(cache)).to.deep.equal([]);
    });
  });

  it('killed half-way, leaves nothing under the final name, and the next one clears the rest', async () => {
    const target = join(folder, 'cache', 'libtensorflow');
    const child = startModule(`
      import {writeFileSync} from 'node:fs';
      import {join} from 'node:path';
      import {publishFolder} from ${JSON.stringify(urlOf('lib/provision/cache.ts'))};
      await publishFolder(${JSON.stringify(target)}, (partial) => {
        writeFileSync(join(partial, 'half'), 'written');
        console.log('half-way');
        return new Promise(() => setInterval(() => {}, 1000));
      });`);
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    const end = finished(child);
    child.kill('SIGKILL');
    await end;
    expect(existsSync(target)).to.equal(false);
    expect(readdirSync(join(folder, 'cache'))).to.have.length(1);
    removePartials(join(folder, 'cache'));
    expect(readdirSync(join(folder, 'cache'))).to.deep.equal([]);
  });

  /** A tfjs-node package: its main file holds `main`, its native part is not a library. */
  const makePackage = (main: string): string => {
    const packageFolder = join(folder, 'tfjs-node');
    mkdirSync(join(packageFolder, 'dist'), {recursive: true});
    mkdirSync(join(packageFolder, 'lib', 'napi-v8'), {recursive: true});
    mkdirSync(join(packageFolder, 'node_modules', '@tensorflow'), {recursive: true});
    const tfjs = new URL('../../node_modules/@tensorflow/tfjs', import.meta.url);
    symlinkSync(tfjs, join(packageFolder, 'node_modules', '@tensorflow', 'tfjs'));
    writeFileSync(
      join(packageFolder, 'package.json'),
      JSON.stringify({name: 'tfjs-node', version: '4.22.0'}),
    );
    writeFileSync(join(packageFolder, 'dist', 'index.js'), main);
    writeFileSync(join(packageFolder, 'lib', 'napi-v8', 'tfjs_binding.node'), 'not a library');
    return packageFolder;
  };
  /** Stands for a working native part: the cpu backend under its name. */
  const WORKING = `
    const tf = require('@tensorflow/tfjs');
    tf.registerBackend('tensorflow', () => tf.findBackend('cpu'));
    for (const kernel of tf.getKernelsForBackend('cpu')) tf.registerKernel({...kernel, backendName: 'tensorflow'});`;

  describe('checkNodePackage', () => {
    const cache = (): string => join(folder, 'cache');

    it('says that the native part is missing', async () => {
      const packageFolder = makePackage('');
      rmSync(join(packageFolder, 'lib'), {recursive: true});
      const {loads, reason} = await checkNodePackage(packageFolder, {cache: cache()});
      expect(loads).to.equal(false);
      expect(reason).to.contain('tfjs_binding.node').and.contain(packageFolder);
    });

    it('survives a native part that cannot be loaded', async () => {
      const packageFolder = makePackage("require('../lib/napi-v8/tfjs_binding.node')");
      const {loads, reason} = await checkNodePackage(packageFolder, {cache: cache()});
      expect(loads).to.equal(false);
      expect(reason).to.match(/^Error: .*tfjs_binding\.node/);
    });

    it('survives a native part that crashes', async () => {
      const packageFolder = makePackage("process.kill(process.pid, 'SIGSEGV')");
      const {loads, reason} = await checkNodePackage(packageFolder, {cache: cache()});
      expect(loads).to.equal(false);
      expect(reason).to.equal('loading ended the process with SIGSEGV');
    });

    it('remembers what loads until its files change', async () => {
      const packageFolder = makePackage(WORKING);
      expect(await checkNodePackage(packageFolder, {cache: cache()})).to.include({loads: true, reason: ''});
      writeFileSync(join(packageFolder, 'dist', 'index.js'), "throw new Error('broken')");
      expect(await checkNodePackage(packageFolder, {cache: cache()})).to.include({loads: true});
      expect(await checkNodePackage(packageFolder, {cache: cache(), fresh: true})).to.include({loads: false});
      writeFileSync(join(packageFolder, 'lib', 'napi-v8', 'tfjs_binding.node'), 'another one');
      expect(await checkNodePackage(packageFolder, {cache: cache()})).to.deep.include({
        loads: false,
        reason: 'Error: broken',
      });
    });
  });

  describe('provision', () => {
    const environment = {...process.env};
    beforeEach(() => {
      delete process.env.TFJS_SPARSIFY_PROVISION;
      process.env.SPARSIFY_NATIVE = 'off';
    });
    afterEach(() => {
      process.env.PATH = environment.PATH;
      for (const name of ['TFJS_SPARSIFY_PROVISION', 'SPARSIFY_NATIVE']) {
        if (environment[name] === undefined) delete process.env[name];
        else process.env[name] = environment[name];
      }
    });

    it('does nothing when the package loads', async () => {
      const lines: string[] = [];
      const options = {packageFolder: makePackage(WORKING), cache: join(folder, 'cache')};
      const result = await provision({...options, log: (line: string) => lines.push(line)});
      expect(result).to.include({state: 'ready', how: 'binding', reason: '', help: ''});
      expect(lines).to.deep.equal([]);
    });

    it('goes on without native kernels where there is no compiler, and says so once', async () => {
      delete process.env.SPARSIFY_NATIVE;
      process.env.PATH = '';
      const lines: string[] = [];
      const options = {packageFolder: makePackage(WORKING), cache: join(folder, 'cache')};
      for (let i = 0; i < 2; i++) {
        const {state, native} = await provision({...options, log: (line: string) => lines.push(line)});
        expect(state).to.equal('ready');
        expect(native).to.have.property('reason').that.includes('no C++ compiler');
      }
      expect(lines).to.have.length(1);
      expect(lines[0]).to.include('without the native sparse kernels').and.include('install one');
    });

    it('installs nothing with TFJS_SPARSIFY_PROVISION=off', async () => {
      process.env.TFJS_SPARSIFY_PROVISION = 'off';
      const packageFolder = makePackage("throw new Error('broken')");
      const result = await provision({packageFolder, cache: join(folder, 'cache')});
      expect(result).to.include({state: 'off', tensorflow: null});
      expect(result.reason).to.contain('broken').and.contain('TFJS_SPARSIFY_PROVISION=off');
      expect(existsSync(join(folder, 'cache'))).to.equal(false);
    });

    for (const {without, programs, help} of [
      {without: 'Python', programs: [], help: 'python3-pip'},
      {without: 'a compiler', programs: ['python3'], help: 'build-essential'},
    ]) {
      it(`without ${without}, says what would help, and once more without trying again`, async function () {
        if (!['linux-x64', 'linux-arm64'].includes(`${process.platform}-${process.arch}`)) this.skip();
        const bin = join(folder, 'bin');
        mkdirSync(bin);
        for (const name of programs) {
          // What PATH leads to may itself be a script that needs PATH.
          const real = execFileSync(name, ['-c', 'import sys; print(sys.executable)'], {
            encoding: 'utf8',
          }).trim();
          writeFileSync(join(bin, name), `#!/bin/sh\nexec "${real}" "$@"\n`, {mode: 0o755});
        }
        process.env.PATH = bin;
        const options = {
          packageFolder: makePackage("throw new Error('broken')"),
          cache: join(folder, 'cache'),
        };
        const lines: string[] = [];
        const log = (line: string) => lines.push(line);

        const first = await provision({...options, log});
        expect(first.state).to.equal('unavailable');
        expect(first.help).to.contain(help);
        expect(lines).to.have.length(1);

        expect(await provision({...options, log})).to.deep.equal(first);
        expect(lines).to.have.length(1);

        await provision({...options, log, force: true});
        expect(lines).to.have.length(2);
      });
    }
  });
});
