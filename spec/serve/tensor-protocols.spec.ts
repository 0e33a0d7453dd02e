import {expect} from 'chai';
import Fastify, {type FastifyInstance} from 'fastify';
import {readBodies} from '../../lib/serve/bodies.js';
import type {Dispatcher} from '../../lib/serve/dispatcher.js';
import {ServeError} from '../../lib/serve/http-errors.js';
import {Metrics} from '../../lib/serve/metrics.js';
import {openInference} from '../../lib/serve/protocols/open-inference.js';
import {tensorFlowServing} from '../../lib/serve/protocols/tensorflow-serving.js';
import type {ModelVersion, Repository, VersionChoice} from '../../lib/serve/model-repository.js';
import type {Services} from '../../lib/serve/request.js';
import type {Signature, WireTensor} from '../../lib/serve/tensors.js';

/** x of three numbers a row; and, for the model of two inputs, ids of one a row and flags of two. */
const X = {name: 'x', dtype: 'float32', shape: [null, 3]} as const;
const IDS = {name: 'ids', dtype: 'int32', shape: [null, 1]} as const;
const FLAGS = {name: 'flags', dtype: 'bool', shape: [null, 2]} as const;
const ONE: Signature = {inputs: [X], outputs: [{...X, name: 'double'}]};
/** It gives its inputs, each under another name. */
const MANY: Signature = {
  inputs: [X, IDS, FLAGS],
  outputs: [
    {...X, name: 'x out'},
    {...IDS, name: 'ids out'},
    {...FLAGS, name: 'flags out'},
  ],
};

const version = (change: Partial<ModelVersion> & {signature?: Signature}) =>
  ({
    ...{state: 'available', error: null, created: 77},
    ...change,
    info: {signature: change.signature ?? ONE},
  }) as unknown as ModelVersion;
const VERSIONS: Readonly<Record<string, readonly ModelVersion[]>> = {
  one: [
    version({model: 'one', version: 3}),
    version({model: 'one', version: 2, state: 'loading', created: 66}),
    version({model: 'one', version: 1, state: 'failed', error: 'damaged'}),
  ],
  many: [
    version({model: 'many', version: 1, signature: MANY}),
    version({model: 'many', version: 0, state: 'draining'}),
  ],
  mean: [version({model: 'mean', version: 1})],
};

