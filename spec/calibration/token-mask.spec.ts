import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {readTokenMask, rowsThatCount, type TokenMask} from '../../lib/calibration/token-mask.js';
import {
  allocateSparsity,
  inspect,
  measureSparsity,
  sparsifyActivations,
  statisticsOf,
  type CalibrationOptions,
} from '../../lib/index.js';
import {disposeModels, withoutLeaks} from '../support/backends.js';

/** Rows of two values; each holds its own number, so that what is left tells which rows counted. */
function numbered(shape: readonly number[]): Float32Array {
  const rows = shape.reduce((size, n) => size * n, 1);
  return Float32Array.from({length: 2 * rows}, (_, i) => Math.floor(i / 2));
}

function rowsLeft(leading: readonly number[], mask: TokenMask | undefined, skip?: number): number[] {
  const left = rowsThatCount(numbered(leading), [...leading, 2], mask, skip);
  return [...left].filter((_, i) => i % 2 === 0);
}

const mask = (counts: number[][]): TokenMask => ({
  shape: [counts.length, counts[0].length],
  counts: counts.flat(),
});

/** Two sequences of three tokens: the first is whole, of the second only the first token. */
const MASK = mask([
  [1, 1, 1],
  [1, 0, 0],
]);

describe('rowsThatCount', () => {
  for (const [name, leading, left] of [
    ['[batch, tokens, K]', [2, 3], [0, 1, 2, 3]],
    ['[batch * tokens, K]', [6], [0, 1, 2, 3]],
    ['[1, batch * tokens, K]', [1, 6], [0, 1, 2, 3]],
    ['[batch, tokens, heads, K]', [2, 3, 2], [0, 1, 2, 3, 4, 5, 6, 7]],
    ['[batch * tokens, heads, K]', [6, 2], [0, 1, 2, 3, 4, 5, 6, 7]],
    ['[batch, heads, tokens, K]', [2, 4, 3], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 18, 21]],
    ['[batch, tokens, 2, 2, K]', [2, 3, 2, 2], Array.from({length: 16}, (_, i) => i)],
    ['[batch, K], no tokens', [2], [0, 1]],
    ['[batch, 4, K], no tokens', [2, 4], [0, 1, 2, 3, 4, 5, 6, 7]],
    ['[3, 4, 3, K], another batch', [3, 4, 3], Array.from({length: 36}, (_, i) => i)],
    ['[3, 5, K], another batch', [3, 5], Array.from({length: 15}, (_, i) => i)],
  ] as const) {
    it(`takes the rows of the tokens that the mask counts: ${name}`, () => {
      expect(rowsLeft(leading, MASK)).to.deep.equal(left);
    });
  }

  for (const [name, leading, skip, left] of [
    ['[batch, tokens, K]', [2, 3], 1, [1, 2, 4, 5]],
    ['[batch, tokens, heads, K]', [2, 3, 2], 2, [4, 5, 10, 11]],
    ['all of them', [2, 3], 3, []],
    ['none', [2, 3], 0, [0, 1, 2, 3, 4, 5]],
    ['[rows, K], no tokens', [4], 1, [0, 1, 2, 3]],
  ] as const) {
    it(`leaves out leading tokens without a mask: ${name}, ${skip}`, () => {
      expect(rowsLeft(leading, undefined, skip)).to.deep.equal(left);
    });
  }

  it('leaves out leading tokens of what the mask counts, flattened or not', () => {
    expect(rowsLeft([2, 3], MASK, 1)).to.deep.equal([1, 2]);
    expect(rowsLeft([6], MASK, 2)).to.deep.equal([2]);
    expect(rowsLeft([2, 3, 2], MASK, 1)).to.deep.equal([2, 3, 4, 5]);
    expect(rowsLeft([2], MASK, 1)).to.deep.equal([0, 1]); // a pooled vector has no tokens
  });

  it('gives the same array where every row counts', () => {
    const values = numbered([2]);
    expect(rowsThatCount(values, [2, 2], MASK)).to.equal(values);
    expect(rowsThatCount(values, [1, 2, 2], undefined, 0)).to.equal(values);
  });
});

describe('readTokenMask', () => {
  withoutLeaks(() => {
    it('reads nested arrays and tensors, and leaves a tensor to its owner', async () => {
      const given = tf.tensor2d([[1, 0]]);
      for (const source of [given, [[1, 0]], [[true, false]]]) {
        const read = await readTokenMask({tokenMask: () => source}, null, 0);
        expect({shape: read!.shape, counts: [...Array.from(read!.counts)]}).to.deep.equal({
          shape: [1, 2],
          counts: [1, 0],
        });
      }
      expect(given.isDisposed).to.equal(false);
      given.dispose();
      expect(await readTokenMask({}, null, 0)).to.equal(undefined);
    });

    it('refuses rows of different length: nothing is known of what they lack', async () => {
      const tokenMask = () => [[1, 1, 1], [1]];
      const error: unknown = await readTokenMask({tokenMask}, null, 2).catch((reason: unknown) => reason);
      expect(error).to.include({
        code: 'wrong-shape',
        message:
          'the rows of the token mask of item 2 differ in length; it must be [batch, tokens]: write 0 for padding',
      });
    });

    it('is asked with the item and its index, and names the item whose mask has another rank', async () => {
      const asked: unknown[] = [];
      const tokenMask = (...args: unknown[]) => {
        asked.push(args);
        return tf.tensor1d([1]);
      };
      tf.engine().startScope();
      const error: unknown = await readTokenMask({tokenMask}, 'item', 7).catch((reason: unknown) => reason);
      tf.engine().endScope();
      expect(asked).to.deep.equal([['item', 7]]);
      expect(error).to.include({
        code: 'wrong-shape',
        message: 'the token mask of item 7 has shape [1]; it must be [batch, tokens]',
      });
    });
  });
});

