import {existsSync, renameSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {expect} from 'chai';
import {startCli} from '../cli/cli.js';
import {createServer} from '../../lib/serve/index.js';
import {modelFolder, saveSlowModel, saveSumModel, serving, type Serving} from './serving.js';

/** A worker takes seconds to start, and some of these start several. */
const STARTS_TIMEOUT_MS = 180_000;
const ROW = {instances: [[1, 1, 1]]};
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks until the condition holds. */
async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await condition())) await sleep(20);
}

describe('createServer', function () {
  this.timeout(STARTS_TIMEOUT_MS);
  const folder = modelFolder();
  let served: Serving;
  const predict = (body: unknown = ROW) => served.post('/v1/models/sum:predict', body);
  before(async () => {
    await saveSumModel(join(folder.path, 'sum', '1'), 1);
    await saveSlowModel(join(folder.path, 'slow'));
  });
  afterEach(() => served.server.close());

  it('answers health while the models load, and is ready afterwards', async () => {
    served = await serving({models: [{name: 'sum', path: join(folder.path, 'sum')}]}, false);
    expect((await served.get('/healthz')).status).to.equal(200);
    expect((await served.get('/readyz')).status).to.equal(503);
    expect((await served.get('/v2/health/ready')).status).to.equal(503);
    const early = await predict();
    expect(early.status).to.equal(503);
    expect(early.headers.get('retry-after')).to.equal('1');
    await served.server.ready();
    expect((await served.get('/readyz')).status).to.equal(200);
    expect((await predict()).json).to.deep.equal({predictions: [[3]]});
  });

  it('switches to a new version without losing a request, and unloads the old one', async () => {
    served = await serving({models: [{name: 'sum', path: join(folder.path, 'sum')}]});
    const answers: unknown[] = [];
    let isOver = false;
    const asking = [1, 2, 3].map(async () => {
      while (!isOver) answers.push((await predict()).json);
    });
    await sleep(200);
    await saveSumModel(join(folder.path, 'two'), 2);
    renameSync(join(folder.path, 'two'), join(folder.path, 'sum', '2'));
    const statusOf = async () =>
      (await served.get('/v1/models/sum')).json as {model_version_status: object[]};
    await until(async () =>
      JSON.stringify((await statusOf()).model_version_status).startsWith(
        '[{"version":"2","state":"AVAILABLE"',
      ),
    );
    await until(async () => (await statusOf()).model_version_status.length === 1);
    await sleep(100);
    isOver = true;
    await Promise.all(asking);
    const kinds = answers.map((answer) => JSON.stringify(answer));
    const first = kinds.indexOf('{"predictions":[[6]]}');
    expect(new Set(kinds)).to.deep.equal(new Set(['{"predictions":[[3]]}', '{"predictions":[[6]]}']));
    expect(kinds.length - first).to.be.above(3);
    expect((await served.post('/v1/models/sum/versions/1:predict', ROW)).status).to.equal(404);
    // Only the new one's kernel is left; the pings come once a second.
    await until(async () =>
      [...(await served.metric('sparsify_tensors')).values()].every((count) => count === 1),
    );
    rmSync(join(folder.path, 'sum', '2'), {recursive: true});
  });

  it('keeps the old version when the new one cannot be loaded', async () => {
    served = await serving({models: [{name: 'sum', path: join(folder.path, 'sum')}]});
    const source = join(folder.path, 'sum', '3');
    await saveSumModel(source, 3);
    rmSync(join(source, 'model.json'));
    await until(async () => JSON.stringify((await served.get('/v1/models/sum')).json).includes('"END"'));
    expect((await predict()).json).to.deep.equal({predictions: [[3]]});
    expect(JSON.stringify((await served.get('/v1/models/sum')).json)).to.include('model.json does not exist');
    rmSync(source, {recursive: true});
  });

  it('answers what a killed worker was asked after a restart, or with 503 and when to ask again', async () => {
    served = await serving({models: [{name: 'slow', path: join(folder.path, 'slow')}]});
    const slow = () => served.post('/v1/models/slow:predict', {instances: Array(32).fill([1, 1])});
    const reference = await slow();
    const running = [slow(), slow(), slow()];
    await sleep(50);
    const [pid] = served.server.workerPids;
    process.kill(pid, 'SIGKILL');
    await until(() => !served.server.workerPids.includes(pid));
    const meanwhile = await slow();
    expect(meanwhile.status).to.equal(503);
    expect(meanwhile.headers.get('retry-after')).to.equal('1');
    expect((await served.get('/healthz')).status).to.equal(200);
    for (const answer of await Promise.all(running)) {
      if (answer.status === 200) expect(answer.json).to.deep.equal(reference.json);
      else expect([answer.status, answer.headers.get('retry-after')]).to.deep.equal([503, '1']);
    }
    await until(async () => (await slow()).status === 200);
    expect(await served.metric('sparsify_worker_restarts_total')).to.deep.equal(new Map([['', 1]]));
  });

  it('goes on with the other worker when one of two ends', async () => {
    served = await serving({models: [{name: 'sum', path: join(folder.path, 'sum')}], pool: {workers: 2}});
    process.kill(served.server.workerPids[0], 'SIGKILL');
    const answers = await Promise.all(Array.from({length: 20}, () => predict()));
    expect(answers.map(({status}) => status)).to.deep.equal(Array(20).fill(200));
  });

  it('replaces a worker that hangs', async () => {
    served = await serving({models: [{name: 'sum', path: join(folder.path, 'sum')}], pool: {hangMs: 3000}});
    const [pid] = served.server.workerPids;
    process.kill(pid, 'SIGSTOP');
    const answer = await predict();
    expect(served.server.workerPids).to.not.include(pid);
    expect(answer.json).to.deep.equal({predictions: [[3]]}); // asked once more
  });

  it('answers what is under way when it is closed, and ends its workers', async () => {
    served = await serving({models: [{name: 'slow', path: join(folder.path, 'slow')}]});
    const answer = served.post('/v1/models/slow:predict', {instances: Array(32).fill([1, 1])});
    await sleep(50);
    const [pid] = served.server.workerPids;
    await served.server.close();
    expect((await answer).status).to.equal(200);
    await until(() => !existsSync(`/proc/${pid}`));
  });

  for (const [what, options, text] of [
    ['no model', {models: []}, 'one model or more'],
    ['a name with a slash', {models: [{name: '../x', path: 'x'}]}, 'letters'],
    ['two models of one name', {models: [1, 2].map(() => ({name: 'x', path: 'x'}))}, 'different'],
    ['a queue of no length', {models: [{name: 'x', path: 'x'}], queue: {maxQueue: 0}}, 'maxQueue is 0'],
    ['an empty key', {models: [{name: 'x', path: 'x'}], http: {apiKeys: ['']}}, 'API key'],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const error = await createServer(options).catch((error: Error) => error);
      expect(error).to.have.property('code', 'bad-option');
      expect(error).to.have.property('message').that.contains(text);
    });
  }
});