describe('protocols of tensors', () => {
  let fastify: FastifyInstance;
  /** Versions that were asked for, with what. */
  let chosen: (readonly [name: string, choice: VersionChoice | undefined])[];
  let served: string[];
  let timeouts: (number | undefined)[];
  let isReady: boolean;
  let isDraining: boolean;
  before(async () => {
    fastify = Fastify();
    fastify.decorateRequest('servedModel', '');
    fastify.removeAllContentTypeParsers();
    readBodies(fastify, 1e6);
    fastify.addHook('onResponse', (request, _reply, done) => {
      served.push(request.servedModel);
      done();
    });
    const all = (name: string) => {
      if (Object.hasOwn(VERSIONS, name)) return VERSIONS[name];
      throw new ServeError(404, 'unknown-model', `no ${name}`);
    };
    const repository = {
      names: Object.keys(VERSIONS),
      get isReady() {
        return isReady;
      },
      all,
      choose: (name: string, choice?: VersionChoice) => {
        chosen.push([name, choice]);
        const found = all(name).find((entry) => entry.version === (choice?.version ?? all(name)[0].version));
        if (found === undefined) throw new ServeError(404, 'unknown-version', 'no such version');
        return found;
      },
    } as unknown as Repository;
    const dispatcher = {
      predict: ({model}: ModelVersion, inputs: readonly WireTensor[], {timeoutMs}: {timeoutMs?: number}) => {
        timeouts.push(timeoutMs);
        if (model === 'many') return Promise.resolve(inputs);
        const [{values, shape, dtype}] = inputs;
        if (model === 'mean') return Promise.resolve([{dtype, shape: [1, 3], values: values.slice(0, 3)}]);
        return Promise.resolve([{dtype, shape, values: values.map((value) => 2 * value)}]);
      },
    } as unknown as Dispatcher;
    const metrics = new Metrics({queues: () => new Map(), workers: () => [], isReady: () => true});
    const services: Services = {repository, dispatcher, metrics};
    await fastify.register((scope) => tensorFlowServing(scope, services));
    await fastify.register((scope) =>
      openInference(scope, {...services, version: '9.8', isDraining: () => isDraining}),
    );
  });
  after(() => fastify.close());
  beforeEach(() => {
    chosen = [];
    served = [];
    timeouts = [];
    isReady = true;
    isDraining = false;
  });

  const get = async (url: string) => {
    const {statusCode: status, headers, body} = await fastify.inject(url);
    return {status, type: headers['content-type'], json: JSON.parse(body) as unknown};
  };
  const post = async (url: string, payload: object | Buffer, headers: Record<string, string> = {}) => {
    const answer = await fastify.inject({
      ...{method: 'POST', url, headers},
      payload: Buffer.isBuffer(payload) ? payload : JSON.stringify(payload),
    });
    return {
      ...{status: answer.statusCode, type: answer.headers['content-type'], headers: answer.headers},
      ...{bytes: answer.rawPayload, text: answer.body},
    };
  };
  /** What a refused request is told. */
  const refusal = async (url: string, payload: object | Buffer, headers: Record<string, string> = {}) => {
    const {status, text} = await post(url, payload, headers);
    expect(status, text).to.equal(400);
    return (JSON.parse(text) as {error: string}).error;
  };

  describe("TensorFlow Serving's", () => {
    const predict = async (model: string, body: object) => {
      const {status, type, text} = await post(`/v1/models/${model}:predict`, body);
      expect(status, text).to.equal(200);
      expect(type).to.contain('application/json');
      return JSON.parse(text) as unknown;
    };

    for (const [what, model, body, answer] of [
      ['rows', 'one', {instances: [[1, 2, 3], [4, 5, 6]]}, {predictions: [[2, 4, 6], [8, 10, 12]]}], // prettier-ignore
      ['rows by name', 'one', {instances: [{x: [1, 2, 3]}]}, {predictions: [[2, 4, 6]]}],
      ['a column', 'one', {inputs: [[1, 2, 3]]}, {outputs: [[2, 4, 6]]}],
      ['a column by name', 'one', {inputs: {x: [[1, 2, 3]]}}, {outputs: [[2, 4, 6]]}],
      [
        'a signature',
        'one',
        {instances: [[1, 2, 3]], signature_name: 'serving_default'},
        {predictions: [[2, 4, 6]]},
      ],
      ['no signature', 'one', {instances: [[1, 2, 3]], signature_name: ''}, {predictions: [[2, 4, 6]]}],
      [
        'rows of several inputs',
        'many',
        {
          instances: [
            {x: [1, 2, 3], ids: [7], flags: [true, false]},
            {flags: [false, false], ids: [8], x: [4, 5, 6]},
          ],
        },
        {
          predictions: [
            {'x out': [1, 2, 3], 'ids out': [7], 'flags out': [true, false]},
            {'x out': [4, 5, 6], 'ids out': [8], 'flags out': [false, false]},
          ],
        },
      ],
      [
        'columns of several inputs',
        'many',
        {inputs: {ids: [[7]], x: [[1, 2, 3]], flags: [[true, true]]}},
        {outputs: {'x out': [[1, 2, 3]], 'ids out': [[7]], 'flags out': [[true, true]]}},
      ],
    ] as const) {
      it(`answers ${what}`, async () => {
        expect(await predict(model, body)).to.deep.equal(answer);
        expect(served).to.deep.equal([model]);
      });
    }

    for (const [what, model, body, text] of [
      [
        'neither form',
        'one',
        {},
        'the body must have either "instances" (row form) or "inputs" (column form)',
      ],
      ['both forms', 'one', {instances: [[1, 2, 3]], inputs: [[1, 2, 3]]}, 'the body must have either'],
      ['no row', 'one', {instances: []}, 'instances must not have fewer than 1'],
      [
        'another signature',
        'one',
        {instances: [[1, 2, 3]], signature_name: 'x'},
        'or write "serving_default"',
      ],
      ['rows without names', 'many', {instances: [[1, 2, 3]]}, 'instances must be objects of x, ids, flags'],
      [
        'a column without names',
        'many',
        {inputs: [[1, 2, 3]]},
        '"inputs" must be an object of x, ids, flags',
      ],
      [
        'a row of other names',
        'one',
        {instances: [{x: [1, 2, 3]}, {}]},
        'all instances must be objects of the same names',
      ],
      ['a row that is no object', 'one', {instances: [{x: [1, 2, 3]}, [1]]}, 'all instances must be objects'],
      ['a row that is null', 'one', {instances: [{x: [1, 2, 3]}, null]}, 'all instances must be objects'],
      ['an unknown name', 'one', {instances: [{y: [1]}]}, 'the model has no input "y"; it has x'],
      ['an unknown column', 'many', {inputs: {y: [1]}}, 'the model has no input "y"; it has x, ids, flags'],
      [
        'rows that give one answer',
        'mean',
        {instances: [[1, 2, 3], [4, 5, 6]]}, // prettier-ignore
        'output "double" has shape [1, 3] for 2 rows: ask in column form, with "inputs"',
      ],
    ] as const) {
      it(`refuses ${what}`, async () => {
        expect(await refusal(`/v1/models/${model}:predict`, body)).to.contain(text);
        expect(served).to.deep.equal([model]);
      });
    }

    const ALL = [
      {version: '3', state: 'AVAILABLE', status: {error_code: 'OK', error_message: ''}},
      {version: '2', state: 'LOADING', status: {error_code: 'OK', error_message: ''}},
      {version: '1', state: 'END', status: {error_code: 'UNKNOWN', error_message: 'damaged'}},
    ];
    const openAi = {id: 'one', object: 'model', owned_by: 'tfjs-sparsify'};

    it('tells the state of all versions, or of the one that is named', async () => {
      const answer = await get('/v1/models/one');
      expect(answer.type).to.contain('application/json');
      expect(answer.json).to.deep.equal({model_version_status: ALL, ...openAi, created: 77});
      expect(chosen).to.deep.equal([]);
      for (const name of ['versions/2', 'labels/stable']) {
        const {json} = await get(`/v1/models/one/${name}`);
        expect((json as {model_version_status: object[]}).model_version_status).to.have.length(1);
      }
      expect(chosen.map(([, choice]) => [choice?.version, choice?.label])).to.deep.equal([
        [2, undefined],
        [undefined, 'stable'],
      ]);
      const {json} = await get('/v1/models/many');
      expect(json).to.have.nested.property('model_version_status[1].state', 'UNLOADING');
      expect(served).to.deep.equal(['one', 'one', 'one', 'many']);
    });

    it('tells what a model takes and gives', async () => {
      const tensor = (name: string, dtype: string, sizes: string[]) => ({
        ...{name, dtype},
        tensor_shape: {dim: sizes.map((size) => ({size, name: ''})), unknown_rank: false},
      });
      const {json} = await get('/v1/models/many/metadata');
      expect(json).to.deep.equal({
        model_spec: {name: 'many', signature_name: '', version: '1'},
        metadata: {
          signature_def: {
            signature_def: {
              serving_default: {
                inputs: {
                  x: tensor('x', 'DT_FLOAT', ['-1', '3']),
                  ids: tensor('ids', 'DT_INT32', ['-1', '1']),
                  flags: tensor('flags', 'DT_BOOL', ['-1', '2']),
                },
                outputs: {
                  'x out': tensor('x out', 'DT_FLOAT', ['-1', '3']),
                  'ids out': tensor('ids out', 'DT_INT32', ['-1', '1']),
                  'flags out': tensor('flags out', 'DT_BOOL', ['-1', '2']),
                },
                method_name: 'tensorflow/serving/predict',
              },
            },
          },
        },
      });
      expect(served).to.deep.equal(['many']);
      await get('/v1/models/one/versions/2/metadata');
      expect(chosen.at(-1)).to.deep.equal(['one', {model: 'one', version: 2, action: 'metadata'}]);
    });

    for (const [url, choice] of [
      ['/v1/models/one/versions/2:predict', {version: 2}],
      ['/v1/models/one/labels/stable:predict', {label: 'stable'}],
      ['/v1/models/one:predict', {}],
    ] as const) {
      it(`asks what is named in ${url}`, async () => {
        const {status} = await post(url, {instances: [[1, 2, 3]]});
        expect(status).to.equal(200);
        expect(chosen).to.deep.equal([['one', {model: 'one', ...choice, action: 'predict'}]]);
      });
    }

    for (const path of [
      '',
      'one/x',
      'one/versions/x',
      'one/versions/1/2',
      'one:predict/x',
      ':predict',
      'one/labels/',
    ]) {
      it(`has nothing at /v1/models/${path}`, async () => {
        const {status, json} = await get(`/v1/models/${path}`);
        expect(status).to.equal(404);
        expect(json).to.deep.equal({error: 'no such path under /v1/models/'});
      });
    }

    it('says with what its actions are asked for', async () => {
      expect(await get('/v1/models/one:predict')).to.deep.include({
        status: 400,
        json: {error: '":predict" is asked for with POST'},
      });
      expect(await refusal('/v1/models/one:classify', {})).to.equal(
        '":classify" is not served; ":predict" is',
      );
      expect(await refusal('/v1/models/one', {})).to.equal('":" is not served; ":predict" is');
    });
  });

  describe('the Open Inference Protocol', () => {
    const x = (data: unknown, change: object = {}) => ({
      name: 'x',
      datatype: 'FP32',
      shape: [1, 3],
      data,
      ...change,
    });
    const BODY = {inputs: [x([1, 2, 3])]};
    const infer = async (body: object, url = '/v2/models/one/infer') => {
      const {status, type, text} = await post(url, body);
      expect(status, text).to.equal(200);
      expect(type).to.contain('application/json');
      return JSON.parse(text) as {outputs: {name: string}[]};
    };
    const DOUBLED = {name: 'double', datatype: 'FP32', shape: [1, 3], data: [2, 4, 6]};

    it('tells of the server, and whether it is ready', async () => {
      expect((await get('/v2')).json).to.deep.equal({
        ...{name: 'tfjs-sparsify', version: '9.8', extensions: ['binary_tensor_data', 'model_repository']},
      });
      expect(await get('/v2/health/live')).to.deep.include({status: 200, json: {live: true}});
      for (const [ready, draining, status] of [
        [true, false, 200],
        [false, false, 503],
        [true, true, 503],
      ] as const) {
        isReady = ready;
        isDraining = draining;
        expect(await get('/v2/health/ready')).to.deep.include({status, json: {ready: status === 200}});
      }
    });

    it('lists all versions with their states', async () => {
      const {text} = await post('/v2/repository/index', {});
      expect(JSON.parse(text)).to.deep.equal([
        {name: 'one', version: '3', reason: '', state: 'READY'},
        {name: 'one', version: '2', reason: '', state: 'LOADING'},
        {name: 'one', version: '1', reason: 'damaged', state: 'UNAVAILABLE'},
        {name: 'many', version: '1', reason: '', state: 'READY'},
        {name: 'many', version: '0', reason: '', state: 'UNAVAILABLE'},
        {name: 'mean', version: '1', reason: '', state: 'READY'},
      ]);
    });

    it('tells what a model takes and gives', async () => {
      const {json} = await get('/v2/models/many');
      expect(json).to.deep.equal({
        ...{name: 'many', versions: ['1'], platform: 'tensorflowjs_layers_model'},
        inputs: [
          {name: 'x', datatype: 'FP32', shape: [-1, 3]},
          {name: 'ids', datatype: 'INT32', shape: [-1, 1]},
          {name: 'flags', datatype: 'BOOL', shape: [-1, 2]},
        ],
        outputs: [
          {name: 'x out', datatype: 'FP32', shape: [-1, 3]},
          {name: 'ids out', datatype: 'INT32', shape: [-1, 1]},
          {name: 'flags out', datatype: 'BOOL', shape: [-1, 2]},
        ],
      });
      expect((await get('/v2/models/many/ready')).json).to.deep.equal({name: 'many', ready: true});
      expect(served).to.deep.equal(['many', 'many']);
    });

    it('answers by name, version and id', async () => {
      const head = {model_name: 'one', model_version: '3'};
      expect(await infer(BODY)).to.deep.equal({...head, outputs: [DOUBLED]});
      expect(await infer({...BODY, id: 'a'})).to.deep.equal({...head, id: 'a', outputs: [DOUBLED]});
      expect(await infer(BODY, '/v2/models/one/versions/2/infer')).to.deep.equal({
        ...{...head, model_version: '2'},
        outputs: [DOUBLED],
      });
      expect(chosen).to.deep.equal([
        ['one', {}],
        ['one', {}],
        ['one', {version: 2}],
      ]);
      expect(served).to.deep.equal(['one', 'one', 'one']);
    });

    it('takes nested data, all datatypes, and inputs in any order', async () => {
      const inputs = [
        {name: 'flags', datatype: 'BOOL', shape: [1, 2], data: [true, false]},
        {name: 'ids', datatype: 'INT32', shape: [1, 1], data: [[7]]},
        x([[1, 2, 3]]),
      ];
      const {outputs} = await infer({inputs}, '/v2/models/many/infer');
      expect(outputs).to.deep.equal([
        {name: 'x out', datatype: 'FP32', shape: [1, 3], data: [1, 2, 3]},
        {name: 'ids out', datatype: 'INT32', shape: [1, 1], data: [7]},
        {name: 'flags out', datatype: 'BOOL', shape: [1, 2], data: [true, false]},
      ]);
      const asked = await infer(
        {inputs, outputs: [{name: 'flags out'}, {name: 'x out'}]},
        '/v2/models/many/infer',
      );
      expect(asked.outputs.map(({name}) => name)).to.deep.equal(['flags out', 'x out']);
      expect((await infer({inputs, outputs: []}, '/v2/models/many/infer')).outputs).to.have.length(3);
    });

    for (const [timeout, ms] of [
      [1000, 1],
      [2_500_000, 2500],
      [0, undefined],
      [undefined, undefined],
    ] as const) {
      it(`waits for ${ms} ms where the timeout is ${timeout}`, async () => {
        await infer({...BODY, parameters: {timeout}});
        expect(timeouts).to.deep.equal([ms]);
      });
    }

    for (const [what, body, text] of [
      [
        'a timeout below 0',
        {...BODY, parameters: {timeout: -1}},
        'parameters.timeout must be microseconds, more than 0',
      ],
      ['a timeout that is no number', {...BODY, parameters: {timeout: '9'}}, 'parameters.timeout must be'],
      ['a timeout beyond measure', {...BODY, parameters: {timeout: 1e12}}, 'parameters.timeout must be'],
      [
        'a sequence',
        {...BODY, parameters: {sequence_id: 5}},
        'the parameter "sequence_id" is not supported here: leave it out',
      ],
      ['a start of a sequence', {...BODY, parameters: {sequence_start: true}}, '"sequence_start"'],
      ['an end of a sequence', {...BODY, parameters: {sequence_end: true}}, '"sequence_end"'],
      [
        'shared memory',
        {inputs: [x(0, {parameters: {shared_memory_region: 'r'}})]},
        '"shared_memory_region"',
      ],
      [
        'a size in it',
        {inputs: [x(0, {parameters: {shared_memory_byte_size: 4}})]},
        '"shared_memory_byte_size"',
      ],
      ['a place in it', {inputs: [x(0, {parameters: {shared_memory_offset: 4}})]}, '"shared_memory_offset"'],
      [
        'classification',
        {...BODY, outputs: [{name: 'double', parameters: {classification: 2}}]},
        '"classification"',
      ],
      ['an unknown output', {...BODY, outputs: [{name: 'y'}]}, 'the model has no output "y"; it has double'],
      ['an input twice', {inputs: [x([1, 2, 3]), x([1, 2, 3])]}, 'input "x" is given twice'],
      [
        'another datatype',
        {inputs: [x([1, 2, 3], {datatype: 'FP64'})]},
        'datatype of "x" is FP64; models here take FP32, INT32, BOOL',
      ],
      ['no input', {inputs: []}, 'inputs must not have fewer than 1'],
      ['a negative size', {inputs: [x([1], {shape: [-1]})]}, 'inputs.0.shape.0'],
      ['too many dimensions', {inputs: [x([1], {shape: [1, 1, 1, 1, 1, 1, 1, 1, 1]})]}, 'inputs.0.shape'],
      ['an id that is no text', {...BODY, id: 5}, 'id must be string'],
    ] as const) {
      it(`refuses ${what}`, async () => {
        expect(await refusal('/v2/models/one/infer', body)).to.contain(text);
        expect(timeouts).to.deep.equal([]);
      });
    }

    for (const parameters of [
      {sequence_id: 0, sequence_start: false, classification: 0, shared_memory_region: ''},
      {priority: 5, anything: 'else'},
    ]) {
      it(`takes ${JSON.stringify(parameters)}, which changes nothing`, async () => {
        expect((await infer({...BODY, parameters})).outputs).to.deep.equal([DOUBLED]);
      });
    }

    it('knows versions by whole numbers', async () => {
      for (const name of ['x', '1.5', '-1', '1234567890123456']) {
        const {status, json} = await get(`/v2/models/one/versions/${name}`);
        expect(status).to.equal(404);
        expect(json).to.deep.equal({error: 'versions are whole numbers'});
      }
    });

    /** JSON and the bytes behind it. */
    const binary = (json: object, bytes: Uint8Array | Float32Array, length?: string) => {
      const text = Buffer.from(JSON.stringify(json));
      const payload = Buffer.concat([text, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)]);
      return [payload, {'inference-header-content-length': length ?? String(text.length)}] as const;
    };
    const behind = (size: unknown, change: object = {}) => ({
      inputs: [{name: 'x', datatype: 'FP32', shape: [1, 3], parameters: {binary_data_size: size}, ...change}],
    });
    const VALUES = Float32Array.of(1, 2, 3);

    for (const padding of ['', ' ', '  ', '   ']) {
      it(`reads bytes behind JSON of any length, as with "${padding}"`, async () => {
        const {status, text} = await post(
          '/v2/models/one/infer',
          ...binary({...behind(12), id: padding}, VALUES),
        );
        expect(status, text).to.equal(200);
        expect(JSON.parse(text)).to.have.deep.property('outputs', [DOUBLED]);
      });
    }

    it('reads several inputs from the bytes in their order', async () => {
      const inputs = [
        {name: 'flags', datatype: 'BOOL', shape: [1, 2], parameters: {binary_data_size: 2}},
        {name: 'ids', datatype: 'INT32', shape: [1, 1], data: [7]},
        {name: 'x', datatype: 'FP32', shape: [1, 3], parameters: {binary_data_size: 12}},
      ];
      const bytes = Buffer.concat([Buffer.of(1, 0), Buffer.from(VALUES.buffer)]);
      const {text} = await post('/v2/models/many/infer', ...binary({inputs}, bytes));
      expect((JSON.parse(text) as {outputs: {data: unknown}[]}).outputs.map(({data}) => data)).to.deep.equal([
        [1, 2, 3],
        [7],
        [true, false],
      ]);
    });

    it('writes what is asked for behind the JSON', async () => {
      const inputs = [
        x([1, 2, 3]),
        {name: 'ids', datatype: 'INT32', shape: [1, 1], data: [7]},
        {name: 'flags', datatype: 'BOOL', shape: [1, 2], data: [true, false]},
      ];
      const asked = async (body: object) => {
        const {type, headers, bytes} = await post('/v2/models/many/infer', {inputs, ...body});
        const length = headers['inference-header-content-length'];
        const jsonBytes = length === undefined ? bytes.length : Number(length);
        const {outputs} = JSON.parse(bytes.toString('utf8', 0, jsonBytes)) as {
          outputs: {name: string; data?: unknown; parameters?: object}[];
        };
        return {type, outputs, rest: [...bytes.subarray(jsonBytes)]};
      };
      const some = await asked({
        outputs: [
          {name: 'x out', parameters: {binary_data: false}},
          {name: 'flags out', parameters: {binary_data: true}},
        ],
      });
      expect(some.type).to.equal('application/octet-stream');
      expect(some.outputs).to.deep.equal([
        {name: 'x out', datatype: 'FP32', shape: [1, 3], data: [1, 2, 3]},
        {name: 'flags out', datatype: 'BOOL', shape: [1, 2], parameters: {binary_data_size: 2}},
      ]);
      expect(some.rest).to.deep.equal([1, 0]);
      const all = await asked({parameters: {binary_data_output: true}});
      expect(all.outputs.map(({parameters}) => parameters)).to.deep.equal(
        [12, 4, 2].map((size) => ({binary_data_size: size})),
      );
      expect(all.rest).to.deep.equal([...new Uint8Array(VALUES.buffer), 7, 0, 0, 0, 1, 0]);
      const but = await asked({
        parameters: {binary_data_output: true},
        outputs: [{name: 'x out', parameters: {binary_data: false}}, {name: 'ids out'}],
      });
      expect(but.outputs[0].data).to.deep.equal([1, 2, 3]);
      expect(but.rest).to.deep.equal([7, 0, 0, 0]);
      const none = await asked({parameters: {binary_data_output: 'yes'}});
      expect(none.rest).to.deep.equal([]);
    });

    for (const [what, json, bytes, length, text] of [
      [
        'more bytes of JSON than there are',
        behind(12),
        VALUES,
        '999',
        'Inference-Header-Content-Length is 999; the body has ',
      ],
      ['a length that is no number', behind(12), VALUES, 'x', 'Inference-Header-Content-Length is x'],
      ['a negative length', behind(12), VALUES, '-1', 'Inference-Header-Content-Length is -1'],
      [
        'bytes of no input',
        behind(8, {shape: [1, 2]}),
        VALUES,
        undefined,
        '4 bytes behind the JSON belong to no input',
      ],
      [
        'more bytes than are there',
        behind(16),
        VALUES,
        undefined,
        'binary_data_size of "x" is 16; 12 bytes are left',
      ],
      ['a negative size', behind(-4), VALUES, undefined, 'binary_data_size of "x" is -4; 12 bytes are left'],
      ['half a byte', behind(1.5), VALUES, undefined, 'binary_data_size of "x" is 1.5'],
      ['a size that is text', behind('12'), VALUES, undefined, 'binary_data_size of "x" is "12"'],
      [
        'too few bytes for a shape',
        behind(12, {shape: [1, 4]}),
        VALUES,
        undefined,
        '"x" of shape [1,4] is 16 bytes; binary_data_size is 12',
      ],
      [
        'a truth value of 2',
        {inputs: [{name: 'flags', datatype: 'BOOL', shape: [1, 2], parameters: {binary_data_size: 2}}]},
        Uint8Array.of(1, 2),
        undefined,
        '"flags" is BOOL; its bytes must be 0 or 1',
      ],
    ] as const) {
      it(`refuses ${what}`, async () => {
        expect(await refusal('/v2/models/one/infer', ...binary(json, bytes, length))).to.contain(text);
      });
    }
  });
});
