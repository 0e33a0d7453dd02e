import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {measureLayerTimes} from '../../lib/eval/layer-times.js';
import {randomInputs} from '../../lib/eval/random-inputs.js';
import {checkForLeaks, disposeModels, withoutLeaks} from '../support/backends.js';
import {softsign, softsignClock} from '../support/softsign-clock.js';

/** A layer that is called twice on [batch, 3, 8], and one in a wrapper that calls it for each of 3 steps. */
function model(): tf.LayersModel {
  const x = tf.input({shape: [3, 8]});
  const twice = tf.layers.dense({units: 8, activation: 'relu', name: 'twice'});
  const stepwise = tf.layers.timeDistributed({
    layer: tf.layers.dense({units: 4, activation: 'softmax', name: 'stepwise'}),
    name: 'steps',
  });
  return tf.model({
    inputs: x,
    outputs: stepwise.apply(twice.apply(twice.apply(x))) as tf.SymbolicTensor,
  });
}

/** A custom layer that holds a Dense and gives back its input. */
class Idle extends tf.layers.Layer {
  static className = 'SpecIdle';
  readonly dense = tf.layers.dense({name: 'idle', units: 2});

  override build(shape: tf.Shape): void {
    this.dense.build(shape);
    super.build(shape);
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.clone([inputs].flat()[0]);
  }
}

describe('measureLayerTimes', () => {
  checkForLeaks();

  it('times layers on the rows that a prediction gives them, as often as it calls them', async () => {
    const timed = model();
    const inputs = randomInputs(timed, 2);
    const {layers, models} = await measureLayerTimes([timed], inputs, {sparsities: [0, 0.5], seconds: 0.05});
    expect(models).to.have.length(1);
    expect(layers.map(({rows, calls, inputSize, units}) => ({rows, calls, inputSize, units}))).to.deep.equal([
      {rows: 6, calls: 2, inputSize: 8, units: 8},
      {rows: 2, calls: 3, inputSize: 8, units: 4},
    ]);
    expect(layers[1].path).to.equal('steps/stepwise');
    expect(layers[0].times.map(({sparsity}) => sparsity)).to.deep.equal([0, 0.5]);
    tf.dispose(inputs);
    disposeModels(timed);
  });

  it('stops when it is aborted', async () => {
    const timed = model();
    const inputs = randomInputs(timed, 1);
    let error: unknown;
    try {
      await measureLayerTimes([timed], inputs, {sparsities: [0], signal: AbortSignal.abort()});
    } catch (thrown) {
      error = thrown;
    }
    expect(error).to.have.property('name', 'AbortError');
    tf.dispose(inputs);
    disposeModels(timed);
  });
});

