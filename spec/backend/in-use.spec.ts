import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {backendInUse, nodePackageOf} from '../../lib/backend/in-use.js';
import {BACKENDS} from '../support/backends.js';

describe('backendInUse', () => {
  const before = tf.getBackend();
  afterEach(() => tf.setBackend(before));

  for (const [registered, name] of [
    ['cpu', 'cpu'],
    ['wasm', 'wasm'],
    ['tensorflow', 'node'],
  ]) {
    it(`calls ${registered} ${name}`, async function () {
      if (!BACKENDS.includes(registered)) this.skip();
      await tf.setBackend(registered);
      expect(backendInUse()).to.equal(name);
    });
  }

  for (const [backend, name] of [
    [{isGPUPackage: true}, 'node-gpu'],
    [{isGPUPackage: false}, 'node'],
    [{}, 'node'],
  ] as const) {
    it(`takes ${JSON.stringify(backend)} for ${name}`, () => {
      expect(nodePackageOf(backend)).to.equal(name);
    });
  }
});
