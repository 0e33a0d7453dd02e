import {expect} from 'chai';
import {measureSparsity, sparsifyActivations} from '../../../lib/index.js';
import {
  allocateLanguageModel,
  loadLanguageModel,
  textDataset,
  type LanguageModel,
} from '../../../models/llama/index.js';
import {seededRandom} from '../../../lib/stats/seeded-random.js';
import {checkForLeaks, disposeModels} from '../../backends.js';
import {rejection} from './rejection.js';
import {tinyFolder} from './tiny-checkpoints.js';

/** Ids as text would give them, the same in every run. */
function idsFor(lm: LanguageModel, count: number): number[] {
  const random = seededRandom(7);
  return Array.from({length: count}, () => Math.floor(random() * lm.config.vocabularySize));
}

const SEQUENCES = {sequences: 4, sequenceLength: 16} as const;

describe('allocateLanguageModel', () => {
  checkForLeaks();

  for (const name of ['llama3-gqa-rope', 'mixtral-moe']) {
    it(`spreads a mean over the projections of ${name}, which then mask it`, async () => {
      const lm = await loadLanguageModel(tinyFolder(name));
      const ids = idsFor(lm, 64);
      const allocation = await allocateLanguageModel(lm, ids, {target: 0.5, ...SEQUENCES});
      expect(allocation.sparsity).to.be.closeTo(0.5, 1e-9);
      expect(allocation.layers.map(({path}) => path)).not.to.include('lm_head');
      expect(new Set(allocation.probes!.layers.map(({join}) => join))).to.deep.equal(
        new Set(Array.from({length: lm.config.layers}, (_, i) => `model.layers.${i}.mlp.add`)),
      );
      const data = lm.dataset(ids, SEQUENCES);
      const sparse = await sparsifyActivations(lm.model, data, {
        targetSparsityByScope: allocation,
        calibration: {method: 'sequential'},
      });
      const targets = new Map(allocation.layers.map(({path, target}) => [path, target]));
      for (const {path, actual} of await measureSparsity(sparse, data)) {
        // Experts are calibrated while they run, batch by batch, on few values.
        expect(actual, path).to.be.closeTo(targets.get(path)!, path.includes('experts') ? 0.15 : 0.01);
      }
      disposeModels(sparse, lm.model);
    });
  }

  it('keeps a loss of perplexity on the end of the text', async () => {
    const lm = await loadLanguageModel(tinyFolder('llama3-gqa-rope'));
    const {curve, chosen, metric} = await allocateLanguageModel(lm, idsFor(lm, 400), {
      target: {maxLoss: 0.001},
      ...SEQUENCES,
    });
    expect(metric).to.equal('relative perplexity');
    expect(curve[chosen].loss).to.be.at.most(0.001);
    lm.dispose();
  });

  it('says that too little text is left to measure a loss on', async () => {
    const lm = await loadLanguageModel(tinyFolder('llama3-gqa-rope'));
    const allocate = () => allocateLanguageModel(lm, idsFor(lm, 100), {target: {maxLoss: 0.1}, ...SEQUENCES});
    await rejection(allocate, 'too-short');
    lm.dispose();
  });
});

describe('several texts as one calibration set', () => {
  it('takes their sequences in turns', async () => {
    const texts = [[0, 1, 2, 3, 4], [10, 11, 12, 13], [20]];
    const sequences: number[][] = [];
    for await (const batch of textDataset(texts, {sequenceLength: 2}).getInferenceData()) {
      sequences.push([...(batch as {dataSync(): Int32Array}).dataSync()]);
    }
    expect(sequences).to.deep.equal([
      [0, 1],
      [10, 11],
      [2, 3],
      [12, 13],
    ]);
  });
});
