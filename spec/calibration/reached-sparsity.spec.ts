/** @file What thresholds reach where many inputs have one magnitude, what is said of it, and what it does to allocations. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {
  allocateSparsity,
  inspect,
  measureSparsity,
  retarget,
  sparsifyActivations,
  statisticsOf,
  type CalibrationMethod,
  type SparsifyWarning,
} from '../../lib/index.js';
import {withLayers} from '../../lib/layers/registry.js';
import {seededRandom} from '../../lib/stats/seeded-random.js';
import {disposeModels, onEveryBackend, withoutLeaks} from '../support/backends.js';
import {savedArtifacts} from '../support/saved-artifacts.js';

const WIDTH = 10;
const ROWS = 64;

/** One Dense, and rows whose values are made from evenly spread numbers in [0, 1). */
function dense(units = 4): tf.LayersModel {
  const kernelInitializer = tf.initializers.randomNormal({seed: 1});
  return tf.sequential({
    layers: [tf.layers.dense({units, kernelInitializer, inputShape: [WIDTH], name: 'd'})],
  });
}

function rowsOf(value: (u: number) => number): number[][] {
  const random = seededRandom(7);
  return Array.from({length: ROWS}, () => Array.from({length: WIDTH}, () => value(random())));
}

const INPUTS: Readonly<Record<string, (u: number) => number>> = {
  '+1 and -1': (u) => (u < 0.5 ? -1 : 1),
  'all 0.7': () => 0.7,
  'all 0': () => 0,
  'one-hot, 10 %': (u) => (u < 0.1 ? 1 : 0),
  'saturated, 70 %': (u) => (u < 0.7 ? 1 : u - 0.7),
  'saturated amid neighbours, 60 %': (u) => (u < 0.6 ? 1 : 0.99 + 0.02 * (u - 0.6)),
  'ratings 1 to 5': (u) => 1 + Math.floor(5 * u),
  'two neighbours, 1 and 1.003': (u) => (u < 0.5 ? 1 : 1.003),
  'bytes over 255': (u) => Math.floor(256 * u) / 255,
};

interface Calibrated {
  readonly threshold: number;
  readonly reached: number;
  readonly actual: number;
  readonly warnings: readonly SparsifyWarning[];
}

async function calibrated(
  rows: number[][],
  target: number,
  calibration: CalibrationMethod,
): Promise<Calibrated> {
  const model = dense();
  const warnings: SparsifyWarning[] = [];
  const sparse = await sparsifyActivations(model, [rows], {
    ...{targetSparsityByScope: {'.*': target}, calibration},
    onWarning: (warning) => void warnings.push(warning),
  });
  const [{threshold, reached}] = inspect(sparse);
  const [{actual}] = await measureSparsity(sparse, [rows]);
  disposeModels(sparse, model);
  return {threshold: threshold!, reached: reached!, actual, warnings};
}

onEveryBackend(() => {
  describe('the share that a threshold reaches', () => {
    for (const [name, value] of Object.entries(INPUTS)) {
      for (const method of ['pooled', 'sequential'] as const) {
        it(`is what is masked, and at most 5 % above the target: ${name}, ${method}`, async () => {
          const rows = rowsOf(value);
          const zeros = rows.flat().filter((x) => x === 0).length / rows.flat().length;
          for (const target of [0, 0.3, 0.5, 0.75, 1]) {
            const {reached, actual, warnings} = await calibrated(rows, target, method);
            expect(actual, `at ${target}`).to.be.at.most(Math.max(target + 0.051, zeros));
            expect(reached, `at ${target}`).to.be.closeTo(actual, 0.015);
            const isMissed = Math.abs(actual - target) > 0.0516 && actual > zeros;
            const isBelow = actual < target - 0.0516;
            expect(
              warnings.map(({code}) => code),
              `at ${target}`,
            ).to.deep.equal(isMissed || isBelow ? ['target-missed'] : []);
          }
        });
      }

      it(`is what NNCF's threshold masks, and said if it is another: ${name}`, async () => {
        const rows = rowsOf(value);
        for (const target of [0.3, 0.5]) {
          const {threshold, reached, actual, warnings} = await calibrated(rows, target, 'nncf');
          const sorted = rows
            .flat()
            .map(Math.abs)
            .sort((a, b) => a - b);
          const rank = target * (sorted.length - 1);
          const [low, high] = [sorted[Math.floor(rank)], sorted[Math.ceil(rank)]];
          expect(threshold).to.be.within(low * (1 - 1e-6), high * (1 + 1e-6));
          expect(reached).to.be.closeTo(actual, 0.015);
          const zeros = sorted.filter((x) => x === 0).length / sorted.length;
          const isMissed = Math.abs(actual - target) > 0.0516 && actual > zeros;
          expect(warnings.map(({code}) => code)).to.deep.equal(isMissed ? ['target-missed'] : []);
        }
      });
    }
  });
});

