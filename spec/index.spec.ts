/** @file The package's doors: what they export after a build, and that the main one suits a browser. */
import {spawnSync} from 'node:child_process';
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {builtinModules} from 'node:module';
import {join, resolve} from 'node:path';
import {fileURLToPath} from 'node:url';
import {expect} from 'chai';
import {build} from 'esbuild';
import {quietly} from './support/child.js';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

const EXPORTS = [
  'sparsifyActivations',
  'TargetScope',
  'IgnoredScope',
  'Dataset',
  'SparsifyingDense',
  'registerLayers',
  'measureSparsity',
  'inspect',
  'retarget',
];

describe("import 'tfjs-sparsify'", () => {
  it('gives the public API from a file next to package.json', () => {
    const folder = mkdtempSync(join(ROOT, 'dist', 'user-'));
    const file = join(folder, 'user.mjs');
    try {
      writeFileSync(
        file,
        `import {${EXPORTS.join(', ')}} from 'tfjs-sparsify';\n` +
          `console.log([${EXPORTS.join(', ')}].map((value) => typeof value).join());\n`,
      );
      const {stdout, stderr} = spawnSync(process.execPath, [file], {
        cwd: ROOT,
        encoding: 'utf8',
        env: quietly(),
      });
      expect(stdout.trim().split('\n').at(-1), stderr).to.equal(EXPORTS.map(() => 'function').join());
    } finally {
      rmSync(folder, {recursive: true});
    }
  });

  it('has source maps that name the sources', () => {
    const map = JSON.parse(readFileSync(join(ROOT, 'dist', 'lib', 'index.js.map'), 'utf8')) as {
      sources: string[];
    };
    expect(map.sources.map((source) => resolve(ROOT, 'dist', 'lib', source))).to.deep.equal([
      join(ROOT, 'lib', 'index.ts'),
    ]);
  });

  it('pulls no module of Node into a browser bundle, and nothing in at all that is not used', async () => {
    const bundle = async (code: string) => {
      const {metafile, outputFiles} = await build({
        stdin: {contents: code, resolveDir: ROOT, loader: 'ts'},
        bundle: true,
        write: false,
        metafile: true,
        minify: true,
        platform: 'browser',
        format: 'esm',
        external: ['@tensorflow/*'],
      });
      return {
        inputs: Object.keys(metafile.inputs),
        imports: Object.values(metafile.outputs).flatMap(({imports}) => imports),
        text: outputFiles[0].text,
      };
    };
    const all = await bundle("export * from './lib/index.ts';");
    const builtins = new Set(builtinModules.flatMap((name) => [name, `node:${name}`]));
    expect(all.imports.map(({path}) => path).filter((path) => builtins.has(path))).to.deep.equal([]);
    expect([...new Set(all.imports.map(({path}) => path))]).to.deep.equal(['@tensorflow/tfjs']);
    expect(all.inputs.filter((path) => /lib\/(backend|cli|io\/model)\//.test(path))).to.deep.equal([]);
    // Data come from blobs in a page, never from a path.
    expect(all.inputs.filter((path) => /lib\/io\/.*(file|module)s?\.ts$/.test(path))).to.deep.equal([]);
    expect(all.text).to.include('SparsifiedMatMul');
  });
});
