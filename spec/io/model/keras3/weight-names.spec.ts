import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {KERAS3_REMEDY} from '../../../../lib/io/model/keras3/layer-config.js';
import {matchWeights} from '../../../../lib/io/model/keras3/weight-names.js';
import {asContainer} from '../../../../lib/tfjs.js';
import {disposeModels, withoutLeaks} from '../../../support/backends.js';
import {rejection} from '../../../support/rejection.js';

const {layers} = tf;

/** A layer of a topology. */
const layer = (className: string, name: string, config: object = {}) => ({
  class_name: className,
  config: {name, ...config},
});

describe('weights of Keras 3', () => {
  withoutLeaks(() => {
    const models: tf.LayersModel[] = [];
    afterEach(() => disposeModels(...models.splice(0)));

    /** A model of layers whose names are given, and its topology. */
    function modelOf(parts: readonly (readonly [className: string, layer: tf.layers.Layer])[]) {
      const model = tf.sequential({name: 'm', layers: parts.map(([, each]) => each)});
      models.push(model);
      const topology = {
        model_config: {
          class_name: 'Sequential',
          config: {
            name: 'm',
            layers: [
              layer('InputLayer', 'in'),
              ...parts.map(([className, {name}]) => layer(className, name)),
            ],
          },
        },
      };
      /** Which weight of the model each name is, or why none. */
      const match = (names: readonly string[]): Record<string, string> => {
        const specs = names.map((name) => ({name, shape: [], dtype: 'float32' as const}));
        const found = matchWeights(specs, topology, asContainer(model), 'm.json');
        return Object.fromEntries([...found].map(([name, {originalName}]) => [name, originalName]));
      };
      return {model, match};
    }

    const dense = (name: string, units = 2, more: object = {}) => layers.dense({name, units, ...more});
    const first = (name: string) => dense(name, 2, {inputShape: [3]});
    const two = () =>
      modelOf([
        ['Dense', first('a')],
        ['Dense', dense('b')],
      ]);

    it('are found by their place, layers counted by class', () => {
      expect(
        two().match([
          'layers/dense/vars/0',
          'layers/dense/vars/1',
          'layers/dense_1/vars/0',
          'layers/dense_1/vars/1',
        ]),
      ).to.deep.equal({
        'layers/dense/vars/0': 'a/kernel',
        'layers/dense/vars/1': 'a/bias',
        'layers/dense_1/vars/0': 'b/kernel',
        'layers/dense_1/vars/1': 'b/bias',
      });
    });

    it('are found by their path, with the model around or without, in any order', () => {
      const names = {
        'm/b/bias': 'b/bias',
        'a/kernel': 'a/kernel',
        'm/a/bias': 'a/bias',
        'b/kernel': 'b/kernel',
      };
      expect(two().match(Object.keys(names))).to.deep.equal(names);
    });

    for (const [className, make, folder] of [
      [
        'Conv2DTranspose',
        () =>
          layers.conv2dTranspose({
            name: 'x',
            filters: 1,
            kernelSize: 1,
            inputShape: [2, 2, 1],
            useBias: false,
          }),
        'conv2d_transpose',
      ],
      [
        'BatchNormalization',
        () => layers.batchNormalization({name: 'x', inputShape: [2], scale: false, trainable: true}),
        'batch_normalization',
      ],
      ['PReLU', () => layers.prelu({name: 'x', inputShape: [2]}), 'p_re_lu'],
      ['SimpleRNN', () => layers.simpleRNN({name: 'x', units: 1, inputShape: [2, 1]}), 'simple_rnn'],
      ['Conv1D', () => layers.conv1d({name: 'x', filters: 1, kernelSize: 1, inputShape: [2, 1]}), 'conv1d'],
    ] as const) {
      it(`lie in the folder ${folder} for ${className}`, () => {
        const {model, match} = modelOf([[className, make()]]);
        const wanted = Object.fromEntries(
          model.weights.map(({originalName}, i) => [`layers/${folder}/vars/${i}`, originalName]),
        );
        expect(match(Object.keys(wanted))).to.deep.equal(wanted);
      });
    }

    it('may lie in the cell of a layer, by place and by path', () => {
      const lstm = () => modelOf([['LSTM', layers.lstm({name: 'l', units: 1, inputShape: [2, 1]})]]);
      const parts = ['kernel', 'recurrent_kernel', 'bias'];
      const byPlace = lstm().match(parts.map((_, i) => `layers/lstm/cell/vars/${i}`));
      const byPath = lstm().match(parts.map((part) => `m/l/lstm_cell/${part}`));
      for (const found of [byPlace, byPath])
        expect(Object.values(found)).to.deep.equal(parts.map((part) => `l/${part}`));
    });

    it('are told from the state of an optimizer, of seeds and of counts', () => {
      const places = [0, 1].flatMap((i) => ['dense', 'dense_1'].map((name) => `layers/${name}/vars/${i}`));
      const state = ['optimizer/vars/0', 'layers/dropout/seed_generator/vars/0', 'seed_generator/vars/0'];
      expect(Object.keys(two().match([...state, ...places]))).to.have.members(places);
      const paths = ['a/kernel', 'a/bias', 'b/kernel', 'b/bias'];
      const named = [
        'm/dropout/seed_generator_state',
        'seed_generator_state',
        'm/normalization/count',
        'count',
      ];
      expect(Object.keys(two().match([...named, ...paths]))).to.have.members(paths);
    });

    it('may be a depthwise kernel under the name of a kernel', () => {
      const {match} = modelOf([
        [
          'DepthwiseConv2D',
          layers.depthwiseConv2d({name: 'x', kernelSize: 1, inputShape: [2, 2, 1], useBias: false}),
        ],
      ]);
      expect(match(['m/x/kernel'])).to.deep.equal({'m/x/kernel': 'x/depthwise_kernel'});
    });

    describe('in models inside of models', () => {
      /** A model m of the models n1 and n2, each with a Dense layer d, and a Dense layer d of its own. */
      function nested(shapes: Readonly<Record<string, readonly number[]>> = {}) {
        const inner = (name: string, inputs: number) =>
          tf.sequential({name, layers: [dense('d', 2, {inputShape: [inputs]})]});
        const model = tf.sequential({name: 'm', layers: [inner('n1', 3), inner('n2', 2), dense('d', 5)]});
        models.push(model);
        const topology = (name: string, inside: readonly object[]) => ({
          class_name: 'Sequential',
          config: {name, layers: inside},
        });
        const d = layer('Dense', 'd');
        const whole = topology('m', [topology('n1', [layer('InputLayer', 'in'), d]), topology('n2', [d]), d]);
        /** The layer's path and shape of the weight that each name is. */
        return (names: readonly string[]) => {
          const specs = names.map((name) => ({
            ...{name, shape: [...(shapes[name] ?? [])], dtype: 'float32' as const},
          }));
          const found = matchWeights(specs, whole, asContainer(model), 'm.json');
          return Object.fromEntries([...found].map(([name, {shape}]) => [name, shape]));
        };
      }

      const PATHS = {
        'm/n1/d/kernel': [3, 2],
        'm/n1/d/bias': [2],
        'n2/d/kernel': [2, 2],
        'm/n2/d/bias': [2],
        'm/d/kernel': [2, 5],
        'd/bias': [5],
      };

      it('are found by the path, with as little of it missing as can be', () => {
        expect(nested()(Object.keys(PATHS))).to.deep.equal(PATHS);
        expect(nested()(Object.keys(PATHS).reverse())).to.deep.equal(PATHS);
      });

      it('are found by their place', () => {
        const places = {
          'layers/sequential/layers/dense/vars/0': [3, 2],
          'layers/sequential/layers/dense/vars/1': [2],
          'layers/sequential_1/layers/dense/vars/0': [2, 2],
          'layers/sequential_1/layers/dense/vars/1': [2],
          'layers/dense/vars/0': [2, 5],
          'layers/dense/vars/1': [5],
        };
        expect(nested()(Object.keys(places))).to.deep.equal(places);
      });

      it('are found where a layer was numbered anew, by their shape too', async () => {
        const renumbered = (shape: readonly number[]) => {
          const {'m/d/kernel': _, ...others} = PATHS;
          return nested({'m_3/d_12/kernel': shape})([...Object.keys(others), 'm_3/d_12/kernel']);
        };
        expect(renumbered([2, 5])['m_3/d_12/kernel']).to.deep.equal([2, 5]);
        for (const shape of [[5, 2], []]) await rejection(() => renumbered(shape), 'weights-mismatch');
      });

      it('are refused where two layers could be meant', async () => {
        const model = tf.sequential({
          name: 'm',
          layers: ['n1', 'n2'].map((name) =>
            tf.sequential({name, layers: [dense('d', 2, {inputShape: [2], useBias: false})]}),
          ),
        });
        models.push(model);
        const inner = (name: string) => ({
          class_name: 'Sequential',
          config: {name, layers: [layer('Dense', 'd')]},
        });
        const topology = {class_name: 'Sequential', config: {name: 'm', layers: [inner('n1'), inner('n2')]}};
        const match = (names: readonly string[]) =>
          matchWeights(
            names.map((name) => ({name, shape: [2, 2], dtype: 'float32' as const})),
            topology,
            asContainer(model),
            'm.json',
          );
        expect([...match(['n1/d/kernel', 'n2/d/kernel']).keys()]).to.have.length(2);
        const error = await rejection(() => match(['d/kernel', 'n2/d/kernel']), 'weights-mismatch');
        expect(error.data).to.deep.include({weights: ['d/kernel'], unset: ['d/kernel']});
        await rejection(() => match(['n2/n1/d/kernel', 'n2/d/kernel']), 'weights-mismatch');
      });
    });

    it('may lie in wrappers: both ways of Bidirectional, each step of TimeDistributed', () => {
      const both = () =>
        layers.bidirectional({
          name: 'b',
          layer: layers.gru({name: 'g', units: 1, returnSequences: true}),
          mergeMode: 'concat',
          inputShape: [2, 1],
        });
      const parts = ['kernel', 'recurrent_kernel', 'bias'];
      const ways = modelOf([['Bidirectional', both()]]);
      const places = ['forward_layer', 'backward_layer'].flatMap((way) =>
        parts.map((_, i) => `layers/bidirectional/${way}/cell/vars/${i}`),
      );
      expect(Object.values(ways.match(places))).to.deep.equal(
        ['b/forward_g', 'b/backward_g'].flatMap((way) => parts.map((part) => `${way}/${part}`)),
      );
      const steps = modelOf([
        ['TimeDistributed', layers.timeDistributed({name: 't', layer: dense('d'), inputShape: [2, 1]})],
      ]);
      expect(
        Object.values(
          steps.match(['layers/time_distributed/layer/vars/0', 'layers/time_distributed/layer/vars/1']),
        ),
      ).to.deep.equal(['t/kernel', 't/bias']);
    });

    async function expectMismatch(match: () => unknown, said: string, data: object): Promise<void> {
      const error = await rejection(match, 'weights-mismatch');
      expect(error.message).to.equal(`m.json is a Keras 3 file that has ${said}: ${KERAS3_REMEDY}`);
      expect(error.data).to.deep.equal({source: 'm.json', ...data});
    }

    it('are refused where one is missing', async () => {
      const {match} = two();
      await expectMismatch(() => match(['a/kernel', 'a/bias', 'b/kernel']), 'no weights for b/bias', {
        weights: [],
        unset: ['b/bias'],
      });
    });

    it('are refused where one is no layer’s', async () => {
      const {match} = two();
      const whole = ['a/kernel', 'a/bias', 'b/kernel', 'b/bias'];
      for (const name of ['c/kernel', 'a/gamma', 'x/a/b/kernel', 'a/b/c/kernel', 'a/kernel/more/kernel'])
        await expectMismatch(() => match([...whole, name]), `no layer for the weights ${name}`, {
          weights: [name],
          unset: [],
        });
    });

    it('are refused where two are one', async () => {
      const {match} = two();
      await expectMismatch(
        () => match(['a/kernel', 'm/a/kernel', 'a/bias', 'b/kernel', 'b/bias']),
        'no layer for the weights m/a/kernel',
        {weights: ['m/a/kernel'], unset: []},
      );
    });

    it('are refused by place and count where there are too many, five of them by name', async () => {
      const {match} = two();
      const places = [0, 1].flatMap((i) => ['dense', 'dense_1'].map((name) => `layers/${name}/vars/${i}`));
      const more = Array.from({length: 7}, (_, i) => `layers/dense_2/vars/${i}`);
      await expectMismatch(
        () => match([...places, ...more]),
        `no layer for the weights ${more.slice(0, 5).join(', ')} and 2 more`,
        {weights: more, unset: []},
      );
      await expectMismatch(
        () => match([...places, ...more.slice(0, 5)]),
        `no layer for the weights ${more.slice(0, 5).join(', ')}`,
        {weights: more.slice(0, 5), unset: []},
      );
      await expectMismatch(
        () => match([...places, 'layers/dense/vars/2']),
        'no layer for the weights layers/dense/vars/2',
        {weights: ['layers/dense/vars/2'], unset: []},
      );
    });

    it('are refused where nothing fits, both ways', async () => {
      const {match} = modelOf([['Dense', first('a')]]);
      await expectMismatch(
        () => match(['x/kernel']),
        'no layer for the weights x/kernel and no weights for a/kernel, a/bias',
        {weights: ['x/kernel'], unset: ['a/kernel', 'a/bias']},
      );
      await expectMismatch(() => match([]), 'no weights for a/kernel, a/bias', {
        weights: [],
        unset: ['a/kernel', 'a/bias'],
      });
    });
  });
});
