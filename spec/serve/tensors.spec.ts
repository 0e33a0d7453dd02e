import {expect} from 'chai';
import {ServeError, badRequest, receivedError, sentError} from '../../lib/serve/http-errors.js';
import {SparsifyError} from '../../lib/errors.js';
import {checkServerOptions, type ServerOptions} from '../../lib/serve/server-options.js';
import {
  emptyValues,
  orderedInputs,
  sizeOf,
  type TensorType,
  type WireTensor,
} from '../../lib/serve/tensors.js';

const tensor = (shape: number[], dtype: TensorType = 'float32'): WireTensor => ({
  ...{dtype, shape},
  values: emptyValues(
    dtype,
    shape.reduce((product, size) => product * size, 1),
  ),
});

describe('the size of a shape', () => {
  for (const [shape, size] of [
    [[], 1],
    [[3], 3],
    [[2, 3, 4], 24],
    [[5, 0], 0],
    [[2 ** 14, 2 ** 14], 2 ** 28],
  ] as const) {
    it(`[${shape.join(', ')}] is ${size}`, () => expect(sizeOf(shape, 'x')).to.equal(size));
  }

  for (const [shape, text] of [
    [[-1], 'whole numbers of 0 or more'],
    [[1.5], 'whole numbers of 0 or more'],
    [[NaN], 'whole numbers of 0 or more'],
    [[-2, -3], 'whole numbers of 0 or more'],
    [[2 ** 28 + 1], 'at most 268435456'],
    [[2 ** 40, 2 ** 40], 'at most 268435456'],
  ] as const) {
    it(`[${shape}] is refused`, () =>
      expect(() => sizeOf(shape, 'x'))
        .to.throw(`"x"`)
        .that.includes({status: 400})
        .with.property('message')
        .that.contains(text));
  }
});

describe('the inputs of a request', () => {
  const signature = {
    inputs: [
      {name: 'a', dtype: 'float32' as const, shape: [null, 2]},
      {name: 'b', dtype: 'int32' as const, shape: [null, null]},
    ],
    outputs: [],
  };
  const given = (entries: Record<string, WireTensor>) =>
    orderedInputs(signature, new Map(Object.entries(entries)));

  it('come in the order of the model, sizes that are open with any value', () => {
    const [a, b] = [tensor([3, 2]), tensor([3, 7], 'int32')];
    expect(given({b, a})).to.deep.equal([a, b]);
  });

  for (const [what, inputs, text] of [
    ['one is missing', {a: tensor([1, 2])}, 'input "b" is missing; the model takes a, b'],
    [
      'one is unknown',
      {a: tensor([1, 2]), b: tensor([1, 1], 'int32'), bb: tensor([1])},
      'no input "bb"; it has a, b: did you mean "b"?',
    ],
    [
      'a dtype is another',
      {a: tensor([1, 2], 'int32'), b: tensor([1, 1], 'int32')},
      'input "a" is int32; the model takes float32',
    ],
    [
      'a size is another',
      {a: tensor([1, 3]), b: tensor([1, 1], 'int32')},
      'input "a" has shape [1, 3]; the model takes [any, 2]',
    ],
    ['there are more dimensions', {a: tensor([1, 2, 1]), b: tensor([1, 1], 'int32')}, '[1, 2, 1]'],
    ['there are fewer dimensions', {a: tensor([2]), b: tensor([1, 1], 'int32')}, '[2]'],
    ['there are no rows', {a: tensor([0, 2]), b: tensor([0, 1], 'int32')}, '[0, 2]'],
    ['an open size is 0', {a: tensor([1, 2]), b: tensor([1, 0], 'int32')}, '[1, 0]'],
    ['one has other rows', {a: tensor([1, 2]), b: tensor([2, 1], 'int32')}, 'input "b" has 2 rows and "a" 1'],
  ] as const) {
    it(`are refused where ${what}`, () => {
      expect(() => given(inputs))
        .to.throw(text)
        .with.property('status', 400);
    });
  }
});

