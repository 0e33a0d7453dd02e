import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {
  Dataset,
  IgnoredScope,
  TargetScope,
  allocateSparsity,
  allocationOf,
  inspect,
  measureSparsity,
  retarget,
  sparsifyActivations,
  withLayers,
  type AllocateOptions,
  type Allocation,
  type AllocationProgress,
  type Scope,
  type SparsifyWarning,
  type SparsityBounds,
} from '../lib/index.js';
import {onEveryBackend, disposeModels, withoutLeaks} from './support/backends.js';
import type {AllocationScopes} from '../lib/allocation/bounds.js';
import {savedArtifacts} from './support/saved-artifacts.js';
import {normals} from './support/normals.js';
import {rejection} from './support/rejection.js';

const WIDTH = 16;

/**
 * Residual blocks x + dense(x), all alike but `sensitive`, whose weights are ten times as large: what it masks is
 * a hundred times the error.
 */
function residualModel(blocks: number, sensitive: number): tf.LayersModel {
  const x = tf.input({shape: [WIDTH], name: 'x'});
  let stream = x;
  for (let i = 0; i < blocks; i++) {
    const layer = tf.layers.dense({
      name: `block_${i}`,
      units: WIDTH,
      useBias: false,
      kernelInitializer: 'zeros',
    });
    const added = layer.apply(stream) as tf.SymbolicTensor;
    stream = tf.layers.add({name: `add_${i}`}).apply([stream, added]) as tf.SymbolicTensor;
  }
  const model = tf.model({inputs: x, outputs: stream});
  tf.tidy(() => {
    for (let i = 0; i < blocks; i++) {
      const scale = i === sensitive ? 0.5 : 0.05;
      model
        .getLayer(`block_${i}`)
        .setWeights([tf.tensor2d(normals(WIDTH * WIDTH, i + 1, scale), [WIDTH, WIDTH])]);
    }
  });
  return model;
}

/**
 * Four layers in a row: the third reads what is nearly only -1 and 1, each of which counts as much as another; the second and
 * the fourth read values of which half are 0, the first normal ones.
 */
function plainModel(): tf.LayersModel {
  const model = tf.sequential({
    layers: (['relu', 'tanh', 'relu', 'linear'] as const).map((activation, i) =>
      tf.layers.dense({
        ...{name: `layer_${i}`, units: WIDTH, activation, useBias: false, kernelInitializer: 'zeros'},
        ...(i === 0 ? {inputShape: [WIDTH]} : {}),
      }),
    ),
  });
  tf.tidy(() =>
    model.layers.forEach((layer, i) => {
      const scale = i === 1 ? 3 : 0.3;
      layer.setWeights([tf.tensor2d(normals(WIDTH * WIDTH, i + 1, scale), [WIDTH, WIDTH])]);
    }),
  );
  return model;
}

/** For `reduce`: values in rows of the model's width. */
function inRows(rows: number[][], value: number, i: number): number[][] {
  if (i % WIDTH === 0) rows.push([]);
  rows[rows.length - 1].push(value);
  return rows;
}

/** Batches of normal values. */
function batches(count: number): Dataset {
  return new Dataset(
    Array.from({length: count}, (_, i) => i),
    (i) => tf.tensor2d(normals(32 * WIDTH, 100 + i), [32, WIDTH]),
  );
}

const sharesOf = ({layers}: Allocation) => layers.map(({target}) => target);

