import {expect} from 'chai';
import Fastify, {type FastifyBaseLogger} from 'fastify';
import {ServeError} from '../../lib/serve/http-errors.js';
import type {LoadedInfo} from '../../lib/serve/messages.js';
import {WorkerPool} from '../../lib/serve/worker-pool.js';
import {WorkerGone, type WorkerEvents, type WorkerProcess} from '../../lib/serve/worker-process.js';
import {stopClock, type Clock} from '../support/clock.js';

const HEALTHY_MS = 10_000;

/** A worker that starts, loads and ends when the spec says so. */
class HeldWorker {
  readonly loaded = new Map<string, LoadedInfo>();
  readonly loading = new Set<string>();
  readonly busy = {predict: 0, generate: 0};
  readonly pid: number;
  /** What it was told, in order. */
  readonly told: string[] = [];
  isAlive = true;
  private readonly waiting = new Map<string, {resolve: () => void; reject: (error: Error) => void}>();

  constructor(
    readonly number: number,
    private readonly events: WorkerEvents,
  ) {
    this.pid = 100 + number;
  }

  start(): Promise<void> {
    this.events.onStarted();
    return settled();
  }

  async load(key: string, path: string): Promise<LoadedInfo> {
    this.told.push(`load ${key} ${path}`);
    this.loading.add(key);
    try {
      await new Promise<void>((resolve, reject) => this.waiting.set(key, {resolve, reject}));
    } finally {
      if (this.isAlive) this.loading.delete(key);
    }
    const info = {signature: {inputs: [], outputs: []}, worker: this.number} as unknown as LoadedInfo;
    this.loaded.set(key, info);
    return info;
  }

  /** Ends loading. */
  loads(key: string): Promise<void> {
    this.waiting.get(key)!.resolve();
    return settled();
  }

  /** Says that it cannot load. */
  refuses(key: string, error: Error): Promise<void> {
    this.waiting.get(key)!.reject(error);
    return settled();
  }

  unload(key: string): Promise<void> {
    this.loaded.delete(key);
    this.told.push(`unload ${key}`);
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.told.push('close');
    return this.exit('closed');
  }

  exit(reason: string): Promise<void> {
    this.isAlive = false;
    this.loaded.clear();
    this.events.onExit(reason);
    for (const {reject} of this.waiting.values()) reject(new WorkerGone());
    return settled();
  }
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
/** What a promise gives or throws. */
const outcome = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => error);

