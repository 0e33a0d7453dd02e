import {mkdirSync, renameSync, rmSync, symlinkSync} from 'node:fs';
import {join} from 'node:path';
import {expect} from 'chai';
import Fastify, {type FastifyBaseLogger} from 'fastify';
import {versionsIn} from '../../lib/serve/model-folder.js';
import type {ServedModel} from '../../lib/serve/server-options.js';
import {Repository} from '../../lib/serve/model-repository.js';
import type {WorkerPool} from '../../lib/serve/worker-pool.js';
import {modelFolder} from '../support/serving.js';

const POLL_MS = 5;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
/** Waits until versions and states are these. */
async function until(states: () => readonly string[], expected: readonly string[]): Promise<void> {
  while (JSON.stringify(states()) !== JSON.stringify(expected)) await sleep(POLL_MS);
}
/** Some looks at the disk, in which nothing is to happen. */
const polls = (count: number) => sleep(count * (POLL_MS + 5));

/** A pool that loads everything but a version 4, and tells what was unloaded. */
function recordingPool() {
  const loaded = new Map<string, string>();
  const unloaded: string[] = [];
  const tried: {path: string; at: number}[] = [];
  const pool = {
    load: (key: string, path: string) => {
      tried.push({path, at: performance.now()});
      if (path.endsWith('/4')) return Promise.reject(new Error('damaged'));
      loaded.set(key, path);
      return Promise.resolve({});
    },
    unload: (key: string) => {
      unloaded.push(loaded.get(key)!);
      loaded.delete(key);
      return Promise.resolve();
    },
    has: (key: string) => loaded.has(key),
    wants: (key: string) => loaded.has(key),
  } as unknown as WorkerPool;
  return {pool, loaded, unloaded, tried};
}

