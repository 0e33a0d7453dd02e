/** @file The addon for TensorFlow's log level where it cannot be built; what it does is in spec/backend/load.spec.ts. */
import {expect} from 'chai';
import {mkdirSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {logLevelAddon, setLogLevel} from '../../../lib/provision/addons/log-level.js';
import {findAddon, provideAddon} from '../../../lib/provision/addons/provide-addon.js';

describe("the addon for TensorFlow's log level", () => {
  const environment = {...process.env};
  let folder: string;
  let lines: string[];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'log-level-spec-'));
    lines = [];
    delete process.env.TFJS_SPARSIFY_PROVISION;
  });
  afterEach(() => {
    rmSync(folder, {recursive: true});
    for (const name of ['PATH', 'CXX', 'TFJS_SPARSIFY_PROVISION']) {
      if (environment[name] === undefined) delete process.env[name];
      else process.env[name] = environment[name];
    }
  });

  /** A node package with a libtensorflow that is none, with these headers. */
  const options = (headers: readonly string[]) => {
    const deps = join(folder, 'tfjs-node', 'deps');
    for (const name of ['lib/libtensorflow_framework.so.2', ...headers.map((name) => `include/${name}`)]) {
      mkdirSync(join(deps, name, '..'), {recursive: true});
      writeFileSync(join(deps, name), 'not a library');
    }
    const log = (line: string) => lines.push(line);
    return {packageFolder: join(folder, 'tfjs-node'), cache: join(folder, 'cache'), log};
  };

  it('is not built for a libtensorflow that heeds the level from the start', async () => {
    const given = options(['tensorflow/c/c_api.h']);
    expect(await provideAddon(logLevelAddon, given))
      .to.have.property('reason')
      .that.includes('no Abseil');
    expect(lines).to.deep.equal([]);
    await setLogLevel(given);
  });

  for (const [what, env, reason] of [
    ['without a compiler', {PATH: '', CXX: undefined}, 'no C++ compiler'],
    ['with headers that do not compile', {}, 'could not be built'],
  ] as const) {
    it(`${what}, says once that TensorFlow will talk, and hinders nothing`, async function () {
      if (process.platform !== 'linux') this.skip();
      for (const [name, value] of Object.entries(env)) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
      const given = options(['absl/log/globals.h']);
      for (let i = 0; i < 2; i++) {
        expect(await provideAddon(logLevelAddon, given))
          .to.have.property('reason')
          .that.includes(reason);
      }
      expect(lines).to.have.length(1);
      expect(lines[0]).to.include('lines of information').and.include(reason);
      expect(await findAddon(logLevelAddon, given))
        .to.have.property('reason')
        .that.includes('not built');
      await setLogLevel(given);
    });
  }

  it('is not built with TFJS_SPARSIFY_PROVISION=off', async function () {
    if (process.platform !== 'linux') this.skip();
    process.env.TFJS_SPARSIFY_PROVISION = 'off';
    expect(await provideAddon(logLevelAddon, options(['absl/log/globals.h'])))
      .to.have.property('reason')
      .that.includes('not built');
    expect(lines).to.deep.equal([]);
  });
});
