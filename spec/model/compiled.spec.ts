/** @file What lives beside the weights of a model: what compile set, states, tensors and fields of a program's own. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {allocateSparsity, compressWeights, decompressWeights, sparsifyActivations} from '../../lib/index.js';
import {cloneModel} from '../../lib/model/clone.js';
import {disposeModels, onEveryBackend} from '../support/backends.js';
import {normals} from '../support/normals.js';

const HALF = {targetSparsityByScope: {'.*': 0.5}};

const fitData = () => [tf.tensor2d(normals(32, 5), [8, 4]), tf.tensor2d(normals(16, 6), [8, 2])] as const;

/** Seeded, so that two are equal. */
function mlp(args: {regularizer?: boolean; constraint?: boolean} = {}): tf.LayersModel {
  const dense = (units: number, name: string, seed: number, inputShape?: number[]) =>
    tf.layers.dense({
      units,
      name,
      inputShape,
      kernelInitializer: tf.initializers.glorotNormal({seed}),
      kernelRegularizer: args.regularizer ? tf.regularizers.l2({l2: 0.1}) : undefined,
      kernelConstraint: args.constraint ? tf.constraints.maxNorm({maxValue: 0.5, axis: 0}) : undefined,
    });
  return tf.sequential({layers: [dense(6, 'a', 1, [4]), dense(2, 'b', 2)]});
}

const weightsOf = (model: tf.LayersModel) => model.getWeights().map((tensor) => [...tensor.dataSync()]);

function closeTo(actual: number[][], expected: number[][], message: string): void {
  actual.forEach((values, i) =>
    values.forEach((value, j) => expect(value, message).to.be.closeTo(expected[i][j], 1e-6)),
  );
}

async function fit(model: tf.LayersModel, epochs = 2): Promise<number[]> {
  const [x, y] = fitData();
  const {history} = await model.fit(x, y, {epochs, verbose: 0, shuffle: false, batchSize: 4});
  tf.dispose([x, y]);
  return history.loss as number[];
}

const OPTIMIZERS: Record<string, () => tf.Optimizer> = {
  sgd: () => tf.train.sgd(0.1),
  momentum: () => tf.train.momentum(0.1, 0.9),
  adam: () => tf.train.adam(0.1),
  adamax: () => tf.train.adamax(0.1),
  adagrad: () => tf.train.adagrad(0.1),
  adadelta: () => tf.train.adadelta(0.1),
  'centered rmsprop': () => tf.train.rmsprop(0.1, 0.9, 0.5, 1e-7, true),
};

/** TensorFlow.js leaves a constant of the momentum optimizer. */
function disposeOptimizer(optimizer: tf.Optimizer): void {
  optimizer.dispose();
  const {c} = optimizer as unknown as {c?: tf.Tensor};
  if (c !== undefined && !c.isDisposed) c.dispose();
}

