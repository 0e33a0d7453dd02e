import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {
  allocateFormats,
  compareFormats,
  compressWeights,
  inspect,
  inspectWeights,
  modelInFormat,
  sparsifyActivations,
  type AllocateFormatsOptions,
  type FormatPoint,
  type ModelFormat,
} from '../lib/index.js';
import {checkForLeaks} from './support/backends.js';
import {rejection} from './support/rejection.js';

/** What a form of the model is said to lose dense, and its milliseconds dense. */
type Figures = Readonly<Record<string, readonly [loss: number, ms: number]>>;

const DENSE_MS = 10;
const FIGURES: Figures = {
  float32: [0, DENSE_MS],
  int8_asym: [0.001, 4],
  int4_asym: [0.05, 2],
};

function model(inputs = 64): tf.LayersModel {
  return tf.sequential({
    layers: [
      tf.layers.dense({inputShape: [inputs], units: 64, activation: 'relu', name: 'a'}),
      tf.layers.dense({units: 64, name: 'b'}),
      tf.layers.dense({units: 4, name: 'head'}),
    ],
  });
}

function data(inputs = 64): tf.Tensor[] {
  return Array.from({length: 4}, (_, i) => tf.randomNormal([8, inputs], 0, 1, 'float32', i));
}

/** Mean sparsity that a model was made for, by the one target that all its layers have. */
function sparsityOf(sparse: tf.LayersModel): number {
  return inspect(sparse)[0].target ?? 0;
}

/** Loss grows with the square of the sparsity, and milliseconds fall by half of it. */
function measures(figures: Figures) {
  const of = (sparse: tf.LayersModel) => figures[inspectWeights(sparse)[0].format];
  return {
    loss: {
      metric: 'relative squared error',
      measure: (sparse: tf.LayersModel) =>
        Promise.resolve({loss: of(sparse)[0] + 0.1 * sparsityOf(sparse) ** 2, error: null}),
    },
    speed: {
      measure: (sparse: tf.LayersModel) =>
        Promise.resolve({denseMs: DENSE_MS, ms: of(sparse)[1] * (1 - sparsityOf(sparse) / 2)}),
    },
  } as const;
}

