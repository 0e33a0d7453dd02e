import {expect} from 'chai';
import {spawnSync} from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {fileURLToPath, pathToFileURL} from 'node:url';
import {cpuAddon} from '../../lib/provision/addons/cpu-addon.js';
import {addonPath, findAddon, provideAddon} from '../../lib/provision/addons/provide-addon.js';
import {moduleArgs, runModule, urlOf, type Finished} from '../support/child.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NATIVE = existsSync(join(ROOT, 'node_modules/@tensorflow/tfjs-node/lib'));

/** Loads a backend in a process of its own, computes with it and prints what came out as JSON. */
function load({
  name,
  module = urlOf('lib/backend/load.ts'),
  env = {},
  before = '',
}: {
  name?: string;
  module?: string;
  env?: NodeJS.ProcessEnv;
  before?: string;
}): Promise<Finished> {
  return runModule(
    `import * as tfjs from ${JSON.stringify(urlOf('node_modules/@tensorflow/tfjs/dist/tf.node.js'))};
    import {loadBackend} from ${JSON.stringify(module)};
    ${before}
    try {
      const {name, why, faster, tf} = await loadBackend({name: ${JSON.stringify(name)}});
      const x = tf.tensor2d([[1, 2], [3, 4]]);
      const product = tf.matMul(x, x).arraySync();
      const top = tf.topk(x).values.arraySync();
      const same = tfjs.getBackend() === tf.getBackend() && tf.Tensor === tfjs.Tensor;
      console.log(JSON.stringify({name, why, faster, registered: tf.getBackend(), product, top, same}));
    } catch (error) {
      console.log(JSON.stringify({code: error.code, message: error.message}));
    }`,
    {SPARSIFY_BACKEND: undefined, ...env},
  );
}

describe('loadBackend', () => {
  it('gives a result that prints in a few lines', async () => {
    const {stdout} = await runModule(
      `import {loadBackend} from ${JSON.stringify(urlOf('lib/backend/load.ts'))};
      console.log(await loadBackend({name: 'cpu'}));`,
      {SPARSIFY_BACKEND: undefined},
    );
    expect(stdout).to.include('asked for');
    expect(stdout.split('\n').length).to.be.below(12);
  });

  for (const {name, registered} of [
    {name: 'cpu', registered: 'cpu'},
    {name: 'wasm', registered: 'wasm'},
    {name: 'node', registered: 'tensorflow'},
  ]) {
    it(`loads ${name} on request into the one TensorFlow.js, without a word`, async function () {
      if (name === 'node' && !NATIVE) this.skip();
      // As on a processor for which TensorFlow turns oneDNN on by itself, and says so.
      const {stdout, stderr} = await load({name, env: {TF_ENABLE_ONEDNN_OPTS: '1'}});
      expect(stderr).to.equal('');
      expect(JSON.parse(stdout)).to.deep.include({
        ...{name, registered, same: true},
        ...{
          product: [
            [7, 10],
            [15, 22],
          ],
          top: [[2], [4]],
        },
      });
    });
  }

  it('loads node without a word in a worker too', async function () {
    if (!NATIVE) this.skip();
    const {stdout, stderr} = await runModule(
      `import {Worker} from 'node:worker_threads';
      const code = \`import(${JSON.stringify(urlOf('dist/lib/node.js'))}).then(async ({loadBackend}) => {
        const {name, tf} = await loadBackend({name: 'node'});
        console.log(name, tf.ones([2, 3]).sum().arraySync());
      })\`;
      await new Promise((resolve) => new Worker(code, {eval: true, execArgv: []}).once('exit', resolve));`,
      {TF_ENABLE_ONEDNN_OPTS: '1'},
    );
    expect({stdout, stderr}).to.deep.equal({stdout: 'node 6\n', stderr: ''});
  });

  it("leaves TensorFlow's warnings, from its first line on", async function () {
    if (!NATIVE) this.skip();
    const {stdout, stderr} = await load({name: 'node', env: {TF_ENABLE_ONEDNN_OPTS: 'perhaps'}});
    expect(stderr)
      .to.match(/^W.*TF_ENABLE_ONEDNN_OPTS is not set to/m)
      .and.not.match(/^I\d/m);
    expect(JSON.parse(stdout)).to.deep.include({top: [[2], [4]]});
  });

  it("leaves TensorFlow's information to who asks for it", async function () {
    if (!NATIVE) this.skip();
    const env = {TF_ENABLE_ONEDNN_OPTS: '1', TF_CPP_MIN_LOG_LEVEL: '0'};
    expect((await load({name: 'node', env})).stderr).to.contain('oneDNN custom operations are on');
  });

  it('follows SPARSIFY_BACKEND', async () => {
    const {stdout} = await load({env: {SPARSIFY_BACKEND: 'wasm'}});
    expect(JSON.parse(stdout)).to.include({name: 'wasm', why: 'it was asked for'});
  });

  it('rejects a SPARSIFY_BACKEND that it does not know', async () => {
    const {stdout} = await load({env: {SPARSIFY_BACKEND: 'webgl'}});
    expect(JSON.parse(stdout)).to.include({code: 'unknown-backend'});
  });

  it('rejects a backend that is not installed', async () => {
    const {stdout} = await load({name: 'node-gpu'});
    expect(JSON.parse(stdout)).to.include({code: 'backend-does-not-load'});
  });

  it('does not load a second node package into the process', async function () {
    if (!NATIVE) this.skip();
    const {stdout} = await load({
      name: 'node',
      // As if the program had imported tfjs-node-gpu itself.
      before: `tfjs.registerBackend('tensorflow', () => ({isGPUPackage: true, floatPrecision: () => 32}));
        await tfjs.setBackend('tensorflow');`,
    });
    expect(JSON.parse(stdout)).to.include({code: 'two-node-packages'});
  });

  it('switches between backends', async () => {
    const {stdout} = await load({name: 'cpu', before: "await loadBackend({name: 'wasm'});"});
    expect(JSON.parse(stdout)).to.include({name: 'cpu', registered: 'cpu'});
  });
});