describe('the versions of a model', () => {
  const folder = modelFolder();
  let repository: Repository | undefined;
  let path = '';
  let runs = 0;
  beforeEach(() => {
    path = join(folder.path, `model-${++runs}`);
    for (const version of ['1', '2', '3']) mkdirSync(join(path, version), {recursive: true});
  });
  afterEach(() => repository?.close());

  const watch = (options: Partial<ServedModel> = {}) => {
    const recording = recordingPool();
    const warnings: string[] = [];
    const log = Object.assign(Object.create(Fastify().log) as FastifyBaseLogger, {
      warn: (_: object, text: string) => void warnings.push(text),
    });
    repository = new Repository([{name: 'm', path, ...options}], recording.pool, POLL_MS, log);
    const states = () => repository!.all('m').map(({version, state}) => `${version} ${state}`);
    return {...recording, states, repository, warnings};
  };

  it('are whole numbers above 0 without leading zeros; files and other folders are none', async () => {
    for (const name of ['0', '04', '4x', '-5', '1234567890123456']) mkdirSync(join(path, name));
    symlinkSync(join(path, '3'), join(path, '7'));
    expect([...(await versionsIn(path))].sort()).to.deep.equal(
      ['1', '2', '3', '7'].map((name) => [Number(name), join(path, name)]),
    );
  });

  it('are the path itself where there are none, for a file, and for a URL', async () => {
    for (const plain of [
      join(path, '1'),
      new URL(import.meta.url).pathname,
      'https://models.example/m/model.json',
    ]) {
      expect([...(await versionsIn(plain))]).to.deep.equal([[1, plain]]);
    }
  });

  it('are the latest alone by default, those with a label, or all', async () => {
    const {states, repository: latest} = watch();
    await latest.ready();
    expect(states()).to.deep.equal(['3 available']);
    await latest.close();
    const labelled = watch({labels: {stable: 1}});
    await until(labelled.states, ['3 available', '1 available']);
    expect(labelled.repository.choose('m', {label: 'stable'}).version).to.equal(1);
    await labelled.repository.close();
    const all = watch({versions: 'all'});
    await until(all.states, ['3 available', '2 available', '1 available']);
    expect(all.repository.choose('m').version).to.equal(3);
  });

  it('stay while their folder cannot be read, and follow it again afterwards', async () => {
    const {states, unloaded, warnings} = watch({versions: 'all'});
    await until(states, ['3 available', '2 available', '1 available']);
    const aside = `${path}-aside`;
    renameSync(path, aside);
    while (warnings.length === 0) await sleep(POLL_MS); // nothing is there
    symlinkSync(path, path);
    await polls(5); // and now a link to itself, which is an error
    expect(states()).to.deep.equal(['3 available', '2 available', '1 available']);
    expect(unloaded).to.deep.equal([]);
    expect(warnings).to.have.length(1); // not one for every look
    rmSync(path);
    rmSync(join(aside, '1'), {recursive: true});
    mkdirSync(join(aside, '5'));
    renameSync(aside, path);
    await until(states, ['5 available', '3 available', '2 available']);
    expect(unloaded).to.deep.equal([join(path, '1')]);
    renameSync(path, aside);
    while (warnings.length < 2) await sleep(POLL_MS);
    renameSync(aside, path);
  });

  it('are switched once the new one answers, and the old one goes when its last request is answered', async () => {
    const {states, unloaded, repository} = watch();
    await repository.ready();
    const old = repository.choose('m');
    old.running = 1;
    mkdirSync(join(path, '9'));
    await until(states, ['9 available', '3 draining']);
    expect(repository.choose('m').version).to.equal(9);
    expect(() => repository.choose('m', {version: 3}))
      .to.throw()
      .with.property('status', 503);
    expect(unloaded).to.deep.equal([]);
    old.running = 0;
    await until(states, ['9 available']);
    await polls(2);
    expect(unloaded).to.deep.equal([join(path, '3')]);
    expect(() => repository.choose('m', {version: 3}))
      .to.throw('it has 9')
      .with.property('status', 404);
  });

  it('stay where the new one cannot be loaded, which is tried again after a second and not before', async () => {
    const {states, tried, repository} = watch();
    await repository.ready();
    mkdirSync(join(path, '4'));
    await until(states, ['4 failed', '3 available']);
    expect(repository.choose('m').version).to.equal(3);
    expect(() => repository.choose('m', {version: 4}))
      .to.throw('damaged')
      .with.property('status', 503);
    while (tried.length < 3) await sleep(POLL_MS);
    expect(tried.map(({path}) => path.slice(-1))).to.deep.equal(['3', '4', '4']);
    expect(tried[2].at - tried[1].at).to.be.at.least(1000);
    rmSync(join(path, '4'), {recursive: true});
    await until(states, ['3 available']);
  });

  it('fail, and say why, where there is none that can be loaded', async () => {
    for (const version of ['1', '2', '3']) rmSync(join(path, version), {recursive: true});
    mkdirSync(join(path, '4'));
    const {repository} = watch();
    const error = await repository.ready().catch((error: unknown) => error);
    expect(error)
      .to.include({status: 503, code: 'load-failed'})
      .and.have.property('message')
      .that.contains('damaged');
    expect(() => repository.choose('m'))
      .to.throw('damaged')
      .with.property('retryAfterSeconds', 10);
    expect(repository.isReady).to.equal(false);
  });

  it('are refused where model, version or label is unknown, with what there is', async () => {
    const {states, repository} = watch({labels: {stable: 2}});
    await until(states, ['3 available', '2 available']);
    const cases = [
      [() => repository.choose('mm'), 'did you mean "m"?'],
      [() => repository.choose('m', {version: 7}), 'no version 7; it has 3, 2'],
      [() => repository.choose('m', {label: 'new'}), 'no label "new"; it has stable'],
    ] as const;
    for (const [choose, text] of cases) expect(choose).to.throw(text).with.property('status', 404);
    expect(repository.names).to.deep.equal(['m']);
  });

  it('is one, to be loaded and to say what is wrong, where nothing is there from the start', async () => {
    path = join(folder.path, 'nothing');
    const {loaded} = watch();
    while (loaded.size === 0) await sleep(POLL_MS);
    expect([...loaded.values()]).to.deep.equal([path]);
  });
});
