import {existsSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {expect} from 'chai';
import type {GenerationRequest} from '../../lib/serve/messages.js';
import {WorkerGone, WorkerProcess} from '../../lib/serve/worker-process.js';
import {urlOf} from '../support/child.js';
import {stopClock, type Clock} from '../support/clock.js';
import {modelFolder} from '../support/serving.js';

const ENTRY = fileURLToPath(urlOf('spec/fixtures/scripted-worker.mjs'));
const HANG_MS = 10_000;
const LOAD_HANG_MS = 600_000;

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
const asking = (prompt: string): {request: GenerationRequest; key: string} => ({
  ...{key: 'm/1', request: {prompt, temperature: 0, topP: 1, stop: []}},
});
/** The code of the error that a promise ends with. */
const codeOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'no error',
    (error: {code: string}) => error.code,
  );

describe('a worker process', () => {
  const folder = modelFolder();
  const {execArgv} = process;
  let worker: WorkerProcess;
  let clock: Clock | undefined;
  let runs = 0;
  let file = '';
  let told: unknown[] = [];
  let exited: Promise<void>;
  before(() => (process.execArgv = [])); // the scripted worker is plain JavaScript
  after(() => (process.execArgv = execArgv));
  afterEach(() => {
    clock?.giveBack();
    clock = undefined;
    worker.kill();
    return exited;
  });

  /** Starts a scripted worker; ends once it has said that it started. */
  const start = (hangMs = HANG_MS, manner = 'log'): Promise<void> => {
    file = join(folder.path, `${++runs}.${manner}`);
    told = [];
    return new Promise((resolve) => {
      exited = new Promise((resolveExit) => {
        worker = new WorkerProcess(
          {backend: file, cacheBytes: 1, maxSequences: 1},
          hangMs,
          {
            onStarted: () => {
              told.push('started');
              resolve();
            },
            onSparsity: (key, {mean}) => told.push([key, mean]),
            onExit: (reason) => {
              told.push(reason);
              resolveExit();
            },
          },
          ENTRY,
        );
      });
    });
  };
  const log = () => (existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []);
  const until = async (condition: () => boolean) => {
    while (!condition()) await settled();
  };

  it('is started with its settings, and tells that it has', async () => {
    await start();
    expect(told).to.deep.equal(['started']);
    expect(worker.isAlive).to.equal(true);
    expect(() => process.kill(worker.pid!, 0)).not.to.throw();
  });

  it('answers each question by its number, with pieces of text as they come', async () => {
    await start();
    const pieces: string[] = [];
    const onText = (text: string) => pieces.push(text);
    const text = worker.ask('generate', asking('x'), {onText});
    const tensors = worker.ask('predict', {key: 'm/1', tensors: []});
    expect(await tensors).to.deep.equal([{dtype: 'float32', shape: [0], values: new Float32Array()}]);
    expect(await text).to.deep.equal({text: 'one two'});
    expect(pieces).to.deep.equal(['one ', 'two']);
    expect(told).to.deep.equal(['started', ['m/1', 0.5]]);
    expect(log()).to.deep.equal(['generate 1 x', 'predict 2 m/1']);
  });

  it('counts what it has not answered, by kind', async () => {
    await start();
    const one = worker.ask('generate', asking('x'));
    const other = worker.ask('generate', asking('x'));
    const batch = worker.ask('predict', {key: 'm/1', tensors: []});
    const ping = worker.ask('ping', {});
    expect(worker.busy).to.deep.equal({predict: 1, generate: 2});
    await Promise.all([one, other, batch, ping]);
    expect(worker.busy).to.deep.equal({predict: 0, generate: 0});
    await codeOf(worker.ask('generate', asking('broken')));
    expect(worker.busy).to.deep.equal({predict: 0, generate: 0});
  });

  it('tells what is wrong with a request as 400, and what went wrong as 500', async () => {
    await start();
    const wrong = await worker.ask('generate', asking('wrong')).catch((error: unknown) => error);
    expect(wrong).to.include({name: 'ServeError', status: 400, code: 'prompt-too-long', message: 'too long'});
    const broken = await worker.ask('generate', asking('broken')).catch((error: unknown) => error);
    expect(broken).to.include({name: 'ServeError', status: 500, code: 'worker-failed', message: 'broken'});
  });

  it('is told when a question is given up, once, and not after its answer', async () => {
    await start();
    const controller = new AbortController();
    const {signal} = controller;
    void codeOf(worker.ask('generate', asking('never'), {signal}));
    await worker.ask('generate', asking('x'), {signal});
    controller.abort();
    await worker.ask('predict', {key: 'm/1', tensors: []});
    expect(log()).to.deep.equal(['generate 1 never', 'generate 2 x', 'cancel 1', 'predict 3 m/1']);
  });

  it('loads and frees models', async () => {
    await start();
    const loading = worker.load('m/1', 'folder');
    expect([...worker.loading]).to.deep.equal(['m/1']);
    expect([...worker.loaded]).to.deep.equal([]);
    expect(await loading).to.deep.equal({path: 'folder'});
    expect([...worker.loading]).to.deep.equal([]);
    expect([...worker.loaded]).to.deep.equal([['m/1', {path: 'folder'}]]);
    await worker.unload('m/1');
    expect([...worker.loaded]).to.deep.equal([]);
    await worker.unload('m/1'); // there is nothing more to say
    expect(log()).to.deep.equal(['load 1 folder', 'unload 2 m/1']);
  });

  it('has not loaded what could not be loaded', async () => {
    await start();
    expect(await codeOf(worker.load('m/1', 'broken'))).to.equal('worker-failed');
    expect([...worker.loading, ...worker.loaded.keys()]).to.deep.equal([]);
  });

  it('fails all that it was asked when it ends, and tells its exit code', async () => {
    await start();
    await worker.load('a/1', 'folder');
    const waiting = [worker.ask('generate', asking('never')), worker.load('b/1', 'crash')];
    const errors = await Promise.all(waiting.map((promise) => promise.catch((error: unknown) => error)));
    for (const error of errors) {
      expect(error).to.be.instanceOf(WorkerGone);
      expect(error).to.include({name: 'WorkerGone', status: 503, code: 'worker-gone', retryAfterSeconds: 1});
      expect(error).to.have.property('message').that.contains('ask again');
    }
    expect(told).to.deep.equal(['started', 'exit code 3']);
    expect(worker.isAlive).to.equal(false);
    expect(worker.busy).to.deep.equal({predict: 0, generate: 0});
    expect([...worker.loaded.keys()]).to.deep.equal([]);
    expect([...worker.loading]).to.deep.equal(['b/1']); // which says what it ended over
    expect(await codeOf(worker.ask('ping', {}))).to.equal('worker-gone');
    await worker.unload('a/1');
  });

  it('frees a model while it ends', async () => {
    await start();
    await worker.load('a/1', 'folder');
    worker.kill();
    await worker.unload('a/1');
    await exited;
    expect(told).to.deep.equal(['started', 'killed']);
  });

  it('tells the signal that ended it', async () => {
    await start();
    process.kill(worker.pid!, 'SIGKILL');
    await exited;
    expect(told).to.deep.equal(['started', 'SIGKILL']);
  });

  it('keeps the first reason', async () => {
    await start();
    worker.kill('first');
    worker.kill('second');
    await exited;
    expect(told).to.deep.equal(['started', 'first']);
  });

  it('exits by itself when it is closed', async () => {
    await start();
    await worker.close();
    expect(told).to.deep.equal(['started', 'closed']);
    expect(log()).to.deep.equal(['exit']);
  });

  it('is killed when it is closed before it has started', async () => {
    void start(HANG_MS, 'silent');
    while (log().length === 0) await settled(); // it listens by then, and would exit by itself
    await worker.close();
    expect(told).to.deep.equal(['closed']);
    expect(log()).to.deep.equal(['here']);
  });

  it('is killed when it is closed and does not exit within five seconds', async () => {
    clock = stopClock();
    await start();
    void codeOf(worker.ask('generate', asking('hang')));
    await until(() => log().length === 1);
    const closed = worker.close();
    await clock.pass(4900);
    await settled();
    expect(worker.isAlive).to.equal(true);
    await clock.pass(200);
    await closed;
    expect(told).to.deep.equal(['started', 'closed']);
    expect(log()).to.deep.equal(['generate 1 hang']);
  });

  it('is asked for its health once a second', async () => {
    clock = stopClock();
    await start();
    expect(worker.health).to.deep.equal({residentBytes: 0, tensors: 0, cacheBytes: 0});
    await clock.pass(950);
    await worker.ask('predict', {key: '', tensors: []});
    expect(worker.health.tensors).to.equal(0);
    await clock.pass(50);
    await until(() => worker.health.tensors !== 0);
    expect(worker.health).to.deep.equal({residentBytes: 7, tensors: 8, cacheBytes: 9});
  });

  it('is killed when it says nothing for as long as it may, not before', async () => {
    clock = stopClock();
    await start();
    void codeOf(worker.ask('generate', asking('hang')));
    await clock.pass(HANG_MS);
    expect(worker.isAlive).to.equal(true);
    await clock.pass(1000);
    await exited;
    expect(told).to.deep.equal(['started', 'hang']);
  });

  it('is let be while it answers', async () => {
    clock = stopClock();
    await start(3000);
    for (let second = 1; second <= 8; second++) {
      await clock.pass(1000);
      await worker.ask('predict', {key: '', tensors: []});
    }
    await settled();
    expect(told.filter((one) => one === 'hang')).to.deep.equal([]);
    expect(worker.isAlive).to.equal(true);
  });

  it('is let be when this process stood still', async () => {
    clock = stopClock();
    await start();
    await clock.pass(1000);
    clock.jump(10 * HANG_MS);
    await clock.pass(1000);
    await worker.ask('predict', {key: '', tensors: []});
    expect(worker.isAlive).to.equal(true);
    expect(told.includes('hang')).to.equal(false);
  });

  it('may take ten minutes to start', async () => {
    clock = stopClock();
    void start(HANG_MS, 'silent');
    await clock.pass(LOAD_HANG_MS);
    expect(worker.isAlive).to.equal(true);
    await clock.pass(1000);
    await exited;
    expect(told).to.deep.equal(['hang']);
  });

  it('may take ten minutes to load', async () => {
    clock = stopClock();
    await start();
    void codeOf(worker.load('m/1', 'hang'));
    await clock.pass(LOAD_HANG_MS);
    expect(worker.isAlive).to.equal(true);
    await clock.pass(1000);
    await exited;
    expect(told).to.deep.equal(['started', 'hang']);
  });

  it('tells that it could not be started', async () => {
    const {execPath} = process;
    process.execPath = join(folder.path, 'nothing');
    try {
      void start();
      await exited;
    } finally {
      process.execPath = execPath;
    }
    expect(told).to.have.length(1);
    expect(told[0]).to.contain('ENOENT');
    expect(worker.isAlive).to.equal(false);
    await worker.close();
  });
});
