import {expect} from 'chai';
import type {BackendCheck} from '../../lib/backend/check.js';
import {chooseBackend} from '../../lib/backend/choose.js';
import {
  BACKENDS,
  PACKAGES,
  parseBackendName,
  requestedBackend,
  type BackendName,
} from '../../lib/backend/names.js';
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

  it('takes tfjs-node-gpu without a GPU if it is asked for, and says so', async () => {
    const check = machine(['node-gpu', 'node'], {'node-gpu': 'it computes on the CPU'});
    const {name, why, faster} = await chooseBackend('node-gpu', check);
    expect({name, why}).to.deep.equal({
      name: 'node-gpu',
      why: 'it was asked for, though it computes on the CPU',
    });
    expect(faster).to.equal(undefined);
  });

  it('says why it passed over others, or nothing where the first loads', async () => {
    const first = 'the first of node-gpu, node, wasm, cpu that loads here';
    expect((await chooseBackend(undefined, machine([...BACKENDS]))).why).to.equal(first);
    expect((await chooseBackend(undefined, machine(['wasm', 'cpu'], {node: 'broken'}))).why).to.equal(
      `${first} (node-gpu: not installed; node: broken)`,
    );
  });

  it('asks about no more backends than it must', async () => {
    const asked: BackendName[] = [];
    const check = machine(['node', 'wasm', 'cpu']);
    const counting = (name: BackendName) => {
      asked.push(name);
      return check(name);
    };
    await chooseBackend(undefined, counting);
    expect(asked.splice(0)).to.deep.equal(['node-gpu', 'node']);
    await chooseBackend('wasm', counting);
    expect(asked).to.deep.equal(['wasm']);
  });

  for (const [requested, version, command] of [
    ['wasm', null, 'npm install --ignore-scripts @tensorflow/tfjs-backend-wasm@4.22.0'],
    ['cpu', null, 'npm install --ignore-scripts @tensorflow/tfjs@4.22.0'],
    ['node', '4.22.0', 'npx tfjs-sparsify provision'],
    ['node-gpu', '4.22.0', 'npx tfjs-sparsify provision --gpu'],
  ] as const) {
    it(`says how to get ${requested}${version === null ? '' : ', which is installed'}`, async () => {
      const reason = version === null ? 'not installed' : 'its native part is missing';
      const error: unknown = await chooseBackend(requested, machine([], {[requested]: reason})).catch(
        (e: unknown) => e,
      );
      expect(error).to.have.nested.property('data.command', command);
      expect(error).to.have.property('message').that.includes('Here load: none.').and.includes(command);
    });
  }

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

describe('requestedBackend', () => {
  const {SPARSIFY_BACKEND} = process.env;
  afterEach(() => {
    if (SPARSIFY_BACKEND === undefined) delete process.env.SPARSIFY_BACKEND;
    else process.env.SPARSIFY_BACKEND = SPARSIFY_BACKEND;
  });

  it('is what SPARSIFY_BACKEND names, none where it is empty or unset', () => {
    process.env.SPARSIFY_BACKEND = 'wasm';
    expect(requestedBackend()).to.equal('wasm');
    process.env.SPARSIFY_BACKEND = '';
    expect(requestedBackend()).to.equal(undefined);
    delete process.env.SPARSIFY_BACKEND;
    expect(requestedBackend()).to.equal(undefined);
    process.env.SPARSIFY_BACKEND = 'nodes';
    expect(requestedBackend).to.throw(BackendError, 'SPARSIFY_BACKEND is "nodes"');
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

  it('proposes to leave out a name that is near none', () => {
    expect(() => parseBackendName('quantum', 'name')).to.throw('leave it out to take the fastest that loads');
  });
});
