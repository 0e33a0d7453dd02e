import {join} from 'node:path';
import {expect} from 'chai';
import {
  modelFolder,
  saveSlowModel,
  saveSumModel,
  serving,
  type Answer,
  type Serving,
} from '../support/serving.js';

const JSON_TYPE = {'content-type': 'application/json'};
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('the queue', function () {
  this.timeout(120_000);
  const folder = modelFolder();
  let served: Serving;
  before(async () => {
    await saveSlowModel(join(folder.path, 'slow'));
    await saveSumModel(join(folder.path, 'sum'), 1);
    served = await serving({
      models: ['slow', 'sum'].map((name) => ({name, path: join(folder.path, name)})),
      queue: {maxQueue: 4, maxBatch: 8},
    });
  });
  after(() => served.server.close());

  const body = JSON.stringify({instances: Array(8).fill([1, 1])});
  const slow = (): Promise<Answer> => served.post('/v1/models/slow:predict', body);
  const waiting = async (): Promise<number> =>
    (await served.metric('sparsify_queue_length')).get('model="slow"') ?? 0;

  it('joins requests that wait, and gives each its own answer', async () => {
    const busy = [slow(), slow()]; // as many batches as a worker holds
    await sleep(20);
    const sums = await Promise.all(
      [1, 2, 3, 4].map((x) => served.post('/v1/models/sum:predict', {instances: [[x, 0, 0]]})),
    );
    expect(sums.map(({json}) => json)).to.deep.equal([1, 2, 3, 4].map((x) => ({predictions: [[x]]})));
    const rows = (await served.metric('sparsify_batch_rows_sum')).get('model="sum"')!;
    const batches = (await served.metric('sparsify_batch_rows_count')).get('model="sum"')!;
    expect(rows).to.equal(4);
    expect(batches).to.be.below(4);
    await Promise.all(busy);
  });

  it('answers 429 and when to ask again once it is full, and everything that it took', async () => {
    const [pid] = served.server.workerPids;
    process.kill(pid, 'SIGSTOP'); // holds the two batches that it was sent, so that the others wait
    let refusals = 0;
    const asking = Array.from({length: 12}, async () => {
      const answer = await slow();
      if (answer.status === 429) refusals++;
      return answer;
    });
    while (refusals < 6) await sleep(5); // at once, while the worker computes nothing
    expect(await waiting()).to.equal(4);
    process.kill(pid, 'SIGCONT');
    const answers = await Promise.all(asking);
    const statuses = answers.map(({status}) => status).sort();
    expect(statuses).to.deep.equal([...Array<number>(6).fill(200), ...Array<number>(6).fill(429)]); // 2 sent, 4 waiting
    const refused = answers.find(({status}) => status === 429)!;
    expect(refused.headers.get('retry-after')).to.equal('1');
  });

  it('drops what a client that went away was waiting for', async () => {
    const waitingIs = async (count: number) => {
      while ((await waiting()) !== count) await sleep(5);
    };
    const [pid] = served.server.workerPids;
    process.kill(pid, 'SIGSTOP'); // holds the two requests that it was sent, so that the others wait
    const busy = [slow(), slow(), slow()];
    await waitingIs(1);
    const controller = new AbortController();
    const {signal} = controller;
    const gone = fetch(`${served.url}/v1/models/slow:predict`, {
      method: 'POST',
      headers: JSON_TYPE,
      body,
      signal,
    }).catch((error: Error) => error.name);
    await waitingIs(2);
    controller.abort();
    expect(await gone).to.equal('AbortError');
    await waitingIs(1);
    process.kill(pid, 'SIGCONT');
    expect((await Promise.all(busy)).map(({status}) => status)).to.deep.equal([200, 200, 200]);
  });

  it('answers 504 at the deadline that a request brings', async () => {
    const busy = [slow(), slow()];
    const inputs = [{name: 'wide_input', shape: [1, 2], datatype: 'FP32', data: [1, 1]}];
    const {status, json} = await served.post('/v2/models/slow/infer', {parameters: {timeout: 1000}, inputs});
    expect([status, json]).to.deep.equal([504, {error: 'there was no answer within 1 ms'}]);
    await Promise.all(busy);
  });
});
