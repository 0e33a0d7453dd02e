import {expect} from 'chai';
import {
  dtypeName,
  isKerasTensor,
  isSerialized,
  plainValue,
} from '../../../../lib/io/model/keras3/config-values.js';

const keras3 = (className: string, config: unknown, more: object = {}) => ({
  module: 'keras',
  registered_name: null,
  build_config: {input_shape: [null, 3]},
  compile_config: {},
  shared_object_id: 7,
  class_name: className,
  config,
  ...more,
});

/** What Keras 3 writes, and what Keras 2 and TensorFlow.js expect in its place. */
const VALUES: readonly (readonly [what: string, value: unknown, plain: unknown])[] = [
  ...[null, true, 3, 'relu'].map((value) => [JSON.stringify(value), value, value] as const),
  ['a list', [1, [2, 'a'], null], [1, [2, 'a'], null]],
  ['an object', {a: {b: [1]}, module: 'mine'}, {a: {b: [1]}, module: 'mine'}],
  ['a tuple', {class_name: '__tuple__', items: [1, {class_name: '__tuple__', items: [2]}]}, [1, [2]]],
  [
    'a tuple without its items, which is none',
    {class_name: '__tuple__', items: 3},
    {class_name: '__tuple__', items: 3},
  ],
  ['a policy', keras3('DTypePolicy', {name: 'mixed_float16'}), 'float32'],
  ['a policy of integers', keras3('DTypePolicy', {name: 'int64'}), 'int32'],
  ['a function', keras3('function', 'relu'), 'relu'],
  [
    'a function with a config of its own',
    keras3('function', {name: 'relu'}),
    {class_name: 'function', config: {name: 'relu'}},
  ],
  ['an array of NumPy', keras3('__numpy__', {value: [1, 2], dtype: 'float32'}), [1, 2]],
  ['a tensor', keras3('__tensor__', {value: 3}), 3],
  ['an array without a config', keras3('__numpy__', 'x'), {class_name: '__numpy__', config: 'x'}],
  ['a generator of seeds', keras3('SeedGenerator', {seed: 5}), 5],
  ['a generator without a seed', keras3('SeedGenerator', {}), null],
  ['a generator without a config', keras3('SeedGenerator', null), null],
  [
    'an untruncated normal',
    keras3('VarianceScaling', {scale: 2, distribution: 'untruncated_normal'}),
    {class_name: 'VarianceScaling', config: {scale: 2, distribution: 'normal'}},
  ],
  [
    'a truncated normal',
    keras3('VarianceScaling', {scale: 2, distribution: 'truncated_normal'}),
    {class_name: 'VarianceScaling', config: {scale: 2, distribution: 'truncated_normal'}},
  ],
  ['a regularizer L1', keras3('L1', {l1: 0.5}), {class_name: 'L1L2', config: {l1: 0.5, l2: 0}}],
  ['a regularizer L2', keras3('L2', {l2: 0.25}), {class_name: 'L1L2', config: {l1: 0, l2: 0.25}}],
  ['a regularizer without a config', keras3('L2', 'x'), {class_name: 'L2', config: 'x'}],
  [
    'an orthogonal start',
    keras3('OrthogonalInitializer', {gain: 1}),
    {class_name: 'Orthogonal', config: {gain: 1}},
  ],
  ['an identity', keras3('IdentityInitializer', {gain: 1}), {class_name: 'Identity', config: {gain: 1}}],
  ['LecunNormal', keras3('LecunNormal', {seed: null}), {class_name: 'LeCunNormal', config: {seed: null}}],
  ['LecunUniform', keras3('LecunUniform', {seed: null}), {class_name: 'LeCunUniform', config: {seed: null}}],
  [
    'a class with another inside, without what only Keras 3 has',
    keras3(
      'Constant',
      {value: keras3('__numpy__', {value: 2}), axis: {class_name: '__tuple__', items: [0]}},
      {name: 'c'},
    ),
    {class_name: 'Constant', config: {value: 2, axis: [0]}, name: 'c'},
  ],
];

const DTYPES: Readonly<Record<string, string>> = {
  float16: 'float32',
  float32: 'float32',
  float64: 'float32',
  bfloat16: 'float32',
  mixed_float16: 'float32',
  mixed_bfloat16: 'float32',
  int8: 'int32',
  uint8: 'int32',
  int16: 'int32',
  uint16: 'int32',
  int32: 'int32',
  uint32: 'int32',
  int64: 'int32',
  uint64: 'int32',
  bool: 'bool',
  string: 'string',
  float8: 'float8',
  int4: 'int4',
  xfloat32: 'xfloat32',
  float32_ref: 'float32_ref',
  xint32: 'xint32',
  int32x: 'int32x',
};

describe('values of Keras 3', () => {
  for (const [what, value, plain] of VALUES) {
    it(`become plain: ${what}`, () => {
      const before = JSON.stringify(value);
      expect(plainValue(value)).to.deep.equal(plain);
      expect(JSON.stringify(value), 'unchanged').to.equal(before);
    });
  }

  for (const [name, dtype] of Object.entries(DTYPES)) {
    it(`are ${dtype} where the dtype is ${name}`, () => {
      expect(dtypeName(name)).to.equal(dtype);
      expect(dtypeName(keras3('DTypePolicy', {name}))).to.equal(dtype);
    });
  }

  it('have no dtype where none is written', () => {
    expect([null, undefined, 3].map(dtypeName)).to.deep.equal([null, undefined, 3]);
    const quantized = keras3('QuantizedDTypePolicy', {mode: 'int8'});
    expect(dtypeName(quantized)).to.equal(undefined);
    expect(dtypeName({...quantized, config: 'x'})).to.deep.equal({...quantized, config: 'x'});
  });

  it('are serialized objects by class and config', () => {
    expect(isSerialized({class_name: 'Dense', config: undefined})).to.equal(true);
    for (const other of [{class_name: 'Dense'}, {config: {}}, {class_name: 3, config: {}}, null, [], 'Dense'])
      expect(isSerialized(other), JSON.stringify(other)).to.equal(false);
  });

  it('are tensors of the graph by their class', () => {
    expect(isKerasTensor({class_name: '__keras_tensor__'})).to.equal(true);
    for (const other of [{class_name: '__tensor__'}, {}, null, '__keras_tensor__'])
      expect(isKerasTensor(other), JSON.stringify(other)).to.equal(false);
  });
});