describe('copies of compiled models', () => {
  onEveryBackend(() => {
    for (const [name, make] of Object.entries(OPTIMIZERS)) {
      it(`train on like the original, which stays as it is: ${name}`, async () => {
        const [model, twin] = [mlp(), mlp()];
        const optimizers = [make(), make()];
        [model, twin].forEach((one, i) => one.compile({optimizer: optimizers[i], loss: 'meanSquaredError'}));
        await fit(model);
        await fit(twin);
        const copy = cloneModel(model);
        const before = weightsOf(model);
        const expected = await fit(twin);
        (await fit(copy)).forEach((loss, i) => expect(loss).to.be.closeTo(expected[i], 1e-6));
        closeTo(weightsOf(copy), weightsOf(twin), 'the copy');
        closeTo(weightsOf(model), before, 'the original');
        copy.dispose();
        await fit(model);
        closeTo(weightsOf(model), weightsOf(twin), 'the original after the copy');
        disposeModels(model, twin);
        optimizers.forEach(disposeOptimizer);
      });

      it(`are compressed, decompressed and trained: ${name}`, async () => {
        const model = mlp();
        const optimizer = make();
        model.compile({optimizer, loss: 'meanSquaredError'});
        await fit(model);
        const small = await compressWeights(model);
        const [x, y] = fitData();
        const made = [
          decompressWeights(small),
          await sparsifyActivations(small, [x], HALF),
          await compressWeights(small),
        ];
        await allocateSparsity(small, [x, x], {target: 0.5});
        for (const one of [...made, small, model]) {
          const before = one.evaluate(x, y) as tf.Scalar;
          const [loss] = before.dataSync();
          await fit(one, 20);
          const after = one.evaluate(x, y) as tf.Scalar;
          expect(after.dataSync()[0]).to.be.below(loss);
          tf.dispose([before, after]);
        }
        disposeModels(...made, small, model);
        disposeOptimizer(optimizer);
        tf.dispose([x, y]);
      });
    }

    it('compress in place: the biases train on with what the optimizer remembers of them', async () => {
      const [model, twin] = [mlp(), mlp()];
      for (const one of [model, twin]) one.compile({optimizer: 'adam', loss: 'meanSquaredError'});
      await fit(model);
      const moments = (one: tf.LayersModel) =>
        (
          one.optimizer as unknown as {accumulatedFirstMoment: {variable: tf.Variable}[]}
        ).accumulatedFirstMoment.map(({variable}) => [variable.shape, [...variable.dataSync()]]);
      const [, aBias, , bBias] = moments(model);
      await compressWeights(model, {inPlace: true});
      expect(moments(model)).to.deep.equal([aBias, bBias]);
      await fit(model);
      disposeModels(model, twin);
    });

    it('keep regularizers and constraints of their own, either way round', async () => {
      const [model, twin] = [
        mlp({regularizer: true, constraint: true}),
        mlp({regularizer: true, constraint: true}),
      ];
      for (const one of [model, twin]) one.compile({optimizer: 'sgd', loss: 'meanSquaredError'});
      const copy = cloneModel(model);
      const second = cloneModel(copy);
      const expected = await fit(twin);
      (await fit(copy)).forEach((loss, i) => expect(loss).to.be.closeTo(expected[i], 1e-6));
      closeTo(weightsOf(copy), weightsOf(twin), 'trained');
      // TensorFlow.js applies constraints to what is written.
      tf.tidy(() => void copy.weights[0].write(tf.fill([4, 6], 5)));
      for (const value of copy.weights[0].read().dataSync()) expect(value).to.be.closeTo(0.25, 1e-5); // norm 0.5
      copy.dispose();
      (await fit(model)).forEach((loss, i) => expect(loss).to.be.closeTo(expected[i], 1e-6));
      disposeModels(model);
      (await fit(second)).forEach((loss, i) => expect(loss).to.be.closeTo(expected[i], 1e-6));
      closeTo(weightsOf(second), weightsOf(twin), 'a copy of a copy, the last that is left');
      disposeModels(second, twin);
    });

    it('get regularizers and constraints back when they are decompressed', async () => {
      const model = mlp({regularizer: true, constraint: true});
      model.compile({optimizer: 'sgd', loss: 'meanSquaredError'});
      const float = decompressWeights(await compressWeights(model, {inPlace: true}), {inPlace: true});
      const [kernel] = float.weights;
      tf.tidy(() => void kernel.write(tf.fill([4, 6], 5)));
      const penalties = () => tf.tidy(() => float.calculateLosses().map((loss) => loss.dataSync()[0]));
      kernel
        .read()
        .dataSync()
        .forEach((value) => expect(value).to.be.closeTo(0.25, 1e-5)); // norm 0.5 a column
      expect(penalties()[0]).to.be.closeTo(0.1 * 24 * 0.0625, 1e-5);
      await fit(float);
      expect(
        kernel
          .read()
          .dataSync()
          .some((value) => Math.abs(value - 0.25) > 1e-4),
        'the kernel is trained again',
      ).to.equal(true);
      disposeModels(float);
    });

    it('lose the penalty on what is compressed, and no other, each time', async () => {
      const [kernelRegularizer, biasRegularizer] = [1, 10].map((l2) => tf.regularizers.l2({l2}));
      const layer = tf.layers.dense({
        units: 1,
        name: 'a',
        inputShape: [2],
        kernelRegularizer,
        biasRegularizer,
      });
      const model = tf.sequential({layers: [layer]});
      model.build();
      tf.tidy(() => layer.setWeights([tf.ones([2, 1]), tf.ones([1])]));
      const penalties = () => tf.tidy(() => model.calculateLosses().map((loss) => loss.dataSync()[0]));
      expect(penalties()).to.deep.equal([2, 10]);
      for (let i = 0; i < 2; i++) {
        await compressWeights(model, {inPlace: true});
        expect(penalties()).to.deep.equal([10]);
        decompressWeights(model, {inPlace: true});
        expect(penalties()).to.deep.equal([2, 10]);
      }
      disposeModels(model);
    });

    it('have losses and metrics that read their own weights', async () => {
      const model = mlp();
      const penalty = () => tf.tidy(() => tf.sum(tf.square(model.weights[0].read())));
      const loss = (y: tf.Tensor, p: tf.Tensor) =>
        tf.tidy(() => tf.add(tf.losses.meanSquaredError(y, p), penalty()));
      model.compile({optimizer: 'sgd', loss, metrics: [penalty]});
      tf.tidy(() => void model.evaluate(tf.zeros([1, 4]), tf.zeros([1, 2]))); // it keeps a function for the next time
      const copy = cloneModel(model);
      tf.tidy(() => void copy.weights[0].write(tf.zeros([4, 6])));
      const metric = (one: tf.LayersModel) => {
        const [x, y] = fitData();
        const results = one.evaluate(x, y) as tf.Scalar[];
        const value = results[1].dataSync()[0];
        tf.dispose([x, y, results]);
        return value;
      };
      expect(metric(copy)).to.equal(0);
      expect(metric(model)).to.be.above(0.1);
      const second = cloneModel(copy);
      tf.tidy(() => void second.weights[0].write(tf.ones([4, 6])));
      expect(metric(second), 'a copy of a copy').to.equal(24);
      disposeModels(model);
      expect(metric(copy)).to.equal(0);
      await fit(copy);
      copy.dispose();
      expect(metric(second)).to.equal(24);
      second.dispose();
    });

    it('can be trained even if they are made while the original is', async () => {
      const model = mlp();
      model.compile({optimizer: 'sgd', loss: 'meanSquaredError'});
      const copies: tf.LayersModel[] = [];
      const [x, y] = fitData();
      await model.fit(x, y, {
        epochs: 1,
        verbose: 0,
        callbacks: {onEpochEnd: () => void copies.push(cloneModel(model))},
      });
      await fit(copies[0]);
      disposeModels(copies[0], model);
      tf.dispose([x, y]);
    });
  });
});