describe('the pool of workers', () => {
  let clock: Clock;
  let workers: HeldWorker[];
  let told: string[];
  let logged: object[];
  beforeEach(() => {
    clock = stopClock();
    workers = [];
    told = [];
    logged = [];
  });
  afterEach(() => clock.giveBack());

  const pooling = (count: number) => {
    const log = Object.assign(Object.create(Fastify().log) as FastifyBaseLogger, {
      error: (what: object, text: string) => void logged.push({...what, text}),
    });
    return new WorkerPool(
      count,
      (events) => {
        const worker = new HeldWorker(workers.length, events);
        workers.push(worker);
        return worker as unknown as WorkerProcess;
      },
      {
        onFree: () => void told.push('free'),
        onRestart: (reason) => void told.push(reason),
        onSparsity: () => {},
      },
      log,
    );
  };
  const restarts = () => logged.map((line) => (line as {restartInMs: number}).restartInMs);

  it('starts as many as it is to have', () => {
    const pool = pooling(3);
    expect([...pool.workers]).to.deep.equal(workers);
    expect(workers).to.have.length(3);
  });

  it('loads a model in each that has started, one after the other, and gives what the first says', async () => {
    const pool = pooling(2);
    await Promise.all(workers.map((worker) => worker.start()));
    const loading = pool.load('m/1', 'path');
    await settled();
    expect(workers.map((worker) => worker.told)).to.deep.equal([['load m/1 path'], []]);
    expect([pool.wants('m/1'), pool.has('m/1'), pool.wants('m/2')]).to.deep.equal([true, false, false]);
    await workers[0].loads('m/1');
    expect(pool.has('m/1')).to.equal(true);
    expect(told.slice(-1)).to.deep.equal(['free']);
    expect(workers[1].told).to.deep.equal(['load m/1 path']);
    await workers[1].loads('m/1');
    expect(await loading).to.deep.include({worker: 0});
  });

  it('waits for a worker that has not started, which loads by itself, once', async () => {
    const pool = pooling(2);
    await workers[0].start();
    let isLoaded = false;
    const loading = pool.load('m/1', 'path').finally(() => (isLoaded = true));
    await settled();
    await workers[0].loads('m/1');
    await clock.pass(1000);
    expect(isLoaded).to.equal(false);
    await workers[1].start();
    expect(workers[1].told).to.deep.equal(['load m/1 path']);
    await clock.pass(1000);
    expect(workers[1].told).to.deep.equal(['load m/1 path']);
    await workers[1].loads('m/1');
    await clock.pass(1000);
    await loading;
    expect(workers[1].told).to.deep.equal(['load m/1 path']);
  });

  it('does not ask for what a worker has loaded by itself meanwhile', async () => {
    const pool = pooling(2);
    await workers[0].start();
    await workers[1].start();
    const loading = pool.load('m/1', 'path');
    await settled();
    workers[1].loaded.set('m/1', {} as LoadedInfo);
    await workers[0].loads('m/1');
    await loading;
    expect(workers[1].told).to.deep.equal([]);
  });

  it('says what is wrong with a model, and frees it everywhere', async () => {
    const pool = pooling(2);
    await Promise.all(workers.map((worker) => worker.start()));
    const loading = outcome(pool.load('m/1', 'path'));
    await settled();
    await workers[0].loads('m/1');
    await workers[1].refuses('m/1', new Error('model.json is missing'));
    const error = await loading;
    expect(error).to.be.instanceOf(ServeError);
    expect(error).to.include({status: 503, code: 'load-failed', message: 'model.json is missing'});
    expect(workers.map((worker) => worker.told.at(-1))).to.deep.equal(['unload m/1', 'unload m/1']);
    expect([pool.wants('m/1'), pool.has('m/1')]).to.deep.equal([false, false]);
  });

  it('gives a model up once it has ended three processes', async () => {
    const pool = pooling(1);
    await workers[0].start();
    const loading = outcome(pool.load('m/1', 'path'));
    await settled();
    for (const crash of [1, 2, 3]) {
      expect(pool.wants('m/1'), `before crash ${crash}`).to.equal(true);
      await workers.at(-1)!.exit('SIGKILL');
      await clock.pass(60_000);
      expect(workers).to.have.length(crash + 1);
      await workers.at(-1)!.start();
    }
    await clock.pass(1000);
    const error = await loading;
    expect(error).to.include({status: 503, code: 'load-failed'});
    expect(error)
      .to.have.property('message')
      .that.contains('path ended the worker process 3 times')
      .and.contains('memory');
    expect(workers.map((worker) => worker.told[0])).to.deep.equal([
      ...Array<string>(3).fill('load m/1 path'),
      'unload m/1',
    ]);
  });

  it('loads after a process that ended meanwhile, and gives a model up only for crashes in a row', async () => {
    const pool = pooling(1);
    await workers[0].start();
    const loading = pool.load('m/1', 'path');
    await settled();
    await workers[0].exit('SIGKILL');
    await clock.pass(1000);
    await workers[1].start();
    await workers[1].loads('m/1');
    await clock.pass(1000);
    expect(await loading).to.deep.include({worker: 1});
    for (const crash of [1, 2]) {
      await workers.at(-1)!.exit('SIGKILL');
      await clock.pass(60_000);
      await workers.at(-1)!.start();
      expect(workers.at(-1)!.loading.has('m/1'), `after crash ${crash}`).to.equal(true);
    }
    expect(pool.wants('m/1')).to.equal(true);
  });

  it('restarts a worker later each time, within half a minute', async () => {
    pooling(1);
    const delays = [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000];
    for (const [i, delay] of delays.entries()) {
      await workers[i].exit('exit code 1');
      await clock.pass(delay - 50);
      expect(workers, `before ${delay} ms`).to.have.length(i + 1);
      await clock.pass(50);
      expect(workers, `after ${delay} ms`).to.have.length(i + 2);
    }
    expect(restarts()).to.deep.equal(delays);
    expect(logged[0]).to.include({pid: 100, reason: 'exit code 1', text: 'worker ended'});
    expect(told.slice(0, 2)).to.deep.equal(['exit code 1', 'free']);
  });

  it('restarts one that lived for more than ten seconds at once', async () => {
    pooling(1);
    for (let i = 0; i < 3; i++) {
      await workers[i].exit('x');
      await clock.pass(30_000);
    }
    await workers[3].exit('x'); // has lived for long enough
    await clock.pass(100);
    await clock.pass(HEALTHY_MS); // not for more
    await workers[4].exit('x');
    await clock.pass(100);
    await workers[5].exit('x');
    expect(restarts()).to.deep.equal([100, 100, 100, 100, 100, 200]);
  });

  it('counts no worker that has ended', async () => {
    const pool = pooling(2);
    await workers[0].exit('x');
    expect([...pool.workers]).to.deep.equal([workers[1]]);
  });

  it('loads everything that it is to have in a worker that starts', async () => {
    const pool = pooling(1);
    await workers[0].start();
    void pool.load('a/1', 'a');
    await settled();
    await workers[0].loads('a/1');
    void pool.load('b/1', 'b');
    await settled();
    await workers[0].loads('b/1');
    await workers[0].exit('x');
    await clock.pass(100);
    await workers[1].start();
    expect(workers[1].told).to.deep.equal(['load a/1 a']);
    told = [];
    await workers[1].loads('a/1');
    expect(told).to.deep.equal(['free']);
    expect(workers[1].told).to.deep.equal(['load a/1 a', 'load b/1 b']);
    await workers[1].loads('b/1');
    expect(told).to.deep.equal(['free', 'free', 'free']);
    await clock.pass(20_000);
    expect(workers[1].told).to.have.length(2);
  });

  it('tries again after five seconds what a restarted worker could not load', async () => {
    const pool = pooling(1);
    await workers[0].start();
    for (const key of ['a', 'b']) {
      void pool.load(key, key);
      await settled();
      await workers[0].loads(key);
    }
    await workers[0].exit('x');
    await clock.pass(100);
    await workers[1].start();
    logged = [];
    await workers[1].refuses('a', new Error('not now'));
    expect(logged).to.have.length(1);
    expect(logged[0]).to.include({model: 'a', text: 'a restarted worker cannot load the model'});
    expect(logged[0]).to.have.nested.property('err.message', 'not now');
    await workers[1].loads('b'); // the others are loaded all the same
    await clock.pass(4900);
    expect(workers[1].told).to.deep.equal(['load a a', 'load b b']);
    await clock.pass(100);
    expect(workers[1].told).to.deep.equal(['load a a', 'load b b', 'load a a']);
    await workers[1].loads('a');
    await clock.pass(20_000);
    expect(workers[1].told).to.have.length(3);
  });

  it('does not try again in a worker that has ended', async () => {
    const pool = pooling(1);
    await workers[0].start();
    void pool.load('a', 'a');
    await settled();
    await workers[0].loads('a');
    await workers[0].exit('x');
    await clock.pass(100);
    await workers[1].start();
    await workers[1].refuses('a', new Error('not now'));
    await workers[1].exit('x');
    await clock.pass(10_000);
    expect(workers[1].told).to.deep.equal(['load a a']);
  });

  it('gives up quietly in a worker that ends while it loads', async () => {
    const pool = pooling(1);
    void pool.load('a', 'a');
    void pool.load('b', 'b');
    await workers[0].start();
    told = [];
    await workers[0].exit('x');
    expect(told).to.deep.equal(['x', 'free']);
    expect(logged).to.have.length(1);
    expect(workers[0].told).to.deep.equal(['load a a']);
  });

  it('asks the worker with the least to do of those that have the model', () => {
    const pool = pooling(3);
    const give = (kind: 'predict' | 'generate', counts: readonly number[]) =>
      counts.forEach((count, i) => (workers[i].busy[kind] = count));
    const free = (kind: 'predict' | 'generate', most: number) =>
      (pool.freeWorker('m', kind, most) as unknown as HeldWorker | undefined)?.number;
    expect(free('predict', 2)).to.equal(undefined);
    workers[1].loaded.set('m', {} as LoadedInfo);
    workers[2].loaded.set('m', {} as LoadedInfo);
    give('predict', [0, 1, 0]);
    give('generate', [0, 2, 3]);
    expect(free('predict', 2)).to.equal(2);
    expect(free('generate', 4)).to.equal(1);
    expect(free('generate', 3)).to.equal(1);
    expect(free('generate', 2)).to.equal(undefined);
    give('predict', [0, 1, 1]);
    expect(free('predict', 2)).to.equal(1); // the first of equals
    give('predict', [0, 2, 1]);
    expect(free('predict', 2)).to.equal(2);
  });

  it('frees a model in every worker', async () => {
    const pool = pooling(2);
    await pool.unload('m/1');
    expect(workers.map((worker) => worker.told)).to.deep.equal([['unload m/1'], ['unload m/1']]);
  });

  it('ends all workers when it is closed, starts none afterwards, and loads nothing', async () => {
    const pool = pooling(2);
    await workers[0].exit('x');
    told = [];
    await pool.close();
    expect(workers.map((worker) => worker.told)).to.deep.equal([[], ['close']]);
    await clock.pass(60_000);
    expect(workers).to.have.length(2);
    expect(told).to.deep.equal([]);
    expect(await outcome(pool.load('m/1', 'path'))).to.be.instanceOf(WorkerGone);
    expect(pool.wants('m/1')).to.equal(false);
  });
});
