import {expect} from 'chai';
import {KERAS3_REMEDY} from '../../../../lib/io/model/keras3/layer-config.js';
import {isKeras3, keras2Topology} from '../../../../lib/io/model/keras3/topology.js';
import {rejection} from '../../../support/rejection.js';

type Json = Record<string, unknown>;

const POLICY = {module: 'keras', class_name: 'DTypePolicy', config: {name: 'float32'}, registered_name: null};

/** A tensor of the graph: the output of a call of a layer. */
const tensor = (name: string, call: unknown = 0, output: unknown = 0, shape: unknown = [null, 4]) => ({
  class_name: '__keras_tensor__',
  config: {shape, dtype: 'float32', keras_history: [name, call, output]},
});
const call = (args: unknown[], kwargs: unknown = {}) => ({args, kwargs});
const layer = (className: string, name: string, config: Json = {}, nodes?: unknown) => ({
  module: 'keras.layers',
  class_name: className,
  registered_name: null,
  build_config: {},
  name,
  config: {name, trainable: true, dtype: POLICY, ...config},
  ...(nodes === undefined ? {} : {inbound_nodes: nodes}),
});
const input = (name = 'in', shape: unknown = [null, 4]) =>
  layer('InputLayer', name, {batch_shape: shape, sparse: false}, []);
const operation = (className: string, name: string, nodes: unknown) => ({
  ...layer(className, name, {}, nodes),
  config: {name},
});

const functional = (layers: unknown, inputs: unknown = [['in', 0, 0]], outputs: unknown = [['d', 0, 0]]) => ({
  class_name: 'Functional',
  config: {name: 'm', layers, input_layers: inputs, output_layers: outputs},
});
const sequential = (layers: unknown[], more: Json = {}) => ({
  class_name: 'Sequential',
  config: {name: 's', layers, ...more},
});
const dense = (nodes: unknown, name = 'd') => layer('Dense', name, {units: 2}, nodes);

const convert = (model: unknown) =>
  keras2Topology({keras_version: '3.5.0', model_config: model}, 'm.json')['model_config'] as {
    class_name: string;
    config: {name: string; layers: Json[]; input_layers?: unknown; output_layers?: unknown};
  };
/** The calls of a layer of a converted model. */
const callsOf = (model: unknown, name: string) =>
  convert(model).config.layers.find((each) => each['name'] === name)!['inbound_nodes'];

describe('a topology is of Keras 3', () => {
  const plain = {class_name: 'Dense', config: {name: 'd', dtype: 'float32'}};
  for (const [what, topology, expected] of [
    ['by its version', {keras_version: '3.0.1'}, true],
    ['by a later version', {keras_version: '10.1'}, true],
    ['but not of Keras 2, whatever its form', {keras_version: '2.15.0', ...functional([input()])}, false],
    ['by a batch_shape', {model_config: sequential([{...plain, config: {batch_shape: [null, 1]}}])}, true],
    ['by a policy', sequential([{...plain, config: {dtype: POLICY}}]), true],
    ['by calls with arguments', {model_config: functional([{...plain, inbound_nodes: [call([])]}])}, true],
    [
      'by a layer of a nested model',
      sequential([plain, sequential([{...plain, config: {dtype: POLICY}}])]),
      true,
    ],
    ['not by layers of Keras 2', sequential([plain, {...plain, inbound_nodes: [[['in', 0, 0, {}]]]}]), false],
    ['not without layers', sequential([]), false],
    ['not where the config is none', {model_config: {class_name: 'Sequential'}}, false],
    ['not by layers without a config', sequential([{class_name: 'Dense', config: 3}, 'x']), false],
    [
      'by a list of layers, as the first Keras wrote a Sequential',
      {class_name: 'Sequential', config: [input()]},
      true,
    ],
    ['not by a version that is none', {keras_version: 'x3.1', ...sequential([plain])}, false],
  ] as const) {
    it(what, () => expect(isKeras3(topology)).to.equal(expected));
  }
});