describe('a warning of missed targets', () => {
  withoutLeaks(() => {
    it('names the layer, the shares, the magnitude and how many have it', async () => {
      const {warnings} = await calibrated(rowsOf(INPUTS['+1 and -1']), 0.5, 'nncf');
      expect(warnings[0].message).to.include(
        '"d": 100.0 % is reached where 50.0 % was asked; 100.0 % of its inputs have the magnitude 1: a threshold masks ' +
          'all of them or none',
      );
      expect(warnings[0].data).to.deep.equal({
        missed: [{path: 'd', target: 0.5, reached: 1, tie: {magnitude: 1, share: 1}}],
      });
      const pooled = await calibrated(
        rowsOf((u) => (u < 0.8125 ? 0.3 : u)),
        0.5,
        'pooled',
      );
      expect(pooled.warnings[0].message).to.match(/"d": 0\.0 % is reached .* have the magnitude 0\.3: /);
    });

    it('goes to the console where nobody listens', async () => {
      const model = dense();
      const [said, warn] = [[] as unknown[], console.warn];
      console.warn = (...args: unknown[]) => void said.push(...args);
      try {
        const sparse = await sparsifyActivations(model, [rowsOf(() => 1)], {
          targetSparsityByScope: {'.*': 0.5},
        });
        disposeModels(sparse, model);
      } finally {
        console.warn = warn;
      }
      expect(said).to.have.length(1);
      expect(said[0]).to.match(/^tfjs-sparsify: 1 of 1 layers do not mask the share that was asked/);
    });

    it('is given by retarget too, for the layers that it sets', async () => {
      const model = dense();
      const sparse = await sparsifyActivations(model, [rowsOf(INPUTS['saturated, 70 %'])], {
        targetSparsityByScope: {'.*': 0.25},
      });
      const warnings: SparsifyWarning[] = [];
      const [{reached}] = retarget(
        sparse,
        {'.*': 0.6},
        {onWarning: (warning) => void warnings.push(warning)},
      );
      const saturated = rowsOf(INPUTS['saturated, 70 %'])
        .flat()
        .filter((x) => x === 1).length;
      expect(reached).to.be.closeTo(1 - saturated / (ROWS * WIDTH), 1e-9);
      expect(warnings.map(({code}) => code)).to.deep.equal(['target-missed']);
      disposeModels(sparse, model);
    });

    it('is none of a few values that lie apart: one value is not to be split', async () => {
      const model = dense();
      const row = Array.from({length: WIDTH}, (_, k) => 1 + k);
      const sparse = await sparsifyActivations(model, [[row]], {
        ...{targetSparsityByScope: {'.*': 0.445}, onWarning: () => expect.fail('half is as near as can be')},
      });
      expect(inspect(sparse)[0].reached).to.equal(0.5);
      disposeModels(sparse, model);
    });

    it('names no tie that is smaller than the miss', async () => {
      const model = dense();
      const warnings: SparsifyWarning[] = [];
      const batches = [1, 3, 9].map((from) => rowsOf((u) => from + Math.floor(5 * u) / 5));
      const sparse = await sparsifyActivations(model, batches, {
        ...{targetSparsityByScope: {'.*': 0.48}, calibration: 'nncf'},
        onWarning: (warning) => void warnings.push(warning),
      });
      expect(warnings[0].data).to.have.nested.property('missed[0].tie', null);
      disposeModels(sparse, model);
    });

    it('says the reason of an average over batches', async () => {
      const model = dense();
      const warnings: SparsifyWarning[] = [];
      const batches = [rowsOf((u) => 1 + u), rowsOf((u) => 3 + u), rowsOf((u) => 9 + u)];
      const sparse = await sparsifyActivations(model, batches, {
        ...{targetSparsityByScope: {'.*': 0.5}, calibration: 'nncf'},
        onWarning: (warning) => void warnings.push(warning),
      });
      expect(inspect(sparse)[0].reached).to.be.closeTo(2 / 3, 0.01);
      expect(warnings[0].message).to.include('the threshold is an average over batches');
      disposeModels(sparse, model);
    });
  });
});

