import {mkdirSync, renameSync, rmSync, symlinkSync} from 'node:fs';
import {join} from 'node:path';
import {expect} from 'chai';
import Fastify from 'fastify';
import {versionsIn} from '../../lib/serve/model-folder.js';
import type {ServedModel} from '../../lib/serve/options.js';
import {Repository} from '../../lib/serve/repository.js';
import type {WorkerPool} from '../../lib/serve/worker-pool.js';
import {modelFolder} from './serving.js';

const POLL_MS = 5;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
/** So many looks at the disk. */
const polls = (count: number) => sleep(count * (POLL_MS + 5));

/** A pool that loads everything, and tells what was unloaded. */
function recordingPool() {
  const loaded = new Map<string, string>();
  const unloaded: string[] = [];
  const pool = {
    load: (key: string, path: string) => {
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
  return {pool, loaded, unloaded};
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
    const {log} = Fastify({logger: false});
    repository = new Repository([{name: 'm', path, ...options}], recording.pool, POLL_MS, log);
    const states = () => repository!.all('m').map(({version, state}) => `${version} ${state}`);
    return {...recording, states, repository};
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
    await polls(5);
    expect(labelled.states()).to.deep.equal(['3 available', '1 available']);
    expect(labelled.repository.choose('m', {label: 'stable'}).version).to.equal(1);
    await labelled.repository.close();
    const all = watch({versions: 'all'});
    await polls(5);
    expect(all.states()).to.deep.equal(['3 available', '2 available', '1 available']);
    expect(all.repository.choose('m').version).to.equal(3);
  });

  it('stay while their folder cannot be read, and follow it again afterwards', async () => {
    const {states, unloaded} = watch({versions: 'all'});
    await polls(5);
    const aside = `${path}-aside`;
    renameSync(path, aside);
    await polls(5); // nothing is there
    symlinkSync(path, path);
    await polls(5); // and now a link to itself, which is an error
    expect(states()).to.deep.equal(['3 available', '2 available', '1 available']);
    expect(unloaded).to.deep.equal([]);
    rmSync(path);
    rmSync(join(aside, '1'), {recursive: true});
    mkdirSync(join(aside, '4'));
    renameSync(aside, path);
    await polls(10);
    expect(states()).to.deep.equal(['4 available', '3 available', '2 available']);
    expect(unloaded).to.deep.equal([join(path, '1')]);
  });

  it('is one, to be loaded and to say what is wrong, where nothing is there from the start', async () => {
    path = join(folder.path, 'nothing');
    const {loaded} = watch();
    await polls(5);
    expect([...loaded.values()]).to.deep.equal([path]);
  });
});
