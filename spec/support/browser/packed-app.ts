/**
 * @file An application that has installed this package: unpacked from the tarball that npm would publish, with nothing beside
 * it but what package.json says that it depends on, linked from this checkout.
 */
import {execFileSync, spawn, type ChildProcess} from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {finished, quietly} from '../child.js';
import {ROOT} from '../guides.js';

interface PackageJson {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
}

/** Their programs, in node_modules. */
const BUNDLERS = {vite: 'vite/bin/vite.js', esbuild: 'esbuild/bin/esbuild'};

let tarball: string | undefined;

/** The tarball of the package, made once in a process. */
function packed(): string {
  if (tarball !== undefined) return tarball;
  const folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-pack-'));
  process.once('exit', () => rmSync(folder, {recursive: true}));
  const pack = ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder];
  const onWindows = process.platform === 'win32'; // where npm is a batch file, which only a shell starts
  const name = execFileSync('npm', pack, {cwd: ROOT, encoding: 'utf8', shell: onWindows}).trim();
  tarball = join(folder, name);
  return tarball;
}

/** Call it in a `describe`: it makes the application's folder before the specs and removes it after them. */
export function packedApp(): {
  readonly path: string;
  /** Writes a file of the application; gives its path. */
  write(name: string, content: string | Uint8Array): string;
  /** Lays TensorFlow.js's binaries where its guide says, under the page's `wasm`. */
  writeWasmBinaries(): void;
  /** Runs a bundler of this checkout in the application's folder; what it prints. */
  run(bundler: keyof typeof BUNDLERS, ...args: readonly string[]): Promise<string>;
  /** As `run`, for a bundler that goes on until the caller ends it. */
  start(bundler: keyof typeof BUNDLERS, ...args: readonly string[]): ChildProcess;
} {
  let path = '';
  before(function () {
    this.timeout(300_000);
    path = realpathSync(mkdtempSync(join(tmpdir(), 'tfjs-sparsify-app-')));
    const modules = join(path, 'node_modules');
    const installed = join(modules, 'tfjs-sparsify');
    mkdirSync(installed, {recursive: true});
    execFileSync('tar', ['-xzf', packed(), '-C', installed, '--strip-components=1']);
    const {dependencies, peerDependencies} = JSON.parse(
      readFileSync(join(installed, 'package.json'), 'utf8'),
    ) as PackageJson;
    for (const name of Object.keys({...dependencies, ...peerDependencies})) {
      mkdirSync(dirname(join(modules, name)), {recursive: true});
      symlinkSync(join(ROOT, 'node_modules', name), join(modules, name), 'junction');
    }
    writeFileSync(join(path, 'package.json'), '{"type": "module", "private": true}');
  });
  after(() => {
    if (path !== '') rmSync(path, {recursive: true, force: true});
  });
  const write = (name: string, content: string | Uint8Array): string => {
    const file = join(path, name);
    mkdirSync(dirname(file), {recursive: true});
    writeFileSync(file, content);
    return file;
  };
  const start = (bundler: keyof typeof BUNDLERS, ...args: readonly string[]): ChildProcess => {
    const program = join(ROOT, 'node_modules', BUNDLERS[bundler]);
    const env = quietly({NO_COLOR: '1', FORCE_COLOR: undefined});
    return spawn(process.execPath, [program, ...args], {cwd: path, env});
  };
  return {
    get path() {
      return path;
    },
    write,
    writeWasmBinaries() {
      const folder = join(ROOT, 'node_modules/@tensorflow/tfjs-backend-wasm/dist');
      for (const name of readdirSync(folder).filter((file) => file.endsWith('.wasm'))) {
        write(`public/wasm/${name}`, readFileSync(join(folder, name)));
      }
    },
    start,
    async run(bundler, ...args) {
      const {code, stdout, stderr} = await finished(start(bundler, ...args));
      if (code !== 0) throw new Error(`${bundler} ended with code ${code}: ${stderr || stdout}`);
      return stdout;
    },
  };
}
