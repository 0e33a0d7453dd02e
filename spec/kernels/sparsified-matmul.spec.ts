/** @file `SparsifiedMatMul` on every backend, against the definition in plain loops. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import fc from 'fast-check';
import {FUSED_ACTIVATIONS} from '../../lib/kernels/activations.js';
import {registerSparsifiedMatMul, sparsifiedMatMul} from '../../lib/kernels/sparsified-matmul.js';
import {runKernel} from '../../lib/tfjs.js';
import {onEveryBackend} from '../support/backends.js';
import {ROWS, SHAPES, SPARSITIES, checkMatMul} from '../support/kernels/matmul-check.js';
import {normals} from '../support/normals.js';

describe('sparsifiedMatMul', () => {
  onEveryBackend(() => {
    for (const sparsity of SPARSITIES) {
      for (const [inputSize, units] of SHAPES) {
        it(`equals the reference for ${inputSize} x ${units} at sparsity ${sparsity}`, () => {
          for (const rows of ROWS) checkMatMul({rows, inputSize, units, sparsity});
        });
      }
    }

    for (const activation of FUSED_ACTIVATIONS) {
      for (const bias of [false, true]) {
        it(`fuses ${activation} ${bias ? 'with' : 'without'} a bias`, () => {
          checkMatMul({rows: 1, inputSize: 40, units: 21, sparsity: 0.5, bias, activation});
          checkMatMul({rows: 9, inputSize: 40, units: 21, sparsity: 0.5, bias, activation});
        });
      }
    }

    for (const units of [1, 2, 3, 4, 5, 8, 15, 16, 17]) {
      it(`adds the bias of a layer of ${units} units`, () => {
        for (const rows of [1, 3, 20]) {
          for (const sparsity of [0, 0.5, 1]) checkMatMul({rows, inputSize: 13, units, sparsity, bias: true});
        }
      });
    }

    it('equals the reference for every number of rows to 33, with every rest of inputs and units', () => {
      for (let rows = 1; rows <= 33; rows++) {
        const activation = FUSED_ACTIVATIONS[rows % FUSED_ACTIVATIONS.length];
        const options = {bias: rows % 2 === 0, perInput: rows % 3 === 0, activation};
        checkMatMul({rows, inputSize: 16 + rows, units: 49 - rows, sparsity: 0.6, ...options}, rows);
        checkMatMul({rows, inputSize: 50 - rows, units: rows, sparsity: 0.2, bias: true}, rows);
      }
    });

    it('takes one threshold per input', () => {
      checkMatMul({rows: 1, inputSize: 50, units: 9, sparsity: 0.4, perInput: true});
      checkMatMul({rows: 12, inputSize: 50, units: 9, sparsity: 0.4, perInput: true, bias: true});
    });

    it('equals the reference for any shape and sparsity', () => {
      const shapes = fc.record({
        rows: fc.integer({min: 1, max: 9}),
        inputSize: fc.integer({min: 1, max: 70}),
        units: fc.integer({min: 1, max: 70}),
        sparsity: fc.double({min: 0, max: 1, noNaN: true}),
        perInput: fc.boolean(),
        bias: fc.boolean(),
        activation: fc.constantFrom(...FUSED_ACTIVATIONS),
      });
      fc.assert(
        fc.property(shapes, fc.nat(), (shape, seed) => checkMatMul(shape, seed)),
        {numRuns: 60, seed: 7},
      );
    });

    it('masks a value equal to the threshold, and -0', () => {
      const y = tf.tidy(() =>
        sparsifiedMatMul(tf.tensor2d([[0.5, -0.5, 0.75, -0]]), tf.ones([4, 1]), tf.scalar(0.5)).dataSync(),
      );
      expect([...y]).to.deep.equal([0.75]);
    });

    it('keeps NaN of the input', () => {
      const y = tf.tidy(() =>
        sparsifiedMatMul(
          tf.tensor2d([
            [NaN, 1],
            [2, 1],
          ]),
          tf.ones([2, 1]),
          tf.scalar(1),
        ).dataSync(),
      );
      expect([...y]).to.deep.equal([NaN, 2]);
    });

    it('keeps everything at -Infinity and nothing at Infinity', () => {
      const [all, none] = tf.tidy(() => {
        const x = tf.tensor2d([[0, -3, 2]]);
        const kernel = tf.tensor2d([[1], [10], [100]]);
        const apply = (threshold: number) =>
          sparsifiedMatMul(x, kernel, tf.scalar(threshold), {bias: tf.tensor1d([5])}).dataSync()[0];
        return [apply(-Infinity), apply(Infinity)] as unknown as [number, number];
      });
      expect([all, none]).to.deep.equal([175, 5]);
    });

    it('keeps leading dimensions', () => {
      const shapes = tf.tidy(() => {
        const kernel = tf.ones<tf.Rank.R2>([4, 5]);
        return [[4], [2, 4], [2, 3, 4], [2, 1, 3, 4]].map(
          (shape) => sparsifiedMatMul(tf.ones(shape), kernel, tf.scalar(0)).shape,
        );
      });
      expect(shapes).to.deep.equal([[5], [2, 5], [2, 3, 5], [2, 1, 3, 5]]);
    });

    for (const [dtype, value] of [
      ['float32', 2.5],
      ['int32', 2],
      ['bool', 1],
    ] as const) {
      it(`multiplies an input of ${dtype}`, () => {
        const y = tf.tidy(() => {
          const x = tf.tensor2d([[0, value]], [1, 2], dtype);
          const kernel = tf.tensor2d([[3], [7]]);
          return sparsifiedMatMul(x, kernel, tf.scalar(0.5), {bias: tf.tensor1d([4])}).dataSync();
        });
        expect([...y]).to.deep.equal([value * 7 + 4]);
      });
    }

    for (const activation of FUSED_ACTIVATIONS) {
      it(`has the gradient of the masked product through ${activation}`, () => {
        const values = {
          x: normals(12, 3),
          kernel: normals(8, 4),
          bias: normals(2, 5),
          dy: normals(6, 6),
        };
        const [actual, expected] = tf.tidy(() => {
          const x = tf.tensor2d(values.x, [3, 4]);
          const kernel = tf.tensor2d(values.kernel, [4, 2]);
          const bias = tf.tensor1d(values.bias);
          const dy = tf.tensor2d(values.dy, [3, 2]);
          const keep = tf.cast(tf.greater(tf.abs(x), 0.5), 'float32');
          const ours = tf.grads((x, kernel, bias) =>
            sparsifiedMatMul(x, kernel as tf.Tensor2D, tf.scalar(0.5), {
              bias: bias as tf.Tensor1D,
              activation,
            }),
          )([x, kernel, bias], dy);
          const stock = tf.grads((x, kernel, bias) => {
            const z = tf.add(tf.matMul(tf.mul(x, keep), kernel), bias);
            switch (activation) {
              case 'linear':
                return z;
              case 'silu':
                return tf.mul(z, tf.sigmoid(z));
              case 'gelu':
                return tf.mul(tf.mul(z, 0.5), tf.add(tf.erf(tf.div(z, Math.SQRT2)), 1));
              default:
                return tf[activation](z);
            }
          })([x, kernel, bias], dy);
          return [ours, stock].map((grads) => grads.flatMap((g) => [...g.dataSync()])) as unknown as [
            number[],
            number[],
          ];
        });
        expect(actual.length).to.equal(expected.length);
        expected.forEach((value, i) => expect(actual[i]).to.be.closeTo(value, 1e-5));
      });
    }

    it('takes a threshold of one value in any shape', () => {
      for (const shape of [[], [1], [1, 1]]) {
        const y = tf.tidy(() =>
          sparsifiedMatMul(tf.tensor2d([[1, 2]]), tf.ones([2, 1]), tf.ones(shape)).dataSync(),
        );
        expect([...y]).to.deep.equal([2]);
      }
    });

    it('refuses options that there are not', () => {
      const apply = (options: object) => () =>
        tf.tidy(() => sparsifiedMatMul(tf.ones([1, 2]), tf.ones([2, 1]), tf.scalar(0), options));
      expect(apply({biases: 1}))
        .to.throw('sparsifiedMatMul')
        .with.property('code', 'unknown-option');
      expect(apply({activation: 'elu'}))
        .to.throw('activation')
        .with.property('code', 'bad-option');
    });

    it('has a gradient for direct calls of the kernel, and where a backend has none', () => {
      registerSparsifiedMatMul();
      const hasKernel = tf.getKernel('SparsifiedMatMul', tf.getBackend()) !== undefined;
      const gradient = tf.tidy(() => {
        const [kernel, threshold] = [tf.ones<tf.Rank.R2>([2, 3]), tf.scalar(1)];
        const product = (x: tf.Tensor) =>
          hasKernel
            ? runKernel(
                'SparsifiedMatMul',
                {x, kernel, threshold, bias: tf.zeros([0])},
                {activation: 'linear'},
              )
            : sparsifiedMatMul(x, kernel, threshold, {});
        return tf
          .grad(product)(tf.tensor2d([[2, 1]]))
          .dataSync();
      });
      expect([...gradient]).to.deep.equal([3, 0]);
    });

    const wrong: {what: string; x: number[]; kernel: number[]; threshold: number[]; bias?: number[]}[] = [
      {
        ...{what: "x has shape [1,3]; its last dimension must be 2, the kernel's first"},
        ...{x: [1, 3], kernel: [2, 4], threshold: []},
      },
      {
        ...{what: "x has shape []; its last dimension must be 2, the kernel's first"},
        ...{x: [], kernel: [2, 4], threshold: []},
      },
      ...[
        {x: [1, 2], threshold: [3]},
        {x: [1, 3], threshold: [2]},
        {x: [1, 2], threshold: [1, 2]},
        {x: [1, 2], threshold: [2, 1]},
      ].map(({x, threshold}) => ({
        what: `the threshold has shape [${threshold}]; give a scalar or one value per input, [${x[1]}]`,
        ...{x, kernel: [x[1], 4], threshold},
      })),
      ...[[5], [2], [1]].map((bias) => ({
        what: `the bias has shape [${bias}]; it must be [4], one value per unit`,
        ...{x: [1, 2], kernel: [2, 4], threshold: [], bias},
      })),
      {
        ...{what: 'the kernel has shape [2]; it must be [inputs, units]'},
        ...{x: [1, 2], kernel: [2], threshold: []},
      },
    ];
    for (const {what, x, kernel, threshold, bias} of wrong) {
      it(`rejects shapes that do not fit: ${what}`, () => {
        const apply = () =>
          tf.tidy(() =>
            sparsifiedMatMul(
              tf.ones(x),
              tf.ones<tf.Rank.R2>(kernel as [number, number]),
              tf.ones(threshold),
              {
                bias: bias && tf.ones<tf.Rank.R1>(bias as [number]),
              },
            ),
          );
        expect(apply)
          .to.throw(`sparsifiedMatMul: ${what}`)
          .with.deep.include({code: 'shape-mismatch', data: {x, kernel, threshold, bias}});
      });
    }
  });

  describe('on cpu, where rows are skipped', () => {
    it('leaves Inf and NaN in a masked row of the kernel out', async () => {
      await tf.setBackend('cpu');
      const y = tf.tidy(() =>
        sparsifiedMatMul(
          tf.tensor2d([[0.1, 2]]),
          tf.tensor2d([
            [Infinity, NaN],
            [1, 1],
          ]),
          tf.scalar(1),
        ).dataSync(),
      );
      expect([...y]).to.deep.equal([2, 2]);
    });
  });
});