describe('retarget to the target of the calibration', () => {
  withoutLeaks(() => {
    const options = {targetSparsityByScope: {'.*': 0.4}, calibration: 'nncf', saveStatistics: true} as const;
    const batches = () => [rowsOf((u) => u), rowsOf((u) => 0.8 * u), rowsOf((u) => 0.9 * u)];

    it("leaves nncf's thresholds, also from a saved model and after another target", async () => {
      const model = dense();
      const sparse = await sparsifyActivations(model, batches(), options);
      const [{threshold}] = inspect(sparse);
      expect(threshold).not.to.equal(statisticsOf(sparse).layers.get('d')!.quantile(0.4));
      expect(retarget(sparse, {'.*': 0.4})[0].threshold).to.equal(threshold);
      expect(retarget(sparse, {'.*': 0.7})[0].threshold).to.be.above(threshold!);
      const saved = await savedArtifacts(sparse);
      const loaded = await withLayers([], () => tf.loadLayersModel(tf.io.fromMemory(saved)));
      expect(inspect(loaded)[0].reached).to.be.closeTo(0.7, 0.005);
      expect(retarget(loaded, {'.*': 0.4})[0].threshold).to.equal(threshold);
      disposeModels(sparse, loaded, model);
    });

    it('still does after an allocation was given', async () => {
      const model = dense();
      const sparse = await sparsifyActivations(model, batches(), {...options, onWarning: () => undefined});
      const [{threshold}] = inspect(sparse);
      const allocation = await allocateSparsity(model, batches(), {target: 0.7, method: 'uniform'});
      retarget(sparse, allocation);
      expect(retarget(sparse, {'.*': 0.4})[0].threshold).to.equal(threshold);
      disposeModels(sparse, model);
    });

    it('takes the quantile once other statistics are merged in', async () => {
      const model = dense();
      const sparse = await sparsifyActivations(model, batches(), options);
      const statistics = statisticsOf(sparse);
      statistics.merge(statisticsOf(sparse));
      expect(retarget(sparse, {'.*': 0.4})[0].threshold).to.equal(statistics.layers.get('d')!.quantile(0.4));
      disposeModels(sparse, model);
    });
  });
});

