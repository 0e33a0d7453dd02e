import {join} from 'node:path';
import {expect} from 'chai';
import {saveNamedModel} from '../../scripts/load/models.js';
import {modelFolder, saveSumModel, serving, type Serving} from '../support/serving.js';

describe('the TensorFlow Serving API', function () {
  this.timeout(120_000); // a worker takes seconds to start, and many times as long on a busy machine
  const folder = modelFolder();
  let served: Serving;
  before(async () => {
    await saveSumModel(join(folder.path, 'sum', '1'), 1);
    await saveSumModel(join(folder.path, 'sum', '2'), 2);
    await saveSumModel(join(folder.path, 'sum', '10'), 10);
    await saveNamedModel(join(folder.path, 'named'));
    served = await serving({
      models: [
        {name: 'sum', path: join(folder.path, 'sum'), labels: {stable: 2}},
        {name: 'named', path: join(folder.path, 'named')},
      ],
    });
    while (
      ((await served.get('/v1/models/sum')).json as {model_version_status: []}).model_version_status.length <
      2
    );
  });
  after(() => served.server.close());

  it('answers rows with predictions', async () => {
    const {status, json} = await served.post('/v1/models/sum:predict', {
      instances: [
        [1, 2, 3],
        [0, 0, -1],
      ],
    });
    expect(status).to.equal(200);
    expect(json).to.deep.equal({predictions: [[60], [-10]]});
  });

  it('answers columns with outputs', async () => {
    const {json} = await served.post('/v1/models/sum:predict', {inputs: [[1, 2, 3]]});
    expect(json).to.deep.equal({outputs: [[60]]});
  });

  it('takes rows of named inputs', async () => {
    const instances = [
      {a: [1, 2], b: [3]},
      {a: [5, 6], b: [0]},
    ];
    const {json} = await served.post('/v1/models/named:predict', {instances});
    expect(json).to.deep.equal({
      predictions: [
        {twice: [2, 4], looked: [[30]]},
        {twice: [10, 12], looked: [[0]]},
      ],
    });
  });

  it('takes columns of named inputs', async () => {
    const {json} = await served.post('/v1/models/named:predict', {inputs: {b: [[1]], a: [[1, 2]]}});
    expect(json).to.deep.equal({outputs: {twice: [[2, 4]], looked: [[[10]]]}});
  });

  for (const [path, factor] of [
    ['sum', 10],
    ['sum/versions/2', 2],
    ['sum/labels/stable', 2],
  ] as const) {
    it(`serves ${path}`, async () => {
      const {json} = await served.post(`/v1/models/${path}:predict`, {instances: [[1, 1, 1]]});
      expect(json).to.deep.equal({predictions: [[3 * factor]]});
    });
  }

  it('tells the status of the versions', async () => {
    const {json} = await served.get('/v1/models/sum');
    expect(json).to.have.deep.property(
      'model_version_status',
      ['10', '2'].map((version) => ({
        version,
        state: 'AVAILABLE',
        status: {error_code: 'OK', error_message: ''},
      })),
    );
  });

  it('tells what a model takes and gives', async () => {
    const {json} = await served.get('/v1/models/named/metadata');
    const tensor = (name: string, dtype: string, sizes: string[]) => ({
      ...{name, dtype},
      tensor_shape: {dim: sizes.map((size) => ({size, name: ''})), unknown_rank: false},
    });
    expect(json).to.deep.equal({
      model_spec: {name: 'named', signature_name: '', version: '1'},
      metadata: {
        signature_def: {
          signature_def: {
            serving_default: {
              inputs: {a: tensor('a', 'DT_FLOAT', ['-1', '2']), b: tensor('b', 'DT_INT32', ['-1', '1'])},
              outputs: {
                twice: tensor('twice', 'DT_FLOAT', ['-1', '2']),
                looked: tensor('looked', 'DT_FLOAT', ['-1', '1', '1']),
              },
              method_name: 'tensorflow/serving/predict',
            },
          },
        },
      },
    });
  });

  const deep = '['.repeat(100_000) + ']'.repeat(100_000);
  for (const [what, body, text] of [
    ['no JSON', '{"instances": [[1, 2', 'no JSON'],
    ['an empty body', '', 'empty'],
    ['the word NaN', '{"instances": [[1, 2, NaN]]}', 'no JSON'],
    ['NaN as text', {instances: [[1, 2, 'NaN']]}, '"NaN"'],
    ['a number beyond all', '{"instances": [[1, 2, 1e999]]}', 'finite'],
    ['ragged rows', {instances: [[1, 2, 3], [1]]}, 'ragged'],
    ['rows of another length', {instances: [[1, 2]]}, '[any, 3]'],
    ['a flat row', {instances: [1, 2, 3]}, 'nested'],
    ['deeper rows', {instances: [[[1], [2], [3]]]}, 'an array'],
    ['very deep nesting', `{"instances": ${deep}}`, 'nested'],
    ['a number beyond float32', {instances: [[1, 2, 1e39]]}, 'finite'],
    ['no rows', {instances: []}, 'instances'],
    ['rows and columns', {instances: [[1, 2, 3]], inputs: [[1, 2, 3]]}, 'either'],
    ['neither', {}, 'either'],
    ['an unknown signature', {signature_name: 'x', instances: [[1, 2, 3]]}, 'serving_default'],
    ['an unknown input', {inputs: {summ: [[1, 2, 3]]}}, '"summ"'],
    ['a key of the prototype', '{"inputs": {"__proto__": [[1, 2, 3]]}}', '__proto__'],
    ['a list', '[1]', 'object'],
  ] as const) {
    it(`refuses ${what} with 400`, async () => {
      const {status, json} = await served.post('/v1/models/sum:predict', body);
      expect(status, JSON.stringify(json)).to.equal(400);
      expect((json as {error: string}).error).to.contain(text);
    });
  }

  for (const [what, body, text] of [
    ['rows without names', {instances: [[1, 2]]}, 'instances must be objects of a, b'],
    ['a column without names', {inputs: [[1, 2]]}, '"inputs" must be an object of a, b'],
    [
      'a row with a name more',
      {
        instances: [
          {a: [1, 2], b: [3]},
          {a: [1, 2], b: [3], c: [4]},
        ],
      },
      'the same names',
    ],
    ['a row with a name less', {instances: [{a: [1, 2], b: [3]}, {a: [1, 2]}]}, 'the same names'],
    [
      'a row with another name',
      {
        instances: [
          {a: [1, 2], b: [3]},
          {a: [1, 2], c: [3]},
        ],
      },
      'ragged',
    ],
    ['a row that is null', {instances: [{a: [1, 2], b: [3]}, null]}, 'the same names'],
    ['a name that the model has not', {instances: [{a: [1, 2], c: [3]}]}, 'no input "c"; it has a, b'],
    ['a name too few', {instances: [{a: [1, 2]}]}, 'input "b" is missing'],
    ['columns of other rows', {inputs: {a: [[1, 2]], b: [[3], [4]]}}, 'all must have the same'],
  ] as const) {
    it(`refuses ${what} for several inputs with 400`, async () => {
      const {status, json} = await served.post('/v1/models/named:predict', body);
      expect(status, JSON.stringify(json)).to.equal(400);
      expect((json as {error: string}).error).to.contain(text);
    });
  }

  for (const [what, b] of [
    ['a fraction', 1.5],
    ['text', '1'],
    ['more than 32 bits', 2 ** 31],
    ['a truth value', true],
  ]) {
    it(`refuses ${what} as int32`, async () => {
      const {status, json} = await served.post('/v1/models/named:predict', {
        instances: [{a: [1, 2], b: [b]}],
      });
      expect(status).to.equal(400);
      expect((json as {error: string}).error).to.contain('whole number');
    });
  }

  for (const [path, status] of [
    ['other:predict', 404],
    ['sum/versions/3:predict', 404],
    ['sum/versions/99999999999999999999:predict', 404],
    ['sum/versions/-1:predict', 404],
    ['sum/labels/canary:predict', 404],
    ['sum/labels/__proto__:predict', 404],
    ['..%2f..%2fetc%2fpasswd:predict', 404],
    ['sum:classify', 400],
    ['sum', 400],
  ] as const) {
    it(`answers POST ${path} with ${status}`, async () => {
      const answer = await served.post(`/v1/models/${path}`, {instances: [[1, 2, 3]]});
      expect(answer.status).to.equal(status);
      expect(answer.json).to.have.property('error').that.is.a('string');
    });
  }
});
