import {join} from 'node:path';
import {expect} from 'chai';
import {saveNamedModel} from '../../scripts/load/models.js';
import {modelFolder, saveSumModel, serving, type Serving} from '../support/serving.js';

const HEADER = 'inference-header-content-length';

/** A request with its tensors behind the JSON. */
function binaryBody(json: object, ...tensors: (Float32Array | Int32Array | Uint8Array)[]) {
  const text = Buffer.from(JSON.stringify(json));
  const parts = tensors.map(({buffer, byteOffset, byteLength}) =>
    Buffer.from(buffer, byteOffset, byteLength),
  );
  return {body: Buffer.concat([text, ...parts]), headers: {[HEADER]: String(text.length)}};
}

describe('the Open Inference Protocol', function () {
  this.timeout(120_000); // a worker takes seconds to start, and many times as long on a busy machine
  const folder = modelFolder();
  let served: Serving;
  before(async () => {
    await saveSumModel(join(folder.path, 'sum'), 1);
    await saveNamedModel(join(folder.path, 'named'));
    await saveSumModel(join(folder.path, 'versions', '7'), 7);
    served = await serving({
      models: [
        {name: 'versions', path: join(folder.path, 'versions')},
        {name: 'sum', path: join(folder.path, 'sum')},
        {name: 'named', path: join(folder.path, 'named')},
      ],
    });
  });
  after(() => served.server.close());

  const input = {name: 'sum_input', shape: [2, 3], datatype: 'FP32'};

  it('tells of the server and that it lives and is ready', async () => {
    expect((await served.get('/v2')).json).to.deep.include({
      name: 'tfjs-sparsify',
      extensions: ['binary_tensor_data', 'model_repository'],
    });
    expect((await served.get('/v2/health/live')).status).to.equal(200);
    expect((await served.get('/v2/health/ready')).status).to.equal(200);
    expect((await served.get('/v2/models/sum/versions/1/ready')).status).to.equal(200);
  });

  it('tells what a model takes and gives', async () => {
    expect((await served.get('/v2/models/named')).json).to.deep.equal({
      name: 'named',
      versions: ['1'],
      platform: 'tensorflowjs_layers_model',
      inputs: [
        {name: 'a', datatype: 'FP32', shape: [-1, 2]},
        {name: 'b', datatype: 'INT32', shape: [-1, 1]},
      ],
      outputs: [
        {name: 'twice', datatype: 'FP32', shape: [-1, 2]},
        {name: 'looked', datatype: 'FP32', shape: [-1, 1, 1]},
      ],
    });
  });

  it('lists the models', async () => {
    const {json} = await served.post('/v2/repository/index', '{}');
    expect(json).to.deep.equal(
      ['versions', 'sum', 'named'].map((name) => {
        return {name, version: name === 'versions' ? '7' : '1', reason: '', state: 'READY'};
      }),
    );
  });

  for (const [form, data] of [
    ['flat', [1, 2, 3, 4, 5, 6]],
    [
      'nested',
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
    ],
  ] as const) {
    it(`infers from ${form} JSON`, async () => {
      const {json} = await served.post('/v2/models/sum/infer', {id: '7', inputs: [{...input, data}]});
      expect(json).to.deep.equal({
        ...{model_name: 'sum', model_version: '1', id: '7'},
        outputs: [{name: 'sum', datatype: 'FP32', shape: [2, 1], data: [6, 15]}],
      });
    });
  }

  it('takes and gives tensors behind the JSON', async () => {
    const a = Float32Array.of(1.5, -2, 3, 4);
    const b = Int32Array.of(3, 1);
    const {body, headers} = binaryBody(
      {
        inputs: [
          {name: 'b', shape: [2, 1], datatype: 'INT32', parameters: {binary_data_size: 8}},
          {name: 'a', shape: [2, 2], datatype: 'FP32', parameters: {binary_data_size: 16}},
        ],
        outputs: [{name: 'looked'}, {name: 'twice', parameters: {binary_data: true}}],
      },
      b,
      a,
    );
    const response = await fetch(`${served.url}/v2/models/named/infer`, {method: 'POST', body, headers});
    const bytes = Buffer.from(await response.arrayBuffer());
    const length = Number(response.headers.get(HEADER));
    expect(JSON.parse(bytes.subarray(0, length).toString())).to.have.deep.property('outputs', [
      {name: 'looked', datatype: 'FP32', shape: [2, 1, 1], data: [30, 10]},
      {name: 'twice', datatype: 'FP32', shape: [2, 2], parameters: {binary_data_size: 16}},
    ]);
    const twice = [0, 1, 2, 3].map((i) => bytes.readFloatLE(length + 4 * i));
    expect(twice).to.deep.equal([3, -4, 6, 8]);
  });

  it('gives every output behind the JSON with binary_data_output', async () => {
    const {body, headers} = binaryBody(
      {parameters: {binary_data_output: true}, inputs: [{...input, parameters: {binary_data_size: 24}}]},
      Float32Array.of(1, 2, 3, 4, 5, 6),
    );
    const response = await fetch(`${served.url}/v2/models/sum/infer`, {method: 'POST', body, headers});
    const bytes = Buffer.from(await response.arrayBuffer());
    expect([bytes.readFloatLE(bytes.length - 8), bytes.readFloatLE(bytes.length - 4)]).to.deep.equal([6, 15]);
  });

  for (const padding of [0, 1, 2, 3]) {
    it(`keeps tensors apart that are sent at a time, ${padding} bytes off alignment`, async () => {
      const rows = 1000; // more than what is read into memory of its own
      const asked = Array.from({length: 30}, async (_, k) => {
        const json = {
          ...{id: 'x'.repeat(padding), parameters: {binary_data_output: true}},
          inputs: [{...input, shape: [rows, 3], parameters: {binary_data_size: 12 * rows}}],
        };
        const {body, headers} = binaryBody(json, new Float32Array(3 * rows).fill(k));
        const response = await fetch(`${served.url}/v2/models/sum/infer`, {method: 'POST', body, headers});
        const bytes = Buffer.from(await response.arrayBuffer());
        const start = Number(response.headers.get(HEADER));
        return Array.from({length: rows}, (_, row) => bytes.readFloatLE(start + 4 * row));
      });
      for (const [k, sums] of (await Promise.all(asked)).entries()) {
        expect(sums).to.deep.equal(new Array(rows).fill(3 * k));
      }
    });
  }

  const values = new Float32Array(6);
  const sized = (bytes: unknown, shape = [2, 3]) =>
    binaryBody({inputs: [{...input, shape, parameters: {binary_data_size: bytes}}]}, values);
  for (const [what, {body, headers}, text] of [
    ['fewer bytes than the shape has', sized(20), '24 bytes'],
    ['more bytes than the shape has', sized(24, [1, 3]), '12 bytes'],
    ['more bytes than the body has', sized(28), '24 bytes are left'],
    ['a size below 0', sized(-4), '-4'],
    ['a size that is text', sized('24'), '"24"'],
    ['a dimension below 0', sized(24, [-2, -3]), 'shape'],
    ['a shape that needs all memory', sized(24, [2 ** 40, 2 ** 40]), 'at most'],
    [
      'bytes that belong to nothing',
      binaryBody({inputs: [{...input, data: [1, 2, 3, 4, 5, 6]}]}, values),
      'no input',
    ],
    ['a header longer than the body', {...sized(24), headers: {[HEADER]: '99999'}}, '99999'],
    ['a header that is no number', {...sized(24), headers: {[HEADER]: '1e3'}}, '1e3'],
    ['a header amid the JSON', {...sized(24), headers: {[HEADER]: '9'}}, 'no JSON'],
  ] as const) {
    it(`refuses ${what} with 400`, async () => {
      const response = await fetch(`${served.url}/v2/models/sum/infer`, {method: 'POST', body, headers});
      expect(response.status).to.equal(400);
      const {error} = (await response.json()) as {error: string};
      expect(error).to.contain(text);
    });
  }

  for (const [what, change, text] of [
    ['another datatype', {datatype: 'INT32'}, 'takes float32'],
    ['a datatype that is not served', {datatype: 'FP64'}, 'FP64'],
    ['an unknown input', {name: 'sum_inputs'}, 'did you mean "sum_input"'],
    ['too few values', {data: [1]}, 'needs 6'],
    ['values that are text', {data: ['1', '2', '3', '4', '5', '6']}, 'finite number'],
    ['no data', {data: undefined}, 'no array'],
  ] as const) {
    it(`refuses ${what} with 400`, async () => {
      const inputs = [{...input, data: [1, 2, 3, 4, 5, 6], ...change}];
      const {status, json} = await served.post('/v2/models/sum/infer', {inputs});
      expect(status).to.equal(400);
      expect((json as {error: string}).error).to.contain(text);
    });
  }

  for (const [field, value] of [
    ['sequence_id', 5],
    ['sequence_start', true],
    ['classification', 2],
    ['shared_memory_region', 'r'],
  ] as const) {
    it(`refuses the parameter ${field} wherever it stands, and takes what does not set it`, async () => {
      const ask = (value: unknown, where: 'body' | 'input' | 'output') => {
        const at = (place: string) => (place === where ? {parameters: {[field]: value}} : {});
        const inputs = [{...input, data: [1, 2, 3, 4, 5, 6], ...at('input')}];
        return served.post('/v2/models/sum/infer', {
          ...at('body'),
          inputs,
          outputs: [{name: 'sum', ...at('output')}],
        });
      };
      for (const where of ['body', 'input', 'output'] as const) {
        const {status, json} = await ask(value, where);
        expect(status).to.equal(400);
        expect((json as {error: string}).error).to.contain(`"${field}" is not supported`);
        expect((await ask(0, where)).status).to.equal(200);
      }
    });
  }

  it('answers with the version that computed, and with the id of the request', async () => {
    const inputs = [{...input, data: [1, 2, 3, 4, 5, 6]}];
    for (const path of ['versions', 'versions/versions/7']) {
      const {json} = await served.post(`/v2/models/${path}/infer`, {id: 'mine', inputs});
      expect(json).to.include({model_name: 'versions', model_version: '7', id: 'mine'});
      expect(json).to.have.nested.property('outputs[0].data').that.deep.equals([42, 105]);
    }
    expect((await served.post('/v2/models/versions/infer', {inputs})).json).not.to.have.property('id');
  });

  it('refuses an input that is given twice', async () => {
    const inputs = [1, 2].map(() => ({...input, data: [1, 2, 3, 4, 5, 6]}));
    const {status, json} = await served.post('/v2/models/sum/infer', {inputs});
    expect(status).to.equal(400);
    expect((json as {error: string}).error).to.contain('"sum_input" is given twice');
  });

  it('refuses bytes of a truth value that are neither 0 nor 1', async () => {
    const ask = async (byte: number) => {
      const parameters = {binary_data_size: 2};
      const bool = {inputs: [{...input, shape: [2], datatype: 'BOOL', parameters}]};
      const {body, headers} = binaryBody(bool, Uint8Array.of(1, byte));
      const response = await fetch(`${served.url}/v2/models/sum/infer`, {method: 'POST', body, headers});
      return ((await response.json()) as {error: string}).error;
    };
    expect(await ask(2)).to.contain('must be 0 or 1');
    expect(await ask(0)).to.contain('is bool; the model takes float32'); // the bytes are right
  });

  it('refuses an unknown model, version and output', async () => {
    const inputs = [{...input, data: [1, 2, 3, 4, 5, 6]}];
    expect((await served.post('/v2/models/summ/infer', {inputs})).status).to.equal(404);
    expect((await served.post('/v2/models/sum/versions/2/infer', {inputs})).status).to.equal(404);
    expect((await served.post('/v2/models/sum/versions/x/infer', {inputs})).status).to.equal(404);
    expect((await served.post('/v2/models/sum/infer', {inputs, outputs: [{name: 'x'}]})).status).to.equal(
      400,
    );
  });
});