describe('copies of models with state', () => {
  onEveryBackend(() => {
    const RECURRENT = {
      lstm: () => tf.layers.lstm({units: 5, batchInputShape: [4, 3, 6], stateful: true}),
      gru: () => tf.layers.gru({units: 5, batchInputShape: [4, 3, 6], stateful: true}),
      simpleRNN: () => tf.layers.simpleRNN({units: 5, batchInputShape: [4, 3, 6], stateful: true}),
      bidirectional: () =>
        tf.layers.bidirectional({
          layer: tf.layers.gru({units: 5, stateful: true}),
          mergeMode: 'concat',
          batchInputShape: [4, 3, 6],
        }),
    };
    for (const [name, make] of Object.entries(RECURRENT)) {
      it(`leave the original's state alone and have their own: ${name}`, async () => {
        const build = () => tf.sequential({layers: [make(), tf.layers.dense({units: 2, name: 'out'})]});
        const [model, twin] = [build(), build()];
        twin.setWeights(model.getWeights());
        const x = tf.tensor3d(normals(72, 1), [4, 3, 6]);
        const step = (one: tf.LayersModel) => tf.tidy(() => [...(one.predict(x) as tf.Tensor).dataSync()]);
        for (const one of [model, twin]) step(one);
        const copies = [
          cloneModel(model),
          await compressWeights(model),
          await sparsifyActivations(model, [x, x], HALF),
        ];
        await allocateSparsity(model, [x, x], {target: 0.5});
        const expected = [step(twin), step(twin)];
        expect(step(copies[0]), 'the copy goes on from the state').to.deep.equal(expected[0]);
        step(copies[1]).forEach((value, i) =>
          expect(value, 'the compressed one').to.be.closeTo(expected[0][i], 0.05),
        );
        expect(step(model), 'the original goes on').to.deep.equal(expected[0]);
        for (const copy of copies) {
          step(copy);
          copy.dispose();
        }
        expect(step(model), 'the original after the copies').to.deep.equal(expected[1]);
        for (const one of [model, twin]) {
          const [layer] = one.layers as unknown as Record<string, {states_: tf.Tensor[]} | undefined>[];
          for (const holder of [layer, layer.forwardLayer, layer.backwardLayer]) {
            tf.dispose((holder as {states_?: tf.Tensor[]} | undefined)?.states_ ?? []);
          }
          one.dispose();
        }
        x.dispose();
      });
    }

    it('may hold what is disposed already', () => {
      const model = mlp();
      const [gone, variable] = [tf.scalar(1), tf.tidy(() => tf.variable(tf.scalar(1)))];
      const weight = tf.layers.dense({units: 1, name: 'gone'});
      weight.build([null, 1]);
      Object.assign(model.layers[0], {old: {gone, variable, weights: weight.weights}});
      for (const one of [gone, variable, ...weight.weights]) one.dispose();
      const copy = cloneModel(model);
      expect(copy.layers[0]).to.have.nested.property('old.gone.isDisposed', true);
      disposeModels(copy, model);
    });

    it('have their own tensors, variables and plain data in fields', () => {
      const layer = new Holding({name: 'holding'});
      const model = tf.sequential({layers: [layer, tf.layers.dense({units: 1, name: 'out'})]});
      Object.assign(model, {
        note: {tags: ['a'], seen: new Map([['x', 1]])},
        when: new Date(7),
        stop: new AbortController(),
        count: new Count(),
      });
      const copy = cloneModel(model) as tf.LayersModel & {note: {tags: string[]; seen: Map<string, number>}};
      const held = copy.layers[0] as Holding;
      copy.note.tags.push('b');
      copy.note.seen.set('x', 2);
      expect(model).to.have.nested.property('note.tags').that.deep.equals(['a']);
      expect((model as unknown as typeof copy).note.seen.get('x')).to.equal(1);
      expect(copy).to.have.property('stop', (model as unknown as {stop: unknown}).stop); // it cannot be copied
      expect((copy as unknown as {count: Count}).count.next()).to.equal(1);
      expect((model as unknown as {count: Count}).count.next(), 'a private field is shared').to.equal(2);
      tf.tidy(() => held.variable.assign(tf.scalar(9)));
      held.constant.dispose();
      expect(layer.variable.dataSync()[0]).to.equal(2);
      expect(layer.constant.dataSync()[0]).to.equal(4);
      expect([...held.registry]).to.deep.equal([held]);
      expect(held.registry).to.be.instanceOf(Registry);
      expect(held.registry).to.have.property('size', 1);
      copy.dispose();
      expect(held.variable.isDisposed).to.equal(true);
      tf.dispose([layer.variable, layer.constant]);
      model.dispose();
    });
  });
});

class Count {
  #count = 0;

  next(): number {
    return ++this.#count;
  }
}

class Registry extends Set<Holding> {}

/** Holds a tensor and a variable that are not weights, and itself in a collection. */
class Holding extends tf.layers.Layer {
  static className = 'SpecHolding';
  readonly constant = tf.keep(tf.scalar(4));
  readonly variable = tf.tidy(() => tf.variable(tf.scalar(2)));
  readonly registry = new Registry([this]);

  constructor(args: {name: string}) {
    super({...args, inputShape: [3]});
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.mul(tf.mul(Array.isArray(inputs) ? inputs[0] : inputs, this.constant), this.variable);
  }
}
