import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {
  ACTIVATION_FIELDS,
  camelCase,
  checkSavable,
  isLayerActivation,
  withActivations,
  type Activation,
} from '../../lib/layers/activation-config.js';
import type {Layer} from '../../lib/tfjs.js';
import {checkForLeaks} from '../support/backends.js';
import {failure} from '../support/io/files.js';

/** A layer that stands for an activation, of this class name and configuration. */
function layerOf(className: string, config: object = {}): Layer & Activation {
  class Named extends tf.layers.Layer {
    static className = className;

    override getConfig(): tf.serialization.ConfigDict {
      return {name: 'my_activation_1', ...config};
    }
  }
  return new Named({});
}

const named = (className: string): Activation => ({getClassName: () => className});

describe('an activation in a saved model', () => {
  checkForLeaks();
  before(() => tf.setBackend('cpu'));

  for (const [what, activation] of [
    ['a function of one word', named('relu')],
    ['a function of two', named('hardSigmoid')],
    ['a layer with a name of its own', layerOf('LeakyReLU', {alpha: 0.5, trainable: true})],
    [
      'a layer with settings of every kind that are kept',
      layerOf('Odd', {
        ...{nothing: null, left: undefined, word: 'max', twoWords: [1, -2.5, 'sum', [true, false]]},
        ...{inner: {deepKey: {maxValue: 6}}},
      }),
    ],
  ] as const) {
    it(`is kept: ${what}`, () => checkSavable(activation, 'd'));
  }

  const settings = 'TensorFlow.js changes its settings when it saves them';
  for (const [what, activation, className, reason] of [
    ['a function', named('ReLU6'), 'ReLU6', 'TensorFlow.js changes that name when it saves it'],
    ['a function of one capital', named('Mish'), 'Mish', 'TensorFlow.js changes that name when it saves it'],
    ['a layer', layerOf('my_act'), 'my_act', 'TensorFlow.js changes that name when it loads it'],
    ['a layer that ends so', layerOf('act_'), 'act_', 'TensorFlow.js changes that name when it loads it'],
    ...[
      {alpha: NaN},
      {alpha: [1, Infinity]},
      {max_value: 6},
      {mode: 'two_words'},
      {inner: {word: 'A'}},
      {call: () => 0},
      {name: 5n},
    ].map((config) => ['a layer', layerOf('Odd', config), 'Odd', settings] as const),
  ] as const) {
    it(`is refused: ${what} ${className}, since ${reason}`, async () => {
      const error = await failure(() => checkSavable(activation, 'path/d'));
      expect(error.code).to.equal('unsavable-activation');
      expect(error.message).to.equal(
        `layer "path/d" has the activation ${className}, which a saved model cannot keep: ${reason}; make the layer ` +
          'without an activation and put a layer after it that computes it',
      );
      expect(error.data).to.deep.equal({path: 'path/d', activation: className});
    });
  }

  it('is refused if it is a layer with weights', async () => {
    const layer = tf.layers.prelu({name: 'p'});
    layer.build([null, 3]);
    const error = await failure(() => checkSavable(layer, 'd'));
    expect(error.message).to.include('which a saved model cannot keep: it is a layer with weights; ');
    for (const weight of layer.weights) weight.dispose();
  });

  for (const [word, expected] of [
    ['', ''],
    ['_', '_'],
    ['a', 'a'],
    ['hard_sigmoid', 'hardSigmoid'],
    ['a__b', 'aB'],
    ['ab_', 'ab'],
    ['maxValue', 'maxValue'],
    ['_x', 'X'],
  ] as const) {
    it(`is read as "${expected}" where "${word}" is written`, () =>
      expect(camelCase(word)).to.equal(expected));
  }

  it('is written with class and settings where it is a layer, in both fields, and else left as it was', () => {
    expect(ACTIVATION_FIELDS).to.deep.equal(['activation', 'recurrentActivation']);
    const [first, second] = [tf.layers.reLU({maxValue: 6}), tf.layers.leakyReLU({alpha: 0.1})];
    const config = {name: 'd', activation: 'relu', recurrentActivation: 'tanh'};
    const written = withActivations({activation: first, recurrentActivation: second}, config);
    expect(written).to.deep.equal({
      name: 'd',
      activation: {className: 'ReLU', config: first.getConfig()},
      recurrentActivation: {className: 'LeakyReLU', config: second.getConfig()},
    });
    expect(config).to.deep.equal({name: 'd', activation: 'relu', recurrentActivation: 'tanh'});
    expect(withActivations({activation: named('relu')}, config)).to.deep.equal(config);
    expect(withActivations({activation: null}, config)).to.deep.equal(config);
    expect(isLayerActivation(first)).to.equal(true);
    for (const other of [null, undefined, named('relu')]) expect(isLayerActivation(other)).to.equal(false);
  });
});
