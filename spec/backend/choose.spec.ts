import {expect} from 'chai';
import type {BackendCheck} from '../../lib/backend/check.js';
import {chooseBackend} from '../../lib/backend/choose.js';
import {BACKENDS, PACKAGES, parseBackendName, type BackendName} from '../../lib/backend/names.js';
import {BackendError} from '../../lib/errors.js';

/** A machine on which the named backends load and the others are not installed, or fail for the given reason. */
function machine(loading: readonly BackendName[], reasons: Partial<Record<BackendName, string>> = {}) {
  return (name: BackendName): Promise<BackendCheck> => {
    const loads = loading.includes(name);
    const reason = reasons[name] ?? (loads ? '' : 'not installed');
    const version = reason === 'not installed' ? null : '4.22.0';
    return Promise.resolve({name, package: PACKAGES[name].package, version, loads, reason, tensorflow: null});
  };
}

describe('chooseBackend', () => {
  for (const {loading, expected} of [
    {loading: ['node-gpu', 'node', 'wasm', 'cpu'], expected: 'node-gpu'},
    {loading: ['node', 'wasm', 'cpu'], expected: 'node'},
    {loading: ['wasm', 'cpu'], expected: 'wasm'},
    {loading: ['cpu'], expected: 'cpu'},
  ] satisfies {loading: BackendName[]; expected: BackendName}[]) {
    it(`takes ${expected} where ${loading.join(', ')} load`, async () => {
      expect(await chooseBackend(undefined, machine(loading))).to.have.property('name', expected);
    });
  }

  it('passes over tfjs-node-gpu where it finds no GPU', async () => {
    const check = machine(['node-gpu', 'node', 'wasm', 'cpu'], {'node-gpu': 'it finds no GPU'});
    const {name, why} = await chooseBackend(undefined, check);
    expect(name).to.equal('node');
    expect(why).to.contain('node-gpu: it finds no GPU');
  });

  it('gives a notice where tfjs-node-gpu is installed and finds no GPU, chosen or not', async () => {
    const check = machine(['node-gpu', 'node', 'cpu'], {'node-gpu': 'it finds no GPU'});
    const {notice} = await chooseBackend(undefined, check);
    expect(notice).to.equal(
      'tfjs-node-gpu is not on a GPU: it finds no GPU; backend node is used instead. ' +
        'npx tfjs-sparsify doctor says what helps',
    );
    expect((await chooseBackend('node-gpu', check)).notice).to.equal(
      'tfjs-node-gpu is not on a GPU: it finds no GPU. npx tfjs-sparsify doctor says what helps',
    );
    for (const quiet of [machine(['node-gpu', 'cpu']), machine(['node', 'cpu'])]) {
      expect((await chooseBackend(undefined, quiet)).notice).to.equal(undefined);
    }
    expect((await chooseBackend('cpu', check)).notice).to.equal(undefined);
  });

  it('says how to get tfjs-node when it is not installed', async () => {
    const {faster} = await chooseBackend(undefined, machine(['wasm', 'cpu']));
    expect(faster?.command).to.equal(
      'npm install --ignore-scripts @tensorflow/tfjs-node@4.22.0 && npx tfjs-sparsify provision',
    );
  });

  it('says how to get tfjs-node when its native part is missing', async () => {
    const {faster} = await chooseBackend(undefined, machine(['cpu'], {node: 'its native part is missing'}));
    expect(faster?.command).to.equal('npx tfjs-sparsify provision');
  });

  it('takes what is asked for, though faster ones load', async () => {
    const {name, why} = await chooseBackend('cpu', machine(['node', 'wasm', 'cpu']));
    expect({name, why}).to.deep.equal({name: 'cpu', why: 'it was asked for'});
  });

  it('rejects a request that does not load, and lists what does', async () => {
    const error: unknown = await chooseBackend('node-gpu', machine(['node', 'cpu'])).catch((e: unknown) => e);
    expect(error).to.be.instanceOf(BackendError).with.property('code', 'backend-does-not-load');
    expect(error).to.have.nested.property('data.loads').that.deep.equals(['node', 'cpu']);
    expect(error)
      .to.have.property('message')
      .that.contains('not installed')
      .and.contains('Here load: node, cpu')
      .and.contains(
        'npm install --ignore-scripts @tensorflow/tfjs-node-gpu@4.22.0 && npx tfjs-sparsify provision --gpu',
      );
  });

  it('rejects a machine on which none loads, with every reason', async () => {
    const error: unknown = await chooseBackend(undefined, machine([])).catch((e: unknown) => e);
    expect(error).to.be.instanceOf(BackendError).with.property('code', 'no-backend');
    for (const name of BACKENDS)
      expect(error).to.have.property('message').that.contains(`${name}: not installed`);
  });
});

describe('parseBackendName', () => {
  for (const name of BACKENDS) {
    it(`knows ${name}`, () => expect(parseBackendName(name, 'SPARSIFY_BACKEND')).to.equal(name));
  }

  it('rejects a misspelt name with the nearest one', () => {
    expect(() => parseBackendName('wsam', 'SPARSIFY_BACKEND'))
      .to.throw(BackendError, 'SPARSIFY_BACKEND is "wsam"; it must be one of node-gpu, node, wasm, cpu')
      .with.property('message')
      .that.contains('did you mean wasm?');
  });
});
