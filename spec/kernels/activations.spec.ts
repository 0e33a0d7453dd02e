/** @file The fused activations: numbers that are known, and gradients against differences of the scalar functions. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {
  ACTIVATE,
  FUSED_ACTIVATIONS,
  activate,
  activationGradient,
  fusedActivationOf,
  type FusedActivation,
} from '../../lib/kernels/activations.js';
import {checkForLeaks} from '../support/backends.js';

/** Values of each activation at -2, -0.5, 0, 1 and 3, from tables of the error function and the exponential. */
const KNOWN: Readonly<Record<FusedActivation, readonly number[]>> = {
  linear: [-2, -0.5, 0, 1, 3],
  relu: [0, 0, 0, 1, 3],
  silu: [-0.2384058, -0.1887703, 0, 0.7310586, 2.8577224],
  gelu: [-0.0455003, -0.1542688, 0, 0.8413447, 2.9959503],
  tanh: [-0.9640276, -0.4621172, 0, 0.7615942, 0.9950548],
  sigmoid: [0.1192029, 0.3775407, 0.5, 0.7310586, 0.9525741],
};
const AT = [-2, -0.5, 0, 1, 3];

describe('fused activations', () => {
  checkForLeaks();
  before(() => tf.setBackend('cpu'));

  it('are six', () => {
    expect(FUSED_ACTIVATIONS).to.deep.equal(Object.keys(KNOWN));
  });

  for (const activation of FUSED_ACTIVATIONS) {
    it(`have the values of ${activation}, as a number and as a tensor`, () => {
      const values = tf.tidy(() => activate(tf.tensor1d(AT), activation).dataSync());
      AT.forEach((z, i) => {
        // The error function is right to 1.5e-7, times z / 2.
        expect(ACTIVATE[activation](z)).to.be.closeTo(KNOWN[activation][i], 4e-7);
        expect(values[i]).to.be.closeTo(KNOWN[activation][i], 1e-6);
      });
    });

    it(`have the gradient of ${activation}`, () => {
      const [at, dy] = [
        [-2, -0.5, -0.01, 0.01, 1, 3],
        [1, -2, 3, 0.5, 2, 1],
      ];
      const gradient = tf.tidy(() =>
        activationGradient(tf.tensor1d(dy), tf.tensor1d(at), activation).dataSync(),
      );
      // The approximation of the error function is within 1.5e-7: over a step of 2e-3 the slope is within 1e-4.
      const slope = (z: number) => (ACTIVATE[activation](z + 1e-3) - ACTIVATE[activation](z - 1e-3)) / 2e-3;
      at.forEach((z, i) => expect(gradient[i]).to.be.closeTo(dy[i] * slope(z), 1e-3));
    });
  }
});

describe('fusedActivationOf', () => {
  const activationOf = (activation: string) =>
    (
      tf.layers.dense({units: 1, activation: activation as 'relu'}) as unknown as {
        activation: tf.layers.Layer;
      }
    ).activation as unknown as Parameters<typeof fusedActivationOf>[0];

  for (const [name, fused] of [
    ['linear', 'linear'],
    ['relu', 'relu'],
    ['swish', 'silu'],
    ['gelu', 'gelu'],
    ['tanh', 'tanh'],
    ['sigmoid', 'sigmoid'],
    ['softmax', undefined],
    ['elu', undefined],
    ['hardSigmoid', undefined],
  ] as const) {
    it(`is ${fused ?? 'none'} for ${name}`, () => {
      expect(fusedActivationOf(activationOf(name))).to.equal(fused);
    });
  }

  it('is linear where there is none, and none for what objects have by themselves or for a layer of that name', () => {
    expect(fusedActivationOf(null)).to.equal('linear');
    expect(fusedActivationOf({getClassName: () => 'toString'})).to.equal(undefined);
    class Named extends tf.layers.Layer {
      static className = 'relu';
    }
    expect(fusedActivationOf(new Named({}))).to.equal(undefined);
  });
});