onEveryBackend(() => {
  describe('allocateSparsity', () => {
    let model: tf.LayersModel;
    beforeEach(() => void (model = residualModel(4, 2)));
    afterEach(() => disposeModels(model));
    const allocate = (options: Partial<AllocateOptions> = {}, data: Dataset | null = batches(4)) =>
      allocateSparsity(model, data, {target: 0.5, ...options});

    for (const method of ['local', 'greedy'] as const) {
      it(`${method}: reaches the mean; the sensitive layer masks least where layers compete`, async () => {
        const allocation = await allocate({method});
        expect(allocation.sparsity).to.be.closeTo(0.5, 1e-9);
        expect(allocation.met).to.equal(true);
        const shares = sharesOf(allocation);
        if (method === 'greedy') {
          for (const share of shares) expect(share).to.be.closeTo(0.5, 1e-9); // each layer is alone in its block
          expect(allocation.probes).to.equal(null);
          return;
        }
        expect(Math.min(...shares)).to.equal(shares[2]);
        expect(shares[2]).to.be.below(0.35);
        const errors = allocation.probes!.layers.map(({error}) => error);
        expect(Math.max(...errors)).to.equal(errors[2]);
        expect(allocation.probes!.layers.map(({join}) => join)).to.deep.equal(
          [0, 1, 2, 3].map((i) => `add_${i}`),
        );
      });
    }

    it('greedy: what one block may not take, the others do', async () => {
      const scopes = {block_0: {maximum: 0.3}, block_1: {minimum: 0.8}, 'block_[23]': {}};
      const allocation = await allocate({method: 'greedy', scopes, target: 0.6});
      expect(allocation.sparsity).to.be.closeTo(0.6, 1e-9);
      const [a, b, c, d] = sharesOf(allocation);
      expect(a).to.equal(0.3);
      expect(b).to.equal(0.8);
      expect(c).to.be.closeTo(0.65, 1e-9);
      expect(d).to.be.closeTo(0.65, 1e-9);
    });

    it('goes into sparsifyActivations; another mean comes from the saved model without data', async () => {
      const allocation = await allocate();
      const sparse = await sparsifyActivations(model, batches(4), {
        ...{targetSparsityByScope: allocation, saveStatistics: true, calibration: 'sequential'},
      });
      const actual = await measureSparsity(sparse, batches(4));
      actual.forEach((layer, i) => expect(layer.actual).to.be.closeTo(allocation.layers[i].target, 0.02));
      const saved = await savedArtifacts(sparse);
      const loaded = await withLayers([], () => tf.loadLayersModel(tf.io.fromMemory(saved)));
      const other = await allocateSparsity(loaded, null, {target: 0.7});
      retarget(loaded, other);
      const expected = await allocate({target: 0.7});
      sharesOf(other).forEach((share, i) => expect(share).to.be.closeTo(sharesOf(expected)[i], 1e-6));
      expect(inspect(loaded).map(({target}) => target)).to.deep.equal(sharesOf(other));
      expect(allocationOf(loaded)).to.deep.equal(other);
      disposeModels(sparse, loaded);
    });

    it('gives the same for the same data', async () => {
      expect(await allocate()).to.deep.equal(await allocate());
    });

    it('keeps to bounds and leaves excluded layers out', async () => {
      const allocation = await allocate({
        scopes: {'block_[01]': {maximum: 0.4}, 'block_[23]': {minimum: 0.3}},
        ignoredScope: new IgnoredScope({names: ['block_3']}),
        target: 0.45,
      });
      expect(allocation.layers.map(({path}) => path)).to.deep.equal(['block_0', 'block_1', 'block_2']);
      const [a, b, c] = sharesOf(allocation);
      expect(Math.max(a, b)).to.be.at.most(0.4);
      expect(c).to.be.at.least(0.3);
      expect((a + b + c) / 3).to.be.closeTo(0.45, 1e-9);
    });

    it('uniform: every layer the same, without data', async () => {
      const allocation = await allocate({method: 'uniform'}, null);
      expect(sharesOf(allocation)).to.deep.equal([0.5, 0.5, 0.5, 0.5]);
      expect(allocation.probes).to.equal(null);
    });

    it('keeps a loss on data that it holds out, with the curve that it chose from; finds the sensitive layer', async () => {
      const allocation = await allocate({target: {maxLoss: 0.02}}, batches(8));
      const {curve, chosen, metric, met} = allocation;
      expect(Math.min(...sharesOf(allocation))).to.equal(sharesOf(allocation)[2]);
      expect(met).to.equal(true);
      expect(metric).to.equal('relative squared error');
      expect(curve[chosen].loss).to.be.within(0.005, 0.02);
      expect(curve.map(({sparsity}) => sparsity)).to.deep.equal(
        [...curve.map(({sparsity}) => sparsity)].sort((a, b) => a - b),
      );
    });

    it('finds the layer of a random multi-layer perceptron whose inputs are all alike', async () => {
      const mlp = plainModel();
      const allocation = await allocateSparsity(mlp, batches(8), {target: {maxLoss: 0.05}});
      const {curve, chosen, met} = allocation;
      expect(met).to.equal(true);
      expect(curve[chosen].loss).to.be.within(0.02, 0.05);
      const shares = sharesOf(allocation);
      expect(Math.min(...shares)).to.equal(shares[2]);
      expect(shares[2]).to.be.below(shares[3] / 2);
      disposeModels(mlp);
    });

    it('probes and calibrates on nothing that is held out', async () => {
      const isHeldOut = (i: number) => i % 4 === 3;
      const strange = (i: number) =>
        tf.tidy(() => tf.mul(tf.tensor2d(normals(32 * WIDTH, 100 + i), [32, WIDTH]), 100));
      const data = new Dataset([...Array(8).keys()], (i) => {
        return isHeldOut(i) ? strange(i) : tf.tensor2d(normals(32 * WIDTH, 100 + i), [32, WIDTH]);
      });
      const rest = new Dataset(
        [...Array(8).keys()].filter((i) => !isHeldOut(i)),
        (i) => tf.tensor2d(normals(32 * WIDTH, 100 + i), [32, WIDTH]),
      );
      const {probes} = await allocate({target: {maxLoss: 0.02}}, data);
      expect(probes).to.deep.equal((await allocate({}, rest)).probes);
    });

    for (const count of [2, 3]) {
      it(`holds out the last of ${count} batches, whether or not it is known how many there are`, async () => {
        const known = batches(count);
        const items = async function* () {
          for await (const item of known.getInferenceData()) yield tf.clone(item as tf.Tensor);
        };
        const unknown = new Dataset(items, null, {disposeItems: true});
        expect(unknown.length).to.equal(null);
        const target = {maxLoss: 0.02};
        expect(await allocate({target}, unknown)).to.deep.equal(await allocate({target}, known));
      });
    }

    it('measures as it is told: by what, on what, and how fast', async () => {
      const seen: string[] = [];
      const losses = new Map<number, number>();
      const loss = {
        metric: 'relative perplexity' as const,
        measure: async (sparse: tf.LayersModel) => {
          const layers = await measureSparsity(sparse, batches(2));
          const mean = layers.reduce((sum, {actual}) => sum + actual, 0) / layers.length;
          losses.set(mean, mean / 10);
          return {loss: mean / 10, error: null};
        },
      };
      const speed = {measure: () => Promise.resolve({denseMs: 10, ms: 5})};
      const allocation = await allocate({
        ...{method: 'uniform', target: {maxLoss: 0.04, speedup: 1.5}, loss, speed},
        onProgress: ({stage}) => seen.push(stage),
      });
      const {curve, chosen, metric, denseMs, sparsity} = allocation;
      expect(allocation.met).to.equal(true);
      expect(metric).to.equal('relative perplexity');
      expect(denseMs).to.equal(10);
      expect(sparsity).to.equal(0); // the least sparsity that is as fast as asked for
      expect(curve[chosen]).to.deep.include({latencyMs: 5, speedup: 2, latencyMeasured: true});
      expect(losses.size).to.equal(1);
      expect([...losses.keys()][0]).to.be.below(0.01); // of the model that was chosen
      expect(new Set(seen)).to.deep.equal(new Set(['calibrating']));
    });

    it('measures the loss on held-out data of its own', async () => {
      const zeros = new Dataset([0, 1], () => tf.zeros([4, WIDTH]));
      const {curve, chosen, met, sparsity} = await allocate(
        {target: {maxLoss: 1e-6}, heldOut: zeros},
        batches(1),
      );
      expect(met).to.equal(true);
      expect(curve[chosen].loss).to.equal(0); // what is 0 loses nothing when it is masked
      expect(sparsity).to.be.closeTo(0.95, 1e-9);
    });

    it('counts accuracy with labels', async () => {
      const labels = {kind: 'classes', values: new Int32Array(128), shape: [128]} as const;
      const {metric, curve, chosen} = await allocate({target: {maxLoss: 0.02}, labels});
      expect(metric).to.equal('accuracy points');
      expect(curve[chosen].loss).to.be.at.most(0.02);
      const beyond = {...labels, values: new Int32Array(128).fill(WIDTH)};
      await rejection(() => allocate({target: {maxLoss: 0.02}, labels: beyond}), 'labels-mismatch');
    });

    it('passes on which rows count, and how many to probe', async () => {
      const {probes} = await allocate({probeRows: 1});
      expect(probes!.rows).to.equal(32);
      expect((await allocate({probeRows: 33})).probes!.rows).to.equal(64);
      const other = await allocate({probeData: batches(1), probeRows: 1});
      expect(other.probes).to.deep.equal(probes);
    });

    it('without data takes the layers and bounds that the model was allocated with', async () => {
      const scopes = {'block_[01]': {maximum: 0.4}, block_2: {minimum: 0.3, maximum: 0.8}};
      const allocation = await allocate({scopes, target: 0.4});
      const sparse = await sparsifyActivations(model, batches(2), {targetSparsityByScope: allocation});
      const again = await allocateSparsity(sparse, null, {target: 0.45});
      expect(again.layers.map(({path, minimum, maximum}) => [path, minimum, maximum])).to.deep.equal([
        ['block_0', 0, 0.4],
        ['block_1', 0, 0.4],
        ['block_2', 0.3, 0.8],
      ]);
      const all = () =>
        allocateSparsity(sparse, null, {target: 0.4, scopes: new TargetScope({patterns: ['.*']})});
      expect((await rejection(all, 'not-probed')).message)
        .to.include('"block_3"')
        .and.not.include('block_2');
      disposeModels(sparse);
    });

    it('says what is missing where there are no data, and which layers were not probed', async () => {
      for (const [options, what] of [
        [{target: {speedup: 2}}, 'a loss or a speed'],
        [{weighting: 'time'}, 'weighting by time'],
        [{method: 'greedy'}, 'method "greedy"'],
      ] as const) {
        expect((await rejection(() => allocate(options, null), 'no-data')).message).to.equal(
          `${what} needs data: give a data set, or a mean sparsity by method "local" or "uniform"`,
        );
      }
      const rest = '; give data to probe on, or name only layers that were allocated when it was sparsified';
      const none = await rejection(() => allocate({}, null), 'not-probed');
      expect(none.message).to.equal(
        `the model holds no probe errors of "block_0", "block_1", "block_2" and others${rest}`,
      );
      expect(none.data).to.deep.equal({missing: [0, 1, 2, 3].map((i) => `block_${i}`)});
      const three = await rejection(() => allocate({scopes: {'block_[0-2]': {}}}, null), 'not-probed');
      expect(three.message).to.equal(
        `the model holds no probe errors of "block_0", "block_1", "block_2"${rest}`,
      );
    });

    it('keeps the thresholds of what it measured to itself, and warns of nothing that is only measured', async () => {
      const seen: AllocationProgress[] = [];
      const warnings: string[] = [];
      const {curve} = await allocate({
        target: {maxLoss: 0.02},
        onProgress: (progress) => seen.push(progress),
        onWarning: ({code}) => warnings.push(code),
      });
      expect(warnings).to.deep.equal([]);
      const stages = new Set(seen.map(({stage}) => stage));
      expect(stages).to.deep.equal(new Set(['probing layers', 'calibrating', 'measuring the loss']));
      for (const {stage, sparsity, done, total} of seen) {
        expect(sparsity === null).to.equal(stage === 'probing layers');
        expect(done).to.be.within(1, total!);
      }
      const measured = seen.flatMap(({stage, sparsity}) =>
        stage === 'measuring the loss' ? [sparsity!] : [],
      );
      expect(curve.filter(({loss}) => loss !== null)).to.have.length(new Set(measured).size);
      expect(inspect(model).map(({sparsified}) => sparsified)).to.deep.equal([false, false, false, false]);
    });

    it('warns of a mean that layers cannot have, and says which and why', async () => {
      // Inputs of which 40 % are small, and 60 % one magnitude: a layer masks 40 % or all.
      const tied = (i: number) =>
        tf.tensor2d(
          Float32Array.from({length: 32 * WIDTH}, (_, j) =>
            j % 10 < 4 ? 0.01 + (((j + i) * 7) % 97) / 1000 : 1,
          ),
          [32, WIDTH],
        );
      const x = tf.input({shape: [WIDTH]});
      const alone = tf.layers.dense({name: 'alone', units: WIDTH, kernelInitializer: 'identity'});
      const one = tf.model({inputs: x, outputs: alone.apply(x) as tf.SymbolicTensor});
      const warnings: SparsifyWarning[] = [];
      const allocation = await allocateSparsity(one, new Dataset([0, 1], tied), {
        target: 0.7,
        onWarning: (warning) => warnings.push(warning),
      });
      expect(allocation.met).to.equal(false);
      expect(allocation.sparsity).to.be.closeTo(0.4, 0.01);
      expect(warnings.map(({code}) => code)).to.deep.equal(['sparsity-missed']);
      const [{message, data}] = warnings;
      expect(message).to.equal(
        'a mean sparsity of 70.0 % was asked and 40.2 % is allocated: a threshold masks all inputs of one magnitude or ' +
          'none: "alone" can mask 40.2 % (59.8 % of its inputs are tied); to have other layers make up for it would lose ' +
          'more than to mask all alike',
      );
      expect(data).to.deep.include({sparsity: 0.7, reached: allocation.sparsity});
      const layers = data.layers as {path: string; most: number; tied: number}[];
      expect(layers.map(({path}) => path)).to.deep.equal(['alone']);
      expect(layers[0].most).to.be.closeTo(0.4, 0.01);
      expect(layers[0].most + layers[0].tied).to.be.closeTo(1, 1e-9);
      disposeModels(one);
    });

    it('refuses one batch at once, and says how many items make several', async () => {
      const data = new Dataset(function* () {
        yield normals(10 * WIDTH, 1).reduce<number[][]>(inRows, []);
      });
      let probed = false;
      const onProgress = () => (probed = true);
      const error = await rejection(
        () => allocate({target: {maxLoss: 0.1}, onProgress}, data),
        'too-few-batches',
      );
      expect(error.data).to.deep.include({items: 10, batchSize: 3});
      expect(error.message).to.include('one, of 10 items').and.include('batches of 3 items');
      expect(probed).to.equal(false);
    });

    const failures: [string, string, Partial<AllocateOptions>, (Dataset | null)?][] = [
      ['a mean that the bounds do not allow', 'target-out-of-range', {target: 0.99}],
      ['a target that is no share', 'bad-target', {target: 50}],
      ['an empty target', 'bad-target', {target: {}}],
      ['a mean with more', 'bad-target', {target: {sparsity: 0.5, maxLoss: 0.1}}],
      ['a method that does not exist', 'unknown-method', {method: 'locale' as 'local'}],
      ['bounds the wrong way round', 'invalid-bounds', {scopes: {'.*': {minimum: 0.5, maximum: 0.2}}}],
      ['a scope without layers', 'unmatched-rule', {scopes: new TargetScope({names: ['block']})}],
      ['no data and no probes', 'not-probed', {}, null],
      ['no data for a loss', 'no-data', {method: 'uniform', target: {maxLoss: 0.1}}, null],
      ['one batch, of which none can be held out', 'too-few-batches', {target: {maxLoss: 0.1}}, batches(1)],
      ['an empty data set', 'empty', {}, batches(0)],
      ['an empty data set for a loss', 'empty', {target: {maxLoss: 0.1}}, batches(0)],
      ['held-out data without a batch', 'empty', {target: {maxLoss: 0.1}, heldOut: batches(0)}],
      [
        'held-out data that turn out empty',
        'empty',
        {target: {maxLoss: 0.1}, heldOut: () => [][Symbol.iterator]()},
      ],
      ['a target that is text', 'bad-target', {target: '0.5' as unknown as number}],
      ['no target', 'bad-target', {target: null as unknown as number}],
      ['a bound that does not exist', 'unknown-option', {scopes: {'.*': {least: 0.2} as SparsityBounds}}],
      ['bounds that are a number', 'bad-option', {scopes: {'.*': 0.5 as SparsityBounds}}],
      ['a bound that is no share', 'target-out-of-range', {scopes: {'.*': {maximum: 80}}}],
      [
        'an ignored scope as the scopes',
        'invalid-scope',
        {scopes: new IgnoredScope({names: ['block_0']}) as Scope as TargetScope},
      ],
      ['scopes that are text', 'invalid-scope', {scopes: '.*' as unknown as TargetScope}],
      [
        'a scope without its bounds',
        'invalid-scope',
        {scopes: [[new TargetScope({patterns: ['.*']})]] as unknown as AllocationScopes},
      ],
      [
        'a pattern for a scope, in a pair',
        'invalid-scope',
        {scopes: [['.*', {}]] as unknown as AllocationScopes},
      ],
    ];
    for (const [what, code, options, data = batches(2)] of failures) {
      it(`rejects ${what}`, async () => {
        await rejection(() => allocate(options, data), code);
      });
    }

    it('stops when it is told to', async () => {
      const reason = new Error('enough');
      let thrown: unknown;
      await allocate({signal: AbortSignal.abort(reason)}).catch((error: unknown) => (thrown = error));
      expect(thrown).to.equal(reason);
    });
  });
});

describe('allocateSparsity on cpu', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));

    it('weighs layers by the time that they save, and tells that it times them', async () => {
      const seen = new Set<string>();
      const speed = {measure: () => Promise.resolve({denseMs: 10, ms: 5})};
      const model = residualModel(2, 1);
      const {weighting, sparsity, met} = await allocateSparsity(model, batches(1), {
        ...{weighting: 'time', target: 0.5, method: 'uniform', speed},
        onProgress: ({stage}) => seen.add(stage),
      });
      expect({weighting, met}).to.deep.equal({weighting: 'time', met: true});
      expect(sparsity).to.be.closeTo(0.5, 1e-9); // all layers alike, whatever they weigh
      expect([...seen]).to.deep.equal(['timing layers']);
      disposeModels(model);
    });
  }));