describe('measureLayerTimes, by a clock that layers alone move', () =>
  withoutLeaks(() => {
    const WIDTH = 256;
    const clock = softsignClock();
    before(() => tf.setBackend('cpu'));

    /** A layer that is called twice, then one that is not timed, which takes no time. */
    const twice = (): tf.LayersModel => {
      const x = tf.input({shape: [WIDTH]});
      const layer = softsign('twice', WIDTH);
      const y = layer.apply(layer.apply(x)) as tf.SymbolicTensor;
      return tf.model({inputs: x, outputs: tf.layers.reLU().apply(y) as tf.SymbolicTensor});
    };
    const ones = () => [tf.ones([1, WIDTH])];

    it('gives the median of each: dense, at each sparsity, and of whole models', async () => {
      const [model, inputs] = [twice(), ones()];
      clock.takes((zeros) => 10 - 8 * zeros);
      const {layers, models} = await measureLayerTimes([model, model], inputs, {
        ...{sparsities: [0, 0.3, 0.5, 0.7, 0.9], seconds: 0},
      });
      expect(models).to.deep.equal([20, 20]);
      const [{times, ...layer}, ...others] = layers;
      expect(others).to.deep.equal([]);
      const expected = {path: 'twice', inputSize: WIDTH, units: WIDTH, rows: 1, calls: 2};
      expect(layer).to.deep.equal({...expected, denseMs: 10, breakEven: 0});
      expect(times.map(({sparsity}) => sparsity)).to.deep.equal([0, 0.3, 0.5, 0.7, 0.9]);
      times.forEach(({sparsity, ms}) => expect(ms).to.be.closeTo(10 - 8 * sparsity, 1e-9));
      tf.dispose(inputs);
      disposeModels(model);
    });

    it('says from which sparsity on a layer is as fast as the dense one', async () => {
      const [model, inputs] = [twice(), ones()];
      clock.takes((zeros) => (zeros === 0 ? 10 : 16 - 10 * zeros));
      const {layers} = await measureLayerTimes([model], inputs, {sparsities: [0.3, 0.7], seconds: 0});
      expect(layers[0].breakEven).to.be.closeTo(0.6, 1e-9);
      tf.dispose(inputs);
      disposeModels(model);
    });

    for (const [seconds, rounds] of [
      [0, 9],
      [0.44, 11],
      [0.45, 12],
    ] as const) {
      // A round takes 2 calls at each sparsity and in the model: 40 ms.
      it(`takes ${rounds} rounds, two of them to warm up, for ${seconds} seconds at 40 ms`, async () => {
        const [model, inputs] = [twice(), ones()];
        clock.takes(() => 10);
        const seen: [number, number | null][] = [];
        await measureLayerTimes([model], inputs, {
          ...{sparsities: [0.5], seconds},
          onProgress: ({done, total}) => seen.push([done, total]),
        });
        expect(seen.map(([done]) => done)).to.deep.equal([...Array(rounds).keys()].map((i) => i + 1));
        for (const [, total] of seen) expect(total).to.equal(rounds);
        tf.dispose(inputs);
        disposeModels(model);
      });
    }

    it('leaves the rounds that warm up out of the times', async () => {
      const [model, inputs] = [twice(), ones()];
      let calls = 0;
      // The model is run once to see its layers, with 2 calls. Then a round has 1 call dense, 1 sparse, 2 of the model.
      clock.takes(() => Math.max(0, Math.floor((calls++ - 2) / 4)));
      const {layers, models} = await measureLayerTimes([model], inputs, {sparsities: [0.5], seconds: 0});
      // Rounds 2 to 8 of 0 to 8 count.
      expect(layers[0]).to.deep.include({denseMs: 5, times: [{sparsity: 0.5, ms: 5}]});
      expect(models).to.deep.equal([10]);
      tf.dispose(inputs);
      disposeModels(model);
    });

    it('takes four inputs in turns, uniform in [-1, 1), and variants too, each first as often as another', async () => {
      const [model, inputs] = [twice(), ones()];
      const seen: {zeros: number; first: number; z: Float32Array}[] = [];
      clock.takes((zeros, z) => {
        seen.push({zeros, first: z.find((value) => value !== 0)!, z});
        return 0.01;
      });
      await measureLayerTimes([model], inputs, {sparsities: [0.3, 0.7], seconds: 0});
      const rounds = Array.from({length: 9}, (_, i) => seen.slice(2 + i * 5, 5 + i * 5));
      const dense = rounds.map((calls) => calls.find(({zeros}) => zeros === 0)!);
      const values = new Set(dense.map(({z}) => z[0]));
      expect(values.size).to.equal(4);
      dense.forEach(({z}, i) => expect(z[0]).to.equal(dense[i % 4].z[0]));
      for (const {z} of dense) {
        expect(Math.min(...z)).to.be.within(-1, -0.9);
        expect(Math.max(...z)).to.be.within(0.9, 1);
      }
      expect(rounds.map((calls) => calls.map(({zeros}) => zeros).join())).to.deep.equal(
        Array.from({length: 9}, (_, i) => ['0,0.3,0.7', '0.3,0.7,0', '0.7,0,0.3'][i % 3]),
      );
      tf.dispose(inputs);
      disposeModels(model);
    });

    it('gives each layer inputs of its own', async () => {
      const x = tf.input({shape: [WIDTH]});
      const y = softsign('b', WIDTH).apply(softsign('a', WIDTH).apply(x)) as tf.SymbolicTensor;
      const model = tf.model({inputs: x, outputs: y});
      const inputs = ones();
      const seen = new Set<number>();
      clock.takes((_, z) => {
        seen.add(z[0]);
        return 1;
      });
      await measureLayerTimes([model], inputs, {sparsities: [], seconds: 0});
      expect(seen.size).to.equal(2 * 4 + 2); // and what the model's layers read: ones, and their softsigns
      tf.dispose(inputs);
      disposeModels(model);
    });

    it('times a model of several inputs and outputs, and no layer that it does not call', async () => {
      const [x, y] = [tf.input({shape: [WIDTH]}), tf.input({shape: [WIDTH]})];
      const sum = tf.layers.add().apply([x, y]) as tf.SymbolicTensor;
      const holder = new Idle({name: 'holder'});
      const outputs = [softsign('called', WIDTH).apply(holder.apply(sum)) as tf.SymbolicTensor, sum];
      const model = tf.model({inputs: [x, y], outputs});
      const inputs = [tf.ones([1, WIDTH]), tf.ones([1, WIDTH])];
      clock.takes(() => 3);
      const {layers, models} = await measureLayerTimes([model], inputs, {sparsities: [0.5], seconds: 0});
      expect(layers.map(({path, calls}) => [path, calls])).to.deep.equal([['called', 1]]);
      expect(models).to.deep.equal([3]);
      tf.dispose(inputs);
      disposeModels(model);
    });

    it('stops after the round in which it is told to', async () => {
      const [model, inputs] = [twice(), ones()];
      const controller = new AbortController();
      const reason = new Error('enough');
      let rounds = 0;
      const onProgress = () => {
        if (++rounds === 3) controller.abort(reason);
      };
      let thrown: unknown;
      await measureLayerTimes([model], inputs, {
        ...{sparsities: [0.5], seconds: 0, onProgress, signal: controller.signal},
      }).catch((error: unknown) => (thrown = error));
      expect(thrown).to.equal(reason);
      expect(rounds).to.equal(3);
      tf.dispose(inputs);
      disposeModels(model);
    });

    it('computes what the sparsified layer does, its bias too', async () => {
      const x = tf.input({shape: [WIDTH]});
      const layer = tf.layers.dense({
        ...{
          name: 'biased',
          units: 2,
          activation: 'softsign',
          biasInitializer: 'ones',
          kernelInitializer: 'zeros',
        },
      });
      const model = tf.model({inputs: x, outputs: layer.apply(x) as tf.SymbolicTensor});
      const inputs = [tf.ones([3, WIDTH])];
      const seen = new Set<string>();
      clock.takes((_, z) => {
        seen.add(z.join());
        return 1;
      });
      const {layers} = await measureLayerTimes([model], inputs, {sparsities: [1], seconds: 0});
      expect(seen).to.deep.equal(new Set(['1,1,1,1,1,1']));
      expect(layers).to.deep.equal([
        {
          ...{path: 'biased', inputSize: WIDTH, units: 2, rows: 3, calls: 1},
          ...{denseMs: 1, times: [{sparsity: 1, ms: 1}], breakEven: 1},
        },
      ]);
      tf.dispose(inputs);
      disposeModels(model);
    });

    it('fuses no activation twice: a fused one is not applied again', async () => {
      const x = tf.input({shape: [WIDTH]});
      const fused = tf.layers.dense({name: 'fused', units: 4, activation: 'tanh'});
      const model = tf.model({inputs: x, outputs: fused.apply(x) as tf.SymbolicTensor});
      let applied = 0;
      const {activation} = fused as unknown as {activation: {apply(z: tf.Tensor): tf.Tensor}};
      const apply = activation.apply.bind(activation);
      activation.apply = (z) => (applied++, apply(z));
      const inputs = ones();
      await measureLayerTimes([model], inputs, {sparsities: [0.5], seconds: 0});
      expect(applied).to.equal(1 + 2 * 9); // dense: once to see the layers, then twice a round
      tf.dispose(inputs);
      disposeModels(model);
    });
  }));

