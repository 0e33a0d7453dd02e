import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {makeSparsifying, maskingLayers} from '../../lib/model/dense-layers.js';
import {saveLayersModel} from '../../lib/io/model/model-files.js';
import {modelFolder, serving, type Serving} from '../support/serving.js';

describe('/metrics', function () {
  this.timeout(120_000); // a worker takes seconds to start, and many times as long on a busy machine
  const folder = modelFolder();
  let served: Serving;
  before(async () => {
    const layer = tf.layers.dense({
      units: 1,
      inputShape: [4],
      useBias: false,
      kernelInitializer: 'ones',
      name: 'sum',
    });
    const model = tf.sequential({layers: [layer]});
    makeSparsifying(model, new Set(['sum']));
    for (const sparse of maskingLayers(model).values()) sparse.setThreshold(0.5);
    await saveLayersModel(model, join(folder.path, 'sparse'));
    model.dispose();
    served = await serving({models: [{name: 'sparse', path: join(folder.path, 'sparse')}]});
  });
  after(() => served.server.close());

  it('tell the actual sparsity of what was asked', async () => {
    const {json} = await served.post('/v1/models/sparse:predict', {instances: [[0.25, 0.5, 1, 2]]});
    expect(json).to.deep.equal({predictions: [[3]]});
    let sparsity: ReadonlyMap<string, number>;
    do sparsity = await served.metric('sparsify_actual_sparsity');
    while (sparsity.size === 0);
    expect(sparsity).to.deep.equal(new Map([['model="sparse"', 0.5]]));
  });

  it('count requests by model, protocol and status', async () => {
    await served.post('/v1/models/sparse:predict', {instances: [[1]]});
    await served.post('/v2/models/nothing/infer', {});
    const counts = await served.metric('sparsify_requests_total');
    expect(counts.get('model="sparse",protocol="tensorflow-serving",status="400"')).to.equal(1);
    expect(counts.get('model="",protocol="open-inference",status="404"')).to.equal(1); // no name that was made up
    const latencies = await served.metric('sparsify_request_duration_seconds_count');
    expect(latencies.get('model="sparse",protocol="tensorflow-serving"')).to.be.at.least(1);
  });

  it('tell the memory of front and workers, and whether models are ready', async () => {
    const isKnown = async () =>
      [...(await served.metric('sparsify_resident_memory_bytes')).values()].every((n) => n > 1e7);
    while (!(await isKnown())); // pings come once a second
    expect((await served.metric('sparsify_resident_memory_bytes')).size).to.equal(2);
    expect(await served.metric('sparsify_ready')).to.deep.equal(new Map([['', 1]]));
  });
});