describe('an allocation over layers that cannot have every share', () => {
  withoutLeaks(() => {
    /** A wide first layer on what is mostly one magnitude, and two small ones. */
    const model = () =>
      tf.sequential({
        layers: [16, 16, 4].map((units, i) =>
          tf.layers.dense({
            ...{units, name: `d${i}`, kernelInitializer: tf.initializers.randomNormal({seed: i + 1})},
            ...(i === 0 ? {inputShape: [64]} : {}),
            activation: i < 2 ? 'tanh' : 'linear',
          }),
        ),
      });
    const random = seededRandom(3);
    const white = Array.from({length: 128}, () =>
      Array.from({length: 64}, () => (random() < 0.8 ? 1 : 0.9 * random())),
    );
    const tied = white.flat().filter((x) => x === 1).length / white.flat().length;

    it('gives a tied layer no more than a threshold can, and takes no more of the others than all alike', async () => {
      const dense = model();
      const warnings: SparsifyWarning[] = [];
      const allocation = await allocateSparsity(dense, [white], {
        ...{target: 0.5, onWarning: (warning) => void warnings.push(warning)},
      });
      const [{target}, ...others] = allocation.layers;
      const {inputs} = allocation.probes!.layers[0];
      expect([inputs!.level, inputs!.upperLevel]).to.deep.equal([inputs!.gaps[0][0], inputs!.gaps[0][0]]);
      expect(target).to.be.closeTo(1 - tied, 1e-9);
      for (const other of others) expect(other.target).to.be.below(0.75);
      const uniform = (1024 * (1 - tied) + (256 + 64) * 0.5) / (1024 + 256 + 64);
      expect(allocation.sparsity).to.be.closeTo(uniform, 0.002);
      expect(allocation.met).to.equal(false);
      expect(warnings.map(({code}) => code)).to.deep.equal(['sparsity-missed']);
      expect(warnings[0].message).to.match(
        /50\.0 % was asked and 2\d\.\d % is allocated: .*"d0" can mask (19|20|21)\.\d %/,
      );
      const sparse = await sparsifyActivations(dense, [white], {
        targetSparsityByScope: allocation,
        onWarning: () => expect.fail('the targets can be had'),
      });
      const actual = await measureSparsity(sparse, [white]);
      actual.forEach((layer, i) => expect(layer.actual).to.be.closeTo(allocation.layers[i].target, 0.02));
      disposeModels(sparse, dense);
    });

    it('makes up for a small tied layer by the others, where that loses hardly more than all alike', async () => {
      const inputs = ['white', 'grey'].map((name) => tf.input({shape: [64], name}));
      const outputs = [2, 32].map(
        (units, i) =>
          tf.layers
            .dense({units, name: `d${i}`, kernelInitializer: tf.initializers.randomNormal({seed: i + 5})})
            .apply(inputs[i]) as tf.SymbolicTensor,
      );
      const two = tf.model({inputs, outputs});
      const grey = white.map((row) => row.map(() => random() - 0.5));
      const {sparsity, met, layers} = await allocateSparsity(two, [{white, grey}], {
        ...{target: 0.5, onWarning: () => expect.fail('the mean can be had')},
      });
      expect(met).to.equal(true);
      expect(sparsity).to.be.closeTo(0.5, 1e-9);
      expect(layers[0].target).to.be.at.most(1 - tied + 1e-9);
      expect(layers[1].target).to.be.closeTo(0.5 + (0.5 - layers[0].target) / 16, 1e-9);
      disposeModels(two);
    });

    it('counts zeros as free: they alone are masked where they are enough', async () => {
      const dense = model();
      const sparse = white.map((row) => row.map((x) => (x === 1 ? 0 : x)));
      const {layers, probes} = await allocateSparsity(dense, [sparse], {target: 0.5});
      expect(probes!.layers[0].inputs!.zeros).to.be.closeTo(tied, 1e-9);
      expect(layers[0].target).to.be.within(0.6, tied + 0.011);
      expect(layers[0].predictedError).to.be.below(1e-4);
      disposeModels(dense);
    });

    it('is the same by greedy steps: no step ends where no threshold is', async () => {
      const dense = model();
      const {layers} = await allocateSparsity(dense, [white], {
        ...{target: 0.3, method: 'greedy', onWarning: () => undefined},
      });
      expect(layers[0].target).to.be.at.most(1 - tied + 1e-9);
      disposeModels(dense);
    });
  });
});