describe('randomInputs', () => {
  checkForLeaks();

  it('refuses a model that reads ids', () => {
    const ids = tf.sequential({
      layers: [
        tf.layers.embedding({inputDim: 10, outputDim: 8, inputShape: [4]}),
        tf.layers.dense({units: 3}),
      ],
    });
    expect(() => randomInputs(ids, 1))
      .to.throw('the model reads ids')
      .with.property('code', 'data-needed');
    disposeModels(ids);
  });

  it('refuses a model of which more than the batch is open', () => {
    const open = tf.sequential({layers: [tf.layers.dense({units: 3, inputShape: [null, 4]})]});
    expect(() => randomInputs(open, 1))
      .to.throw('has the shape [any, any, 4]')
      .with.property('code', 'data-needed');
    disposeModels(open);
  });

  it('gives seeded normal values for each input, of as many rows as asked for', () => {
    const inputs = [tf.input({shape: [500]}), tf.input({shape: [2, 250]})];
    const outputs = inputs.map((input) => tf.layers.reLU().apply(input) as tf.SymbolicTensor);
    const model = tf.model({inputs, outputs});
    const [first, second] = randomInputs(model, 4);
    expect([first.shape, second.shape]).to.deep.equal([
      [4, 500],
      [4, 2, 250],
    ]);
    const values = [first, second].map((tensor) => tensor.dataSync() as Float32Array);
    for (const list of values) {
      const mean = list.reduce((sum, x) => sum + x, 0) / 2000;
      const square = list.reduce((sum, x) => sum + x ** 2, 0) / 2000;
      expect(mean).to.be.closeTo(0, 5 / Math.sqrt(2000));
      expect(square).to.be.closeTo(1, 5 * Math.sqrt(2 / 2000));
    }
    expect(values[0]).to.not.deep.equal(values[1]);
    const again = randomInputs(model, 4);
    const other = randomInputs(model, 4, 2);
    expect(again.map((tensor) => tensor.dataSync())).to.deep.equal(values);
    expect(other[0].dataSync()).to.deep.equal(values[1]); // the seed of the next input
    tf.dispose([first, second, again, other]);
    disposeModels(model);
  });

  it('names the input that is open, and refuses whole numbers though no layer reads ids', () => {
    const inputs = [tf.input({shape: [2]}), tf.input({shape: [null, 3], name: 'steps'})];
    const outputs = inputs.map((input) => tf.layers.reLU().apply(input) as tf.SymbolicTensor);
    const open = tf.model({inputs, outputs});
    expect(() => randomInputs(open, 1)).to.throw(
      'input "steps" has the shape [any, any, 3], of which more than the batch is open: give data to time it on',
    );
    disposeModels(open);
    const whole = tf.input({shape: [2], dtype: 'int32'});
    const ids = tf.model({inputs: whole, outputs: tf.layers.reLU().apply(whole) as tf.SymbolicTensor});
    expect(() => randomInputs(ids, 1)).to.throw(
      'the model reads ids, which random numbers are not: give data to time it on',
    );
    disposeModels(ids);
  });
});