describe('formats of a model', () => {
  checkForLeaks();

  const FORMATS: readonly ModelFormat[] = ['float32', 'int8', 'int4'];

  async function using<T>(work: (dense: tf.LayersModel, batches: tf.Tensor[]) => Promise<T>, inputs = 64) {
    const [dense, batches] = [model(inputs), data(inputs)];
    try {
      return await work(dense, batches);
    } finally {
      dense.dispose();
      tf.dispose(batches);
    }
  }

  const allocate = (options: Partial<AllocateFormatsOptions>, figures = FIGURES) =>
    using((dense, batches) =>
      allocateFormats(dense, batches, {
        ...{target: {maxLoss: 0.01}, method: 'uniform', formats: FORMATS, sparsities: [0.2, 0.4]},
        ...measures(figures),
        ...options,
      }),
    );

  it('are measured dense and at each sparsity, against float32', async () => {
    const {points, denseMs, metric, leftOut} = await using((dense, batches) =>
      compareFormats(dense, batches, {
        ...{method: 'uniform', formats: FORMATS, sparsities: [0.4, 0.2]},
        ...measures(FIGURES),
      }),
    );
    expect({denseMs, metric, leftOut}).to.deep.equal({
      denseMs: DENSE_MS,
      metric: 'relative squared error',
      leftOut: [],
    });
    expect(points.map(({format, sparsity}) => `${format} ${sparsity.toFixed(1)}`)).to.deep.equal(
      FORMATS.flatMap((format) => ['0.0', '0.2', '0.4'].map((sparsity) => `${format} ${sparsity}`)),
    );
    const last = points.at(-1)!;
    expect(last.loss).to.be.closeTo(0.05 + 0.1 * 0.4 ** 2, 1e-9);
    expect(last.ms).to.be.closeTo(2 * 0.8, 1e-9);
  });

  for (const {what, target, figures, chosen} of [
    {
      what: 'INT8 with what it may mask, where INT4 loses more than asked',
      target: {maxLoss: 0.01},
      figures: FIGURES,
      chosen: {format: 'int8', sparsity: 0.3},
    },
    {
      what: 'INT4 where it keeps the loss',
      target: {maxLoss: 0.06},
      figures: FIGURES,
      chosen: {format: 'int4', sparsity: 0.316},
    },
    {
      what: 'float32 where the packed formats lose too much',
      target: {maxLoss: 0.0009},
      figures: FIGURES,
      chosen: {format: 'float32', sparsity: 0.095},
    },
    {
      what: 'float32 where the packed formats are slower',
      target: {maxLoss: 0.01},
      figures: {float32: [0, 10], int8_asym: [0, 30], int4_asym: [0, 40]},
      chosen: {format: 'float32', sparsity: 0.316},
    },
    {
      what: 'the least loss at a speed',
      target: {speedup: 2},
      figures: FIGURES,
      chosen: {format: 'int8', sparsity: 0},
    },
  ] as const) {
    it(`chooses ${what}`, async () => {
      const got = await allocate({target}, figures);
      const {format, sparsity, loss, ms} = got.chosen;
      expect(format).to.equal(chosen.format);
      // The search ends where nine tenths of the loss are used.
      expect(sparsity).to.be.within(0.93 * chosen.sparsity, chosen.sparsity + 1e-3);
      if ('maxLoss' in target) expect(loss).to.be.at.most(target.maxLoss);
      expect(ms).to.be.at.most(DENSE_MS);
      expect(got.allocation.met).to.equal(true);
      expect(got.allocation.sparsity).to.be.closeTo(sparsity, 1e-9);
      expect(got.points).to.include(got.chosen);
    });
  }

  it('stay dense float32 where nothing is as fast', async () => {
    const slow = {...FIGURES, int8_asym: [0, 30], int4_asym: [0, 40]} as const;
    const speed = {
      measure: (sparse: tf.LayersModel) =>
        Promise.resolve({denseMs: DENSE_MS, ms: DENSE_MS * (1 + sparsityOf(sparse))}),
    };
    const {chosen, allocation} = await allocate({speed}, slow);
    expect(chosen).to.deep.equal({format: 'float32', sparsity: 0, loss: 0, lossError: 0, ms: DENSE_MS});
    expect(allocation.layers.map(({target}) => target)).to.deep.equal([0, 0, 0]);
    expect(allocation.met).to.equal(true);
  });

  it('say which loses least where none keeps the loss', async () => {
    const error = await rejection(
      () => allocate({target: {maxLoss: 0.01}, formats: ['int4']}),
      'target-not-met',
    );
    expect(error.message).to.match(/^no format that was measured keeps the loss: int4 loses least, 0\.0500 /);
  });

  it('that a model cannot have are left out with the reason', async () => {
    const {points, leftOut} = await using(
      (dense, batches) =>
        compareFormats(dense, batches, {method: 'uniform', sparsities: [0.3], ...measures(FIGURES)}),
      48,
    );
    expect([...new Set(points.map(({format}) => format))]).to.deep.equal(['float32', 'int8']);
    expect(leftOut.map(({format}) => format)).to.deep.equal(['bfloat16', 'int4']);
    expect(leftOut[0].reason).to.equal('only language models are decoded in bfloat16');
    expect(leftOut[1].reason).to.match(/group size 64 does not divide the inputs of "a" \(48 inputs\)/);
    const none = () =>
      using((dense, batches) => compareFormats(dense, batches, {formats: ['kept'], ...measures(FIGURES)}));
    expect((await rejection(none, 'no-format')).message).to.include(
      'kept: the model holds no packed weights',
    );
  });

  it('have the packed weights of a file among them', async () => {
    const got = await using(async (dense, batches) => {
      const kept = await compressWeights(dense, {mode: 'int8_sym'});
      try {
        return await allocateFormats(dense, batches, {
          ...{target: {maxLoss: 0.02}, method: 'uniform', sparsities: [0.3], kept},
          ...measures({...FIGURES, int8_sym: [0, 1]}),
        });
      } finally {
        kept.dispose();
      }
    });
    expect(got.chosen.format).to.equal('kept');
    expect(got.chosen.sparsity).to.be.within(0.42, 0.4473);
  });

  it('are measured in fact: packed weights lose little, on data that calibration does not see', async () => {
    const {points} = await using((dense, batches) =>
      compareFormats(dense, batches, {formats: ['float32', 'int8'], sparsities: [0.5]}),
    );
    const loss = (format: ModelFormat, i: number) =>
      points.filter((one: FormatPoint) => one.format === format)[i].loss;
    expect(loss('float32', 0)).to.equal(0);
    expect(loss('int8', 0)).to.be.within(1e-12, 1e-2);
    expect(loss('int8', 1)).to.be.above(10 * loss('int8', 0));
  });

  it('are compared of a dense float32 model only', async () => {
    await using(async (dense, batches) => {
      const packed = await compressWeights(dense);
      await rejection(() => compareFormats(packed, batches), 'packed-weights');
      packed.dispose();
      const sparse = await sparsifyActivations(dense, batches, {targetSparsityByScope: {'.*': 0.5}});
      await rejection(() => compareFormats(sparse, batches), 'already-sparsified');
      sparse.dispose();
    });
    const bad = await rejection(() => allocate({target: {sparsity: 0.5}}), 'bad-target');
    expect(bad.message).to.include('leaves no format to choose by');
  });

  it('can be had without a choice', async () => {
    await using(async (dense) => {
      for (const [format, expected] of [
        ['float32', 'float32'],
        ['int8', 'int8_asym'],
        ['int4', 'int4_asym'],
      ] as const) {
        const made = await modelInFormat(dense, format);
        expect(inspectWeights(made)[0].format).to.equal(expected);
        made.dispose();
      }
      await rejection(() => modelInFormat(dense, 'bfloat16'), 'no-format');
    });
  });
});