describe('calibration on tokens that count', () => {
  withoutLeaks(() => {
    /** A Dense over [batch, tokens, K], one over [batch, tokens, heads, K], and one over a pooled vector. */
    function model(): tf.LayersModel {
      const x = tf.input({shape: [4, 6]});
      const dense = (name: string, units: number) =>
        tf.layers.dense({name, units, kernelInitializer: 'identity', useBias: false});
      const flat = dense('flat', 6).apply(x) as tf.SymbolicTensor;
      const heads = tf.layers.reshape({targetShape: [4, 3, 2]}).apply(flat);
      const each = dense('each', 2).apply(heads) as tf.SymbolicTensor;
      const back = tf.layers.reshape({targetShape: [4, 6]}).apply(each);
      const pooled = tf.layers.globalAveragePooling1d({}).apply(back);
      return tf.model({inputs: x, outputs: dense('pooled', 6).apply(pooled) as tf.SymbolicTensor});
    }

    /** Two sequences; a token's values begin with its number, and with 100 where it is padding. */
    const batch = [
      [1, 2, 3, 4],
      [1, 2, 100, 100],
    ].map((tokens) => tokens.map((token) => Array.from({length: 6}, (_, k) => token + k / 8)));
    const tokenMask = () => [
      [1, 1, 1, 1],
      [1, 1, 0, 0],
    ];

    for (const method of ['pooled', 'nncf', 'sequential'] as const) {
      const countsOf = async (options: Partial<CalibrationOptions>) => {
        const dense = model();
        const sparse = await sparsifyActivations(dense, [batch], {
          targetSparsityByScope: {'.*': 0},
          calibration: {method, ...options},
          onWarning: () => undefined,
        });
        const {layers} = statisticsOf(sparse);
        const counts = [...layers].map(([path, {count, max}]) => [path, count, max]);
        disposeModels(sparse, dense);
        return counts;
      };

      it(`counts those alone, in every layer that reads tokens: ${method}`, async () => {
        expect((await countsOf({tokenMask})).slice(0, 2)).to.deep.equal([
          ['flat', 6 * 6, 4.625],
          ['each', 6 * 6, 4.625],
        ]);
        expect((await countsOf({tokenMask, skipLeadingTokens: 3})).slice(0, 2)).to.deep.equal([
          ['flat', 6, 4.625],
          ['each', 6, 4.625],
        ]);
        expect((await countsOf({tokenMask}))[2].slice(0, 2)).to.deep.equal(['pooled', 12]);
      });

      it(`takes a batch of which none counts beside others: ${method}`, async () => {
        const dense = model();
        const none = () => [Array<number>(4).fill(0), Array<number>(4).fill(0)];
        const sparse = await sparsifyActivations(dense, [batch, batch], {
          targetSparsityByScope: {flat: 0.5},
          calibration: {method, tokenMask: (_, index) => (index === 0 ? tokenMask() : none())},
          onWarning: () => undefined,
        });
        expect(statisticsOf(sparse).layers.get('flat')!.count).to.equal(6 * 6);
        disposeModels(sparse, dense);
      });

      it(`is an error where none counts, and leaves the model as it was: ${method}`, async () => {
        const dense = model();
        for (const options of [
          {skipLeadingTokens: 4},
          {tokenMask: () => [Array<number>(4).fill(0), Array<number>(4).fill(0)]},
          {tokenMask, skipLeadingTokens: 4},
        ]) {
          const error: unknown = await sparsifyActivations(dense, [batch, batch], {
            targetSparsityByScope: {'.*': 0.5},
            calibration: {method, ...options},
            inPlace: true,
          }).catch((reason: unknown) => reason);
          expect(error).to.include({name: 'DatasetError', code: 'no-rows'});
          expect((error as Error).message).to.include('at the input of layer "flat" and 1 others');
          expect(inspect(dense).some(({sparsified}) => sparsified)).to.equal(false);
        }
        disposeModels(dense);
      });
    }

    it('is an error too where sparsity is measured or allocated on none', async () => {
      const dense = model();
      const sparse = await sparsifyActivations(dense, [batch], {
        ...{targetSparsityByScope: {flat: 0.5}, onWarning: () => undefined},
      });
      const calls: Promise<unknown>[] = [
        measureSparsity(sparse, [batch], {skipLeadingTokens: 4}),
        allocateSparsity(dense, [batch], {
          target: 0.5,
          scopes: {flat: {}},
          calibration: {skipLeadingTokens: 4},
        }),
      ];
      for (const call of calls) {
        expect(await call.catch((reason: unknown) => reason)).to.include({code: 'no-rows'});
      }
      disposeModels(sparse, dense);
    });
  });
});
