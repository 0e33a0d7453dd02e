import {readFileSync} from 'node:fs';
import {builtinModules} from 'node:module';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {expect} from 'chai';
import {build} from 'esbuild';
import {urlOf} from '../support/child.js';

describe("the browser part of 'tfjs-sparsify/language'", () => {
  it('pulls in no module of Node', async () => {
    const {metafile} = await build({
      entryPoints: [fileURLToPath(urlOf('lib/language/browser.ts'))],
      bundle: true,
      write: false,
      metafile: true,
      platform: 'browser',
      format: 'esm',
      external: ['@tensorflow/*'],
      absWorkingDir: fileURLToPath(urlOf('.')),
    });
    const imports = Object.values(metafile.outputs).flatMap(({imports}) => imports.map(({path}) => path));
    const builtins = new Set(builtinModules.flatMap((name) => [name, `node:${name}`]));
    expect(imports.filter((path) => builtins.has(path))).to.deep.equal([]);
    const inputs = Object.keys(metafile.inputs);
    expect(inputs.filter((path) => /^lib\/(backend|cli|provision|serve)\//.test(path))).to.deep.equal([]);
    // What Node has without an import; asking whether it is there is allowed.
    const root = fileURLToPath(urlOf('.'));
    const own = inputs.filter((path) => path.startsWith('lib/'));
    expect(own).to.include('lib/language/open-language-model.ts');
    const code = (path: string) =>
      readFileSync(join(root, path), 'utf8').replace(
        /^ *(\*|\/\/).*$|typeof process === 'object' (&&|\?) process\./gm,
        '',
      );
    const used = own.filter((path) => /\b(Buffer|process)\.\w/.test(code(path)));
    expect(used).to.deep.equal(['lib/kernels/wasm/in-node.ts']); // which asks first whether there is a process
  });
});