describe('where the native kernels pass their trial but do not load in the program', () => {
  let cache: string;
  let env: NodeJS.ProcessEnv;
  let addon: string;
  const tfjsNodeDir = join(ROOT, 'node_modules/@tensorflow/tfjs-node');
  /** When the file says that it was made: a whole second, to be set again. */
  const MADE_S = 1e9;
  /** A cache of its own with a copy of the addon, which has been tried. */
  beforeEach(async function () {
    if (!NATIVE) this.skip();
    this.timeout(300_000); // built here if it is not yet
    const built = await provideAddon(cpuAddon, {packageFolder: tfjsNodeDir});
    if ('reason' in built) return this.skip();
    cache = mkdtempSync(join(tmpdir(), 'backend-spec-'));
    env = {XDG_CACHE_HOME: cache};
    const recipe = cpuAddon({packageFolder: tfjsNodeDir});
    if ('reason' in recipe) return this.skip();
    addon = addonPath(recipe, join(cache, 'tfjs-sparsify'));
    mkdirSync(dirname(addon), {recursive: true});
    cpSync(built.path, addon);
    utimesSync(addon, MADE_S, MADE_S);
    const found = await findAddon(cpuAddon, {
      ...{packageFolder: tfjsNodeDir, cache: join(cache, 'tfjs-sparsify')},
    });
    expect(found).to.deep.equal({path: addon});
  });
  afterEach(() => {
    if (cache !== undefined) rmSync(cache, {recursive: true});
  });

  /** Loads the backend and computes; `doctor` is asked afterwards. */
  const loadAndExamine = async (before = '') => {
    const {stdout} = await runModule(
      `import {loadBackend} from ${JSON.stringify(urlOf('lib/backend/load.ts'))};
      import {sparsifiedMatMul} from ${JSON.stringify(urlOf('lib/kernels/sparsified-matmul.ts'))};
      ${before}
      const {name, native, notice, tf} = await loadBackend({name: 'node'});
      const [x, kernel, bias] = [tf.tensor2d([[1, -3]]), tf.tensor2d([[5], [7]]), tf.tensor1d([4])];
      const y = sparsifiedMatMul(x, kernel, tf.scalar(2), {bias});
      console.log(JSON.stringify({name, native, notice, y: y.arraySync()}));`,
      {SPARSIFY_BACKEND: undefined, ...env},
    );
    const examined = await runModule(
      `import {doctor} from ${JSON.stringify(urlOf('lib/backend/doctor.ts'))};
      console.log(JSON.stringify((await doctor()).native));`,
      {SPARSIFY_BACKEND: 'node', ...env},
    );
    return {
      loaded: JSON.parse(stdout) as {native: {reason: string}; notice: string},
      doctor: JSON.parse(examined.stdout) as {loads: boolean; reason: string},
    };
  };

  it('goes on without a file that was damaged since, and doctor says that it does not load', async () => {
    const whole = readFileSync(addon);
    writeFileSync(addon, new Uint8Array(whole.length));
    utimesSync(addon, MADE_S, MADE_S);
    const {loaded, doctor} = await loadAndExamine();
    expect(loaded).to.deep.include({name: 'node', y: [[-17]]});
    expect(loaded.native.reason).to.contain(`${addon} could not be loaded`);
    expect(loaded.notice).to.equal(`going on without the native sparse kernels: ${loaded.native.reason}`);
    expect(doctor.loads).to.equal(false);
    expect(doctor.reason).to.contain(addon);

    // Set-up on demand builds it again: here with a compiler that links what was compiled before.
    writeFileSync(join(cache, 'whole.node'), whole);
    const compiler = join(cache, 'compiler');
    writeFileSync(
      compiler,
      `#!/bin/sh
      case "$*" in *-shared*) cp ${join(cache, 'whole.node')} "$2";; *) for last; do :; done; echo > "$last";; esac`,
      {mode: 0o755},
    );
    const {CXX} = process.env;
    process.env.CXX = compiler;
    try {
      const lines: string[] = [];
      const options = {
        ...{packageFolder: tfjsNodeDir, cache: join(cache, 'tfjs-sparsify'), force: true},
        log: (line: string) => void lines.push(line),
      };
      expect(await provideAddon(cpuAddon, options)).to.deep.equal({path: addon});
      expect(lines[0]).to.contain('building the native kernels again').and.contain(doctor.reason);
      expect(readFileSync(addon)).to.deep.equal(whole);
    } finally {
      if (CXX === undefined) delete process.env.CXX;
      else process.env.CXX = CXX;
    }
  });

  it('goes on in a program that refuses the addon, and doctor knows of it', async () => {
    const {loaded, doctor} = await loadAndExamine(
      `const {dlopen} = process;
      process.dlopen = (module, path, ...rest) => {
        if (path.endsWith('sparsify.node')) throw new Error('only known addons are allowed');
        return dlopen(module, path, ...rest);
      };`,
    );
    expect(loaded).to.deep.include({name: 'node', y: [[-17]]});
    expect(loaded.native.reason).to.contain('only known addons are allowed');
    expect(loaded.notice).to.equal(`going on without the native sparse kernels: ${loaded.native.reason}`);
    expect(doctor).to.deep.equal({loads: true, reason: loaded.native.reason});
  });
});

