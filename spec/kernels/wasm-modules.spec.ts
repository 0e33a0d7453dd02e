/** @file The committed WebAssembly modules: made of the sources that lie beside them, and what they need of a host. */
import {expect} from 'chai';
import {compileModule} from '../../lib/kernels/wasm/compile.js';
import {ownInstance} from '../../lib/kernels/wasm/instance.js';
import * as plain from '../../lib/kernels/wasm/plain-module.js';
import * as threads from '../../lib/kernels/wasm/threads-module.js';
import {wasmSourcesHash} from '../../scripts/build-wasm.mjs';

describe('the WebAssembly modules', () => {
  for (const [kind, {SOURCES}] of Object.entries({plain, threads})) {
    it(`${kind}-module.ts is made of the present sources`, () => {
      const advice = 'lib/kernels/native has changed since: run npm run build:wasm and commit what it writes';
      expect(SOURCES, advice).to.equal(wasmSourcesHash());
    });
  }

  it('give each thread variables of its own, where there are threads', async () => {
    const instance = ownInstance(await compileModule('threads'), 2 ** 20);
    const {exports} = instance;
    expect(Number(exports.__tls_size?.value)).to.be.above(0);
    const [one, other] = [instance.threadPlace(), instance.threadPlace()];
    const apart = Math.abs(one.variables - other.variables);
    expect(apart).to.be.at.least(Number(exports.__tls_size?.value));
    expect(Math.abs(one.stackEnd - other.stackEnd)).to.be.at.least(256 * 1024);
  });

  it('say what they cannot do, and go on afterwards', async () => {
    for (const kind of ['plain', 'threads'] as const) {
      const {exports} = ownInstance(await compileModule(kind), 2 ** 20);
      expect(() => exports.allocate(2 ** 32 - 2 ** 16), kind).to.throw('out of memory');
      const pointer = exports.allocate(100);
      expect(pointer % 64, kind).to.equal(0);
      exports.release(pointer);
    }
  });
});
