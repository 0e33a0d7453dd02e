import {createHash} from 'node:crypto';
import {join} from 'node:path';
import {Script} from 'node:vm';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {saveLayersModel} from '../../lib/io/model/model-files.js';
import {RecentRequests} from '../../lib/serve/status-page/request-figures.js';
import type {Status} from '../../lib/serve/status-page/routes.js';
import {sparsifyActivations} from '../../lib/sparsify.js';
import {modelFolder, serving, type Serving} from '../support/serving.js';

/** One layer of 4 inputs of which half are to be masked: of 1, 2, 3, 4 the first two. */
async function saveSparse(path: string): Promise<void> {
  const model = tf.sequential({
    layers: [tf.layers.dense({units: 1, inputShape: [4], kernelInitializer: 'ones', name: 'sum'})],
  });
  const options = {targetSparsityByScope: {'.*': 0.5}, inPlace: true};
  await sparsifyActivations(model, [[[1, 2, 3, 4]]], options);
  await saveLayersModel(model, path);
  model.dispose();
}

describe('the status page', function () {
  this.timeout(120_000); // a worker takes seconds to start, and many times as long on a busy machine
  const folder = modelFolder();
  let served: Serving;
  const key = {authorization: 'Bearer secret'};
  before(async () => {
    await saveSparse(join(folder.path, 'sum'));
    served = await serving({
      models: [{name: 'sum', path: join(folder.path, 'sum')}],
      http: {apiKeys: ['secret']},
    });
  });
  after(() => served.server.close());

  it('is one file with a policy that lets nothing but its own script and style in', async () => {
    const {status, headers, json} = await served.get('/');
    const page = json as string;
    expect(status).to.equal(200);
    expect(headers.get('content-type')).to.equal('text/html; charset=utf-8');
    const policy = headers.get('content-security-policy')!;
    expect(policy).to.include("default-src 'none'").and.include("connect-src 'self'");
    for (const kind of ['script', 'style']) {
      const [, content, ...more] = [...page.matchAll(new RegExp(`<${kind}>(.*?)</${kind}>`, 'gs'))].flat();
      expect(more).to.deep.equal([]);
      const hash = createHash('sha256').update(content).digest('base64');
      expect(policy).to.include(`${kind}-src 'sha256-${hash}'`);
      if (kind === 'script') expect(() => new Script(content)).to.not.throw();
    }
    expect(page).to.not.match(/\s(src|href|on\w+|style)=/);
  });

  it('tells models, versions, sparsity and requests to those who have a key', async () => {
    expect((await served.get('/status')).status).to.equal(401);
    const before = (await served.get('/status', key)).json as Status;
    expect(before.ready).to.be.true;
    expect(before.models[0]).to.deep.include({name: 'sum', waiting: 0, sparsity: null});
    expect(before.models[0].versions).to.deep.equal([
      {
        ...{version: 1, state: 'available', error: null, running: 0, isLanguageModel: false, hasChat: false},
        layers: [{path: 'sum', target: 0.5}],
      },
    ]);

    const {json} = await served.post('/v1/models/sum:predict', {instances: [[1, 2, 3, 4]]}, key);
    expect(json).to.deep.equal({predictions: [[7]]});
    for (;;) {
      const {models} = (await served.get('/status', key)).json as Status;
      expect(models[0].requests.total).to.equal(1);
      if (models[0].sparsity === null) continue; // a worker measures after it has answered
      expect(models[0].sparsity).to.deep.equal({
        mean: 0.5,
        layers: [{path: 'sum', target: 0.5, actual: 0.5}],
      });
      break;
    }
  });

  it('gives rates and latencies of the last ten seconds', () => {
    let now = 5500;
    const recent = new RecentRequests(() => now);
    for (let i = 1; i <= 100; i++) recent.add('m', i > 95 ? 503 : i > 90 ? 400 : i > 50 ? 399 : 200, i);
    expect(recent.of('m')).to.deep.include({total: 100, perSecond: 0, p50Ms: null}); // this second is not over
    now = 6000;
    const {perSecond, refusedPerSecond, p50Ms, p99Ms} = recent.of('m');
    expect({perSecond, refusedPerSecond}).to.deep.equal({perSecond: 10, refusedPerSecond: 1});
    expect(p50Ms).to.be.within(50, 55);
    expect(p99Ms).to.be.within(99, 109);
    now = 16_000;
    expect(recent.of('m')).to.deep.equal({
      total: 100,
      perSecond: 0,
      refusedPerSecond: 0,
      p50Ms: null,
      p99Ms: null,
    });
  });
});
