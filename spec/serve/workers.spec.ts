import {execFileSync} from 'node:child_process';
import {existsSync, readFileSync, renameSync, rmSync} from 'node:fs';
import {request} from 'node:https';
import {join} from 'node:path';
import {expect} from 'chai';
import {startCli} from '../support/cli.js';
import {createServer} from '../../lib/serve/index.js';
import {modelFolder, saveSlowModel, saveSumModel, serving, type Serving} from '../support/serving.js';

/** A worker takes seconds to start, and some of these start several. */
const STARTS_TIMEOUT_MS = 180_000;
const ROW = {instances: [[1, 1, 1]]};
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks until the condition holds. */
async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await condition())) await sleep(20);
}

/** A certificate for 127.0.0.1 that is its own authority. */
function selfSign(cert: string, key: string): void {
  const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  execFileSync(
    'openssl',
    ['req', '-x509', ...curve, ...subject, '-days', '1', '-keyout', key, '-out', cert],
    {
      stdio: 'pipe',
    },
  );
}

/** Asks a server that must show a certificate, and be in it. */
function postOverTls(url: string, cert: string, body: string): Promise<{status: number; json: unknown}> {
  return new Promise((resolve, reject) => {
    const asking = request(url, {method: 'POST', ca: readFileSync(cert)}, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve({status: response.statusCode ?? 0, json: JSON.parse(text)}));
    });
    asking.on('error', reject);
    asking.end(body);
  });
}

describe('createServer', function () {
  this.timeout(STARTS_TIMEOUT_MS);
  const folder = modelFolder();
  let served: Serving;
  const predict = (body: unknown = ROW) => served.post('/v1/models/sum:predict', body);
  const slow = () => served.post('/v1/models/slow:predict', {instances: Array(32).fill([1, 1])});
  before(async () => {
    await saveSumModel(join(folder.path, 'sum', '1'), 1);
    await saveSlowModel(join(folder.path, 'slow'));
    const models = ['sum', 'slow'].map((name) => ({name, path: join(folder.path, name)}));
    served = await serving({models}, false);
  });
  after(() => served.server.close());

  it('answers health while the models load, and is ready afterwards', async () => {
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
    const tensors = async () => [...(await served.metric('sparsify_tensors')).values()];
    await until(async () => (await tensors()).every((count) => count > 0)); // pings come once a second
    const before = await tensors();
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
    // The new one's kernel stands for the old one's.
    await until(async () => JSON.stringify(await tensors()) === JSON.stringify(before));
  });

  it('keeps the old version when the new one cannot be loaded', async () => {
    // It is broken before it lies where the server looks, which might otherwise load it whole.
    const broken = join(folder.path, 'three');
    const source = join(folder.path, 'sum', '3');
    await saveSumModel(broken, 3);
    rmSync(join(broken, 'model.json'));
    renameSync(broken, source);
    await until(async () => JSON.stringify((await served.get('/v1/models/sum')).json).includes('"END"'));
    expect((await predict()).json).to.deep.equal({predictions: [[6]]});
    expect(JSON.stringify((await served.get('/v1/models/sum')).json)).to.include('model.json does not exist');
    rmSync(source, {recursive: true});
  });

  it('answers what a killed worker was asked after a restart, or with 503 and when to ask again', async () => {
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

  it('answers what is under way when it is closed, and ends its workers', async () => {
    const answer = slow();
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

describe('a server with two workers', function () {
  this.timeout(STARTS_TIMEOUT_MS);
  const HANG_MS = 3000;
  const folder = modelFolder();
  let served: Serving;
  before(async () => {
    await saveSumModel(join(folder.path, 'sum'), 1);
    const models = ['sum', 'same', 'again', 'more'].map((name) => ({name, path: join(folder.path, 'sum')}));
    served = await serving({models, pool: {workers: 2, hangMs: HANG_MS}});
  });
  after(() => served.server.close());

  it('has loaded every model once in each, whichever of them started first', async () => {
    const tensors = async () => [...(await served.metric('sparsify_tensors')).values()];
    const isComplete = (counts: number[]) => counts.length === 2 && counts.every((count) => count >= 4);
    await until(async () => isComplete(await tensors()));
    await sleep(1100); // pings come once a second
    expect(await tensors()).to.deep.equal([4, 4]); // a kernel each
  });

  it('keeps them when it stood still itself for longer than they may', async () => {
    const pids = [...served.server.workerPids];
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, HANG_MS + 1500);
    expect(await statuses(4)).to.deep.equal(new Set([200]));
    expect(served.server.workerPids).to.deep.equal(pids);
  });

  const statuses = async (count: number) => {
    const answers = Array.from({length: count}, () => served.post('/v1/models/sum:predict', ROW));
    return new Set((await Promise.all(answers)).map(({status}) => status));
  };

  it('goes on with the other one when one ends', async () => {
    process.kill(served.server.workerPids[0], 'SIGKILL');
    expect(await statuses(20)).to.deep.equal(new Set([200]));
  });

  it('replaces one that hangs, and answers what it was asked', async () => {
    await until(() => served.server.workerPids.length === 2);
    const [pid] = served.server.workerPids;
    process.kill(pid, 'SIGSTOP');
    expect(await statuses(4)).to.deep.equal(new Set([200])); // the hung one's share was asked once more
    await until(() => !served.server.workerPids.includes(pid));
  });
});

describe('tfjs-sparsify serve', function () {
  this.timeout(STARTS_TIMEOUT_MS);
  const folder = modelFolder();
  before(() => saveSumModel(join(folder.path, 'sum'), 1));

  it('serves over https, answers what is under way at SIGTERM, and exits with 0', async () => {
    await saveSlowModel(join(folder.path, 'slow'));
    const [cert, key] = ['cert.pem', 'key.pem'].map((name) => join(folder.path, name));
    selfSign(cert, key);
    const models = [join(folder.path, 'sum'), `long=${join(folder.path, 'slow', 'model.json')}`];
    const child = startCli(['serve', ...models, '--port', '0', '--cert', cert, '--key', key]);
    const ended = new Promise((resolve) => child.on('exit', resolve));
    let said = '';
    child.stderr!.on('data', (chunk: Buffer) => (said += chunk.toString()));
    let log = '';
    child.stdout!.on('data', (chunk: Buffer) => (log += chunk.toString()));
    await until(() => said.includes('ready\n'));
    const url = /listening at (https:\S+)/.exec(said)![1];
    const ask = (name: string, instances: unknown) =>
      postOverTls(`${url}/v1/models/${name}:predict`, cert, JSON.stringify({instances}));
    expect((await ask('sum', [[1, 2, 3]])).json).to.deep.equal({predictions: [[6]]});
    const plain = await fetch(url.replace('https', 'http')).catch((error: Error) => error);
    expect(plain).to.be.instanceOf(Error);
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
    expect(log).to.not.contain('instances'); // no payloads
  });

  it('ends with 1 and says why when a model cannot be loaded', async () => {
    const child = startCli(['serve', join(folder.path, 'nothing'), '--port', '0']);
    let said = '';
    child.stderr!.on('data', (chunk: Buffer) => (said += chunk.toString()));
    expect(await new Promise((resolve) => child.on('exit', resolve))).to.equal(1);
    expect(said).to.contain('nothing').and.contain('does not exist');
  });
});