describe("a worker's error", () => {
  for (const [code, status] of [
    ['prompt-too-long', 400],
    ['empty-prompt', 400],
    ['bad-token', 400],
    ['bad-option', 400],
    ['no-tokenizer', 400],
    ['no-chat-template', 400],
    ['chat-template', 400],
    ['cache-too-small', 400],
    ['bad-id', 400],
    ['cannot-compute', 400],
    ['nan-logits', 500],
    ['not-loaded', 500],
  ] as const) {
    it(`${code} is answered ${status}, with its words`, () => {
      const error = receivedError(sentError(new SparsifyError(code, 'why')));
      expect(error).to.include({status, code, message: 'why'});
    });
  }

  it('that is not ours is 500', () => {
    expect(receivedError(sentError(new RangeError('why')))).to.include({
      status: 500,
      code: 'worker-failed',
      message: 'why',
    });
    expect(receivedError(sentError('why'))).to.include({status: 500, message: 'why'});
  });

  it('of a request names the field, where there is one', () => {
    expect(badRequest('no')).to.include({status: 400, code: 'bad-request', message: 'no', field: undefined});
    expect(badRequest('no', 'x', 'seed')).to.include({code: 'x', field: 'seed'});
    expect(new ServeError(503, 'busy', 'no', 5)).to.include({retryAfterSeconds: 5});
  });
});

describe('the options of a server', () => {
  const models = [{name: 'x', path: 'x'}];
  const refusal = (options: Partial<ServerOptions>) => {
    try {
      checkServerOptions({models, ...options});
    } catch (error) {
      return error as SparsifyError;
    }
    return null;
  };

  it('name every model once, and one at least', () => {
    const same = [1, 2].map((path) => ({name: 'x', path: String(path)}));
    expect(refusal({models: same}))
      .to.have.property('message')
      .that.contains('different');
    expect(refusal({models: []}))
      .to.have.property('message')
      .that.contains('one model or more');
  });

  it('may be the least that makes sense, and none', () => {
    expect(refusal({})).to.equal(null);
    const queue = {maxBatch: 1, maxDelayMs: 0, maxQueue: 1, timeoutMs: 1};
    const pool = {workers: 1, hangMs: 1, maxSequences: 1, cacheBytes: 1, backend: 'cpu'};
    expect(refusal({queue, pool, http: {bodyLimit: 1, headersTimeoutMs: 1}})).to.equal(null);
  });

  for (const options of [
    ...['maxBatch', 'maxQueue', 'timeoutMs'].map((name) => ({queue: {[name]: 0}})),
    ...['workers', 'hangMs', 'maxSequences', 'cacheBytes'].map((name) => ({pool: {[name]: 0}})),
    ...['bodyLimit', 'headersTimeoutMs'].map((name) => ({http: {[name]: 0}})),
    {queue: {maxDelayMs: -1}},
    {queue: {maxBatch: NaN}},
    {pool: {workers: '2' as unknown as number}},
  ]) {
    it(`are refused for ${JSON.stringify(options)}`, () => {
      const [[part, values]] = Object.entries<object>(options);
      const [name] = Object.keys(values);
      expect(refusal(options))
        .to.include({code: 'bad-option'})
        .and.have.property('message')
        .that.matches(new RegExp(`^${name} (of ${part} of createServer )?is `));
    });
  }

  for (const [name, isRight] of [
    ['a', true],
    ['Model_1.2-b', true],
    ['a'.repeat(128), true],
    ['a'.repeat(129), false],
    ['', false],
    ['-a', false],
    ['a/b', false],
    ['a b', false],
  ] as const) {
    it(`${isRight ? 'take' : 'refuse'} the name ${JSON.stringify(name.slice(0, 20))} of ${name.length} letters`, () => {
      expect(refusal({models: [{name, path: 'x'}]}) === null).to.equal(isRight);
    });
  }
});