describe('where tfjs-node has no native part', () => {
  let copy: string;
  /** A copy of this package's sources with the same packages, except that tfjs-node was only just unpacked. */
  before(() => {
    copy = mkdtempSync(join(tmpdir(), 'backend-spec-'));
    for (const name of ['lib', 'scripts', 'package.json']) {
      cpSync(join(ROOT, name), join(copy, name), {recursive: true});
    }
    const scope = join('node_modules', '@tensorflow');
    mkdirSync(join(copy, scope), {recursive: true});
    for (const [folder, without] of [
      ['node_modules', '@tensorflow'],
      [scope, 'tfjs-node'],
    ]) {
      for (const name of readdirSync(join(ROOT, folder)).filter((entry) => entry !== without)) {
        symlinkSync(join(ROOT, folder, name), join(copy, folder, name));
      }
    }
    for (const name of ['package.json', 'dist']) {
      cpSync(join(ROOT, scope, 'tfjs-node', name), join(copy, scope, 'tfjs-node', name), {recursive: true});
    }
  });
  after(() => rmSync(copy, {recursive: true}));

  it('loadBackend takes wasm and says what would be faster', async () => {
    const {stdout} = await load({module: pathToFileURL(join(copy, 'lib/backend/load.ts')).href});
    const result = JSON.parse(stdout) as Record<string, unknown>;
    expect(result).to.include({name: 'wasm', registered: 'wasm'});
    expect(result.why).to.contain('native part is missing');
    expect(result.faster).to.deep.include({command: 'npx tfjs-sparsify provision'});
  });

  it('set-up says so in one line, with what would help', () => {
    const module = pathToFileURL(join(copy, 'scripts/set-up/backend.ts')).href;
    const code = `import {ensureBackend} from ${JSON.stringify(module)}; await ensureBackend();`;
    const {stdout, stderr, status} = spawnSync(process.execPath, moduleArgs(code), {
      env: {...process.env, TFJS_SPARSIFY_PROVISION: 'off'},
      encoding: 'utf8',
    });
    expect({stdout, status}).to.deep.equal({stdout: '', status: 0});
    expect(stderr.trim().split('\n')).to.have.length(1);
    expect(stderr).to.contain('going on with the wasm backend').and.contain('What would help:');
  });
});