describe('a topology of Keras 3', () => {
  it('is written for TensorFlow.js layer by layer', () => {
    const layers = [input(), dense([call([tensor('in')])])];
    expect(convert(functional(layers))).to.deep.equal({
      class_name: 'Functional',
      config: {
        name: 'm',
        layers: [
          {
            class_name: 'InputLayer',
            name: 'in',
            config: {
              name: 'in',
              trainable: true,
              dtype: 'float32',
              batch_input_shape: [null, 4],
              sparse: false,
            },
            inbound_nodes: [],
          },
          {
            class_name: 'Dense',
            name: 'd',
            config: {name: 'd', trainable: true, dtype: 'float32', units: 2},
            inbound_nodes: [[['in', 0, 0, {}]]],
          },
        ],
        input_layers: [['in', 0, 0]].map((end) => [...end, {}]),
        output_layers: [['d', 0, 0, {}]],
      },
    });
  });

  it('keeps what stands beside the model, with or without model_config', () => {
    const topology = {keras_version: '3.5.0', backend: 'jax', model_config: sequential([dense(undefined)])};
    expect(keras2Topology(topology, 'm')).to.deep.include({keras_version: '3.5.0', backend: 'jax'});
    const bare = keras2Topology(sequential([dense(undefined)]), 'm');
    expect(bare['model_config']).to.deep.equal(convert(sequential([dense(undefined)])));
  });

  it('may be a Sequential, whose shape may stand beside its layers', () => {
    const shape = (model: unknown) =>
      (convert(model).config.layers[0]['config'] as Json)['batch_input_shape'];
    const built = {build_input_shape: [null, 6]};
    expect(shape(sequential([dense(undefined)], built))).to.deep.equal([null, 6]);
    expect(shape(sequential([dense(undefined)]))).to.equal(undefined);
    expect(shape(sequential([input(), dense(undefined)], built)), 'its own').to.deep.equal([null, 4]);
    const nested = convert(sequential([sequential([dense(undefined)]), dense(undefined)], built)).config
      .layers;
    expect((nested[0]['config'] as Json)['batch_input_shape']).to.equal(undefined);
    expect(nested).to.have.length(2);
  });

  it('lists its ends one by one, in lists or by name', () => {
    const layers = [input('a'), input('b'), dense([call([tensor('a')])])];
    for (const ends of [
      [
        ['a', 0, 0],
        ['b', 0, 0],
      ],
      {x: ['a', 0, 0], y: [['b', 0, 0]]},
    ]) {
      expect(convert(functional(layers, ends, ['d', 0, 0])).config).to.deep.include({
        input_layers: [
          ['a', 0, 0, {}],
          ['b', 0, 0, {}],
        ],
        output_layers: [['d', 0, 0, {}]],
      });
    }
  });

  it('counts the calls of nested models from 1, in calls and at the ends', () => {
    const inner = {...functional([input(), dense([call([tensor('in')])])]), name: 'inner'};
    inner.config.name = 'inner';
    const nested = {...inner, inbound_nodes: [call([tensor('in')]), call([tensor('in')])]};
    const model = functional(
      [input(), nested, dense([call([tensor('inner', 1)])])],
      [['in', 0, 0]],
      [
        ['d', 0, 0],
        ['inner', 1, 0],
      ],
    );
    expect(callsOf(model, 'd')).to.deep.equal([[['inner', 2, 0, {}]]]);
    expect(convert(model).config.output_layers).to.deep.equal([
      ['d', 0, 0, {}],
      ['inner', 1, 0, {}],
    ]);
    const stack = {...sequential([dense(undefined)]), name: 'stack', inbound_nodes: [call([tensor('in')])]};
    stack.config.name = 'stack';
    const withStack = functional(
      [input(), stack, dense([call([tensor('stack')])])],
      [['in', 0, 0]],
      ['stack', 0, 0],
    );
    expect(callsOf(withStack, 'd')).to.deep.equal([[['stack', 1, 0, {}]]]);
    expect(convert(withStack).config.output_layers).to.deep.equal([['stack', 1, 0, {}]]);
  });

  it('calls with lists, tuples and names of arguments', () => {
    const [a, b, c] = ['a', 'b', 'c'].map((name) => tensor(name));
    const inputs = ['a', 'b', 'c'].map((name) => input(name));
    const calls = (className: string, node: unknown) =>
      callsOf(functional([...inputs, layer(className, 'd', {}, [node])], [['a', 0, 0]]), 'd');
    const refs = (...names: string[]) => [names.map((name) => [name, 0, 0, {}])];
    expect(calls('Add', call([[a, b, c]]))).to.deep.equal(refs('a', 'b', 'c'));
    expect(calls('Add', call([{class_name: '__tuple__', items: [a, b]}]))).to.deep.equal(refs('a', 'b'));
    expect(calls('Dense', call([], {inputs: a}))).to.deep.equal(refs('a'));
    expect(calls('Dense', call([a, null], {training: false, mask: null}))).to.deep.equal(refs('a'));
    expect(calls('LSTM', call([], {initial_state: [b, c], sequences: a}))).to.deep.equal(refs('a', 'b', 'c'));
    expect(calls('LSTM', call([a, [b, c]]))).to.deep.equal(refs('a', 'b', 'c'));
    expect(calls('Dense', [['a', 0, 0, {}]]), 'as Keras 2 writes it').to.deep.equal([[['a', 0, 0, {}]]]);
    expect(calls('Dense', call([a], 'none'))).to.deep.equal(refs('a'));
  });

  it('takes operations for which there is a layer', () => {
    for (const className of ['Add', 'Multiply', 'Maximum', 'Minimum']) {
      const node = call([tensor('a'), tensor('b')]);
      const model = functional([input('a'), input('b'), operation(className, 'd', [node])], [['a', 0, 0]]);
      expect(callsOf(model, 'd')).to.deep.equal([
        [
          ['a', 0, 0, {}],
          ['b', 0, 0, {}],
        ],
      ]);
    }
  });

  it('takes layers of these names that are no operations', () => {
    for (const more of [{trainable: true}, {dtype: POLICY}]) {
      const reshape = {...layer('Reshape', 'd', {}, [call([tensor('in')])]), config: {name: 'd', ...more}};
      expect(callsOf(functional([input(), reshape]), 'd')).to.deep.equal([[['in', 0, 0, {}]]]);
    }
  });

  it('takes a class by the name under which it is registered', () => {
    const own = {...dense([call([tensor('in')])]), class_name: 'Mine', registered_name: 'Dense'};
    expect(convert(functional([input(), own])).config.layers[1]['class_name']).to.equal('Dense');
    const unknown = {...own, class_name: 'Dense', registered_name: 'Package>Dense'};
    expect(convert(functional([input(), unknown])).config.layers[1]['class_name']).to.equal('Dense');
  });

  it('converts layers inside of layers', () => {
    const wrapped = layer('TimeDistributed', 't', {layer: dense(undefined)});
    const [converted] = convert(sequential([wrapped])).config.layers;
    expect((converted['config'] as Json)['layer']).to.deep.equal({
      class_name: 'Dense',
      config: {name: 'd', trainable: true, dtype: 'float32', units: 2},
    });
  });

  it('gives a call all tensors of its arguments', () => {
    const model = functional([input(), dense([call([tensor('in'), tensor('in')])])]);
    expect(callsOf(model, 'd')).to.deep.equal([
      [
        ['in', 0, 0, {}],
        ['in', 0, 0, {}],
      ],
    ]);
  });

  describe('with a mask', () => {
    const embedding = (more: Json = {mask_zero: true}) => layer('Embedding', 'e', {input_dim: 9, ...more});
    const masking = () => layer('Masking', 'k', {mask_value: 0});
    const lstm = (more: Json = {}) => layer('LSTM', 'l', {units: 2, ...more});
    const pooling = () => layer('GlobalAveragePooling1D', 'f');
    const refused = async (model: unknown, name: string, className: string): Promise<void> => {
      const error = await rejection(() => convert(model), 'unsupported-layer');
      expect(error.message).to.equal(
        `m.json is a Keras 3 file, and its layer "${name}" (${className}) takes a mask (of mask_zero or Masking) as ` +
          `Keras 3 treats it, which TensorFlow.js does not have: ${KERAS3_REMEDY}`,
      );
    };

    it('is refused where a layer takes it otherwise', async () => {
      await refused(sequential([embedding(), pooling()]), 'f', 'GlobalAveragePooling1D');
      await refused(sequential([masking(), pooling()]), 'f', 'GlobalAveragePooling1D');
      await refused(
        sequential([masking(), lstm({return_sequences: true}), pooling()]),
        'f',
        'GlobalAveragePooling1D',
      );
    });

    for (const className of [
      ...[
        'Dropout',
        'SpatialDropout1D',
        'GaussianNoise',
        'GaussianDropout',
        'AlphaDropout',
        'Dense',
        'Activation',
      ],
      ...['ReLU', 'LeakyReLU', 'ELU', 'PReLU', 'TimeDistributed', 'LayerNormalization', 'BatchNormalization'],
    ]) {
      it(`goes on behind ${className}`, () =>
        refused(sequential([masking(), layer(className, 'x'), pooling()]), 'f', 'GlobalAveragePooling1D'));
    }

    for (const className of ['RNN', 'LSTM', 'GRU', 'SimpleRNN', 'Bidirectional']) {
      it(`goes on behind ${className} with all steps, and else ends there`, async () => {
        const config = (sequences: boolean) =>
          className === 'Bidirectional'
            ? {layer: layer('LSTM', 'forward_l', {return_sequences: sequences})}
            : {return_sequences: sequences};
        const model = (sequences: boolean) =>
          sequential([masking(), layer(className, 'x', config(sequences)), pooling()]);
        await refused(model(true), 'f', 'GlobalAveragePooling1D');
        expect(convert(model(false)).config.layers).to.have.length(3);
      });
    }

    it('ends at Flatten and at a nested model', () => {
      for (const end of [layer('Flatten', 'x'), sequential([dense(undefined)])])
        expect(convert(sequential([masking(), end, pooling()])).config.layers).to.have.length(3);
    });

    it('is taken where it ends before, or is none', () => {
      for (const layers of [
        [embedding(), lstm(), pooling()],
        [pooling(), embedding()],
        [embedding({mask_zero: false}), pooling()],
        [embedding({}), pooling()],
        [masking(), lstm(), dense(undefined), pooling()],
      ])
        expect(convert(sequential(layers)).config.layers).to.have.length(layers.length);
    });

    it('is followed through the calls of a functional model', async () => {
      const called = (made: object, from: string) => ({...made, inbound_nodes: [call([tensor(from)])]});
      const ends = [['in', 0, 0]];
      const model = (from: string) =>
        functional([input(), called(embedding(), 'in'), called(lstm(), 'e'), called(pooling(), from)], ends, [
          'f',
          0,
          0,
        ]);
      await refused(model('e'), 'f', 'GlobalAveragePooling1D');
      expect(callsOf(model('l'), 'f')).to.deep.equal([[['l', 0, 0, {}]]]);
      expect(callsOf(model('in'), 'f')).to.deep.equal([[['in', 0, 0, {}]]]);
    });

    it('of a nested model counts for zeros in its outputs', async () => {
      const zeros = () => lstm({zero_output_for_mask: true});
      expect(convert(sequential([zeros()])).config.layers).to.have.length(1);
      for (const maker of [embedding(), masking()]) {
        const nested = sequential([sequential([maker, layer('GRU', 'g', {units: 1})]), zeros()]);
        const error = await rejection(() => convert(nested), 'unsupported-layer');
        expect(error.message).to.include('has zero_output_for_mask true');
      }
    });

    for (const [what, change] of [
      ['compares with another number', {args: [tensor('in'), 1]}],
      ['compares other ids', {args: [tensor('b'), 0]}],
      ['is called twice', {nodes: [call([tensor('in'), 0]), call([tensor('in'), 0])]}],
      ['compares the ids of an embedding without mask', {mask_zero: false}],
    ] as const) {
      it(`knows no mask that ${what}`, async () => {
        const more = change as {args?: unknown[]; nodes?: unknown[]; mask_zero?: boolean};
        const model = functional(
          [
            ...[input(), input('b')],
            {...embedding({mask_zero: more.mask_zero ?? true}), inbound_nodes: [call([tensor('in')])]},
            operation('NotEqual', 'ne', more.nodes ?? [call(more.args ?? [tensor('in'), 0])]),
            {...lstm(), name: 'd', inbound_nodes: [call([tensor('e')])]},
          ],
          [['in', 0, 0]],
        );
        const error = await rejection(() => convert(model), 'unknown-layer');
        expect(error.message).to.include('"ne"');
      });
    }
  });

  it('leaves out the mask of an embedding that the embedding makes too', () => {
    const embedding = layer('Embedding', 'e', {input_dim: 9, mask_zero: true}, [call([tensor('in')])]);
    const mask = operation('NotEqual', 'ne', [call([tensor('in'), 0])]);
    const lstm = layer('LSTM', 'd', {units: 2}, [call([tensor('e')], {mask: tensor('ne')})]);
    const model = functional([input(), embedding, mask, lstm]);
    expect(convert(model).config.layers.map((each) => each['name'])).to.deep.equal(['in', 'e', 'd']);
    expect(callsOf(model, 'd')).to.deep.equal([[['e', 0, 0, {}]]]);
  });

  const place = (name: string, className: string) =>
    `m.json is a Keras 3 file, and its layer "${name}" (${className})`;
  const lacks = `which TensorFlow.js does not have: ${KERAS3_REMEDY}`;
  const malformed = (what: string) => `m.json is a Keras 3 file that ${what}: ${KERAS3_REMEDY}`;
  const gone = (history: unknown) =>
    malformed(`has a call with an output that is not there, ${JSON.stringify(history)}`);

  for (const [what, model, code, message] of [
    [
      'a model of another class',
      {class_name: 'Mine', config: {}},
      'malformed-topology',
      malformed('holds a model of the class "Mine"; it must be Sequential or Functional'),
    ],
    ['no model', 'x', 'malformed-topology', malformed('holds no model; it must be Sequential or Functional')],
    ['no layers', functional([]), 'malformed-topology', malformed('has a Functional without layers')],
    [
      'layers that are none',
      functional('x'),
      'malformed-topology',
      malformed('has a Functional without layers'),
    ],
    [
      'a list in place of a config',
      {class_name: 'Sequential', config: [dense(undefined)]},
      'malformed-topology',
      malformed('has a Sequential without layers'),
    ],
    [
      'a layer without a config',
      sequential([{class_name: 'Dense'}]),
      'malformed-topology',
      malformed('has a layer without a config'),
    ],
    [
      'a layer with another config',
      functional([input(), {class_name: 'Dense', config: 3}]),
      'malformed-topology',
      malformed('has a layer without a config'),
    ],
    [
      'a layer whose calls are no list',
      functional([input(), dense({})]),
      'malformed-topology',
      malformed('has no calls for its layer "d"'),
    ],
    [
      'a call without arguments',
      functional([input(), dense([{kwargs: {}}])]),
      'malformed-topology',
      malformed('has a call of its layer "d" without arguments'),
    ],
    [
      'ends that are none',
      functional([input(), dense([call([tensor('in')])])], 3),
      'malformed-topology',
      malformed('has no inputs or outputs'),
    ],
    [
      'an unknown layer',
      sequential([layer('Whatever', 'w')]),
      'unknown-layer',
      'm.json is a Keras 3 file, and its layer "w" is of the class "Whatever", which is not registered: call ' +
        'tf.serialization.registerClass before loading if the class is your own; if TensorFlow.js does not have it, ' +
        KERAS3_REMEDY,
    ],
    [
      'a call of what is not there',
      functional([input(), dense([call([tensor('other')])])]),
      'malformed-topology',
      gone(['other', 0, 0]),
    ],
    [
      'a call that is not there',
      functional([input(), dense([call([tensor('in', 1)])])]),
      'malformed-topology',
      gone(['in', 1, 0]),
    ],
    [
      'a call before the first',
      functional([input(), dense([call([tensor('in', -1)])])]),
      'malformed-topology',
      gone(['in', -1, 0]),
    ],
    [
      'half a call',
      functional([input(), dense([call([tensor('in', 0.5)])])]),
      'malformed-topology',
      gone(['in', 0.5, 0]),
    ],
    [
      'half an output',
      functional([input(), dense([call([tensor('in', 0, 0.5)])])]),
      'malformed-topology',
      gone(['in', 0, 0.5]),
    ],
    [
      'a call of a layer without a name',
      functional([
        input(),
        dense([call([{class_name: '__keras_tensor__', config: {keras_history: [3, 0, 0]}}])]),
      ]),
      'malformed-topology',
      gone([3, 0, 0]),
    ],
    [
      'a nested model with two arguments',
      functional([
        input(),
        {...sequential([dense(undefined)]), name: 'd', inbound_nodes: [call([tensor('in'), tensor('in')])]},
      ]),
      'unsupported-layer',
      `${place('d', 'Sequential')} is called with 2 arguments, ${lacks}`,
    ],
    [
      'a tensor without a history',
      functional([input(), dense([call([{class_name: '__keras_tensor__', config: 3}])])]),
      'malformed-topology',
      gone(undefined),
    ],
    [
      'an output that is not there',
      functional([input(), dense([call([tensor('in')])])], undefined, ['d', 1, 0]),
      'malformed-topology',
      gone(['d', 1, 0]),
    ],
    [
      'an operation that is no layer',
      functional([input(), operation('Reshape', 'd', [call([tensor('in')])])]),
      'unsupported-layer',
      `${place('d', 'Reshape')} is an operation on tensors, no layer, ${lacks}`,
    ],
    [
      'an operation on several ranks',
      functional([
        input(),
        input('b'),
        operation('Add', 'd', [call([tensor('in'), tensor('b', 0, 0, [null, 1, 4])])]),
      ]),
      'unsupported-layer',
      `${place('d', 'Add')} is an operation on tensors of several ranks, no layer, ${lacks}`,
    ],
    [
      'a recurrent layer with three arguments',
      functional([input(), layer('LSTM', 'd', {}, [call([tensor('in'), tensor('in'), tensor('in')])])]),
      'unsupported-layer',
      `${place('d', 'LSTM')} is called with 3 arguments, ${lacks}`,
    ],
    [
      'an argument that is a number',
      functional([input(), dense([call([2])])]),
      'unsupported-layer',
      `${place('d', 'Dense')} is called with 2, ${lacks}`,
    ],
    [
      'an argument that is long',
      functional([input(), dense([call(['x'.repeat(100)])])]),
      'unsupported-layer',
      `${place('d', 'Dense')} is called with "${'x'.repeat(79)}, ${lacks}`,
    ],
    [
      'training',
      functional([input(), dense([call([tensor('in')], {training: true})])]),
      'unsupported-layer',
      `${place('d', 'Dense')} is called with training, ${lacks}`,
    ],
    [
      'another argument that is false',
      functional([input(), dense([call([tensor('in')], {other: false})])]),
      'unsupported-layer',
      `${place('d', 'Dense')} is called with other, ${lacks}`,
    ],
    [
      'a mask of its own',
      functional([input(), dense([call([tensor('in')], {mask: tensor('in')})])]),
      'unsupported-layer',
      `${place('d', 'Dense')} is called with mask, ${lacks}`,
    ],
  ] as const) {
    it(`is refused with ${what}, and says so`, async () => {
      const error = await rejection(() => convert(model), code);
      expect(error.message).to.equal(message);
      expect(error.data).to.include({source: 'm.json'});
    });
  }
});