describe('tfjs-sparsify serve', function () {
  this.timeout(STARTS_TIMEOUT_MS);
  const folder = modelFolder();
  before(() => saveSumModel(join(folder.path, 'sum'), 1));

  it('serves, answers what is under way at SIGTERM, and exits with 0', async () => {
    await saveSlowModel(join(folder.path, 'slow'));
    const models = [join(folder.path, 'sum'), `long=${join(folder.path, 'slow', 'model.json')}`];
    const child = startCli(['serve', ...models, '--port', '0']);
    const ended = new Promise((resolve) => child.on('exit', resolve));
    let said = '';
    child.stderr!.on('data', (chunk: Buffer) => (said += chunk.toString()));
    let log = '';
    child.stdout!.on('data', (chunk: Buffer) => (log += chunk.toString()));
    await until(() => said.includes('ready\n'));
    const url = /listening at (\S+)/.exec(said)![1];
    const ask = (name: string, instances: unknown) =>
      fetch(`${url}/v1/models/${name}:predict`, {method: 'POST', body: JSON.stringify({instances})});
    expect(await (await ask('sum', [[1, 2, 3]])).json()).to.deep.equal({predictions: [[6]]});
    const slow = ask('long', Array(32).fill([1, 1]));
    await sleep(100);
    child.kill('SIGTERM');
    expect((await slow).status).to.equal(200);
    expect(await ended).to.equal(0);
    const lines = log
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.some(({path, status}) => path === '/v1/models/sum:predict' && status === 200)).to.equal(
      true,
    );
  });

  it('ends with 1 and says why when a model cannot be loaded', async () => {
    const child = startCli(['serve', join(folder.path, 'nothing'), '--port', '0']);
    let said = '';
    child.stderr!.on('data', (chunk: Buffer) => (said += chunk.toString()));
    expect(await new Promise((resolve) => child.on('exit', resolve))).to.equal(1);
    expect(said).to.contain('nothing').and.contain('does not exist');
  });
});
