import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {expect} from 'chai';
import {modelFolder, saveSumModel, serving, type Serving} from '../support/serving.js';

const LAYER = {
  class_name: 'Dense',
  config: {name: 'sum', units: 1, use_bias: false, batch_input_shape: [null, 3], dtype: 'float32'},
};
const KERNEL = {name: 'sum/kernel', shape: [3, 1], dtype: 'float32'};

/** A model.json as TensorFlow.js writes it, of one layer and 12 bytes of weights. */
function modelJson(layer: object = LAYER, kernel: object = KERNEL, paths = ['weights.bin']): string {
  const topology = {class_name: 'Sequential', config: {name: 'model', layers: [layer]}};
  return JSON.stringify({
    format: 'layers-model',
    modelTopology: {keras_version: 'tfjs-layers 4.22.0', backend: 'tensor_flow.js', model_config: topology},
    weightsManifest: [{paths, weights: [kernel]}],
  });
}

const withConfig = (config: object) => modelJson({...LAYER, config: {...LAYER.config, ...config}});
const HUGE = 2 ** 40;

const HOSTILE: Readonly<Record<string, string>> = {
  'units-beyond-memory': withConfig({units: HUGE}),
  'weights-beyond-memory': modelJson(LAYER, {...KERNEL, shape: [HUGE, HUGE]}),
  'units-below-zero': withConfig({units: -1}),
  'an-unknown-layer': modelJson({...LAYER, class_name: 'Lambda'}),
  'a-class-of-the-prototype': modelJson({...LAYER, class_name: '__proto__'}),
  'an-activation-of-the-prototype': withConfig({activation: 'constructor'}),
  'a-path-out-of-the-folder': modelJson(LAYER, KERNEL, ['../../../../../../etc/passwd']),
  'no-object': 'null',
  'no-json': '{"modelTopology": ',
  'deep-nesting': '{"modelTopology": ' + '['.repeat(200_000) + ']'.repeat(200_000) + '}',
};
/** Keys that would reach every object if they were merged carelessly; the model itself is right. */
const POLLUTING = modelJson()
  .replace(
    '"units":1',
    '"units":1,"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}',
  )
  .replace('"format"', '"__proto__":{"polluted":true},"format"');

describe('a server with hostile model files', function () {
  this.timeout(120_000); // a worker takes seconds to start, and many times as long on a busy machine
  const folder = modelFolder();
  let served: Serving;
  const place = (name: string, json: string) => {
    mkdirSync(join(folder.path, name));
    writeFileSync(join(folder.path, name, 'model.json'), json);
    writeFileSync(join(folder.path, name, 'weights.bin'), Buffer.from(Float32Array.of(1, 1, 1).buffer));
  };
  before(async () => {
    await saveSumModel(join(folder.path, 'good'), 1);
    place('plain', modelJson());
    place('polluting', POLLUTING);
    for (const [name, json] of Object.entries(HOSTILE)) place(name, json);
    const names = ['good', 'plain', 'polluting', ...Object.keys(HOSTILE)];
    served = await serving({models: names.map((name) => ({name, path: join(folder.path, name)}))}, false);
    while ((await stateOf(names.at(-1)!)) === undefined || (await stateOf(names.at(-1)!)) === 'LOADING');
  });
  after(() => served.server.close());

  const stateOf = async (name: string): Promise<string | undefined> =>
    statusOf(name).then((status) => status?.state);
  const statusOf = async (name: string) => {
    const {json} = await served.get(`/v1/models/${name}`);
    const [status] = (json as {model_version_status: Status[]}).model_version_status;
    return status as Status | undefined;
  };
  interface Status {
    readonly state: string;
    readonly status: {readonly error_message: string};
  }
  const predict = (name: string) => served.post(`/v1/models/${name}:predict`, {instances: [[1, 2, 3]]});

  for (const name of Object.keys(HOSTILE)) {
    it(`refuses ${name} and says why`, async () => {
      const {state, status} = (await statusOf(name))!;
      expect([state, status.error_message.length > 10]).to.deep.equal(['END', true]);
      const {status: code, headers} = await predict(name);
      expect([code, headers.get('retry-after')]).to.deep.equal([503, '10']);
    });
  }

  it('serves what else it has, from a process that none of them ended', async () => {
    expect((await predict('good')).json).to.deep.equal({predictions: [[6]]});
    expect((await predict('plain')).json).to.deep.equal({predictions: [[6]]});
    const restarts = await served.metric('sparsify_worker_restarts_total');
    expect(restarts).to.deep.equal(new Map([['', 0]]));
  });

  it('takes keys of the prototype for keys like others, or refuses them', async () => {
    const {status, json} = await predict('polluting');
    if (status === 200) expect(json).to.deep.equal({predictions: [[6]]});
    else expect((await stateOf('polluting'))!).to.equal('END');
    // A polluted prototype of the worker would show in every answer that it sends.
    expect((await predict('good')).json).to.deep.equal({predictions: [[6]]});
  });
});
