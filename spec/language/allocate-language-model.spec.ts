import {expect} from 'chai';
import {measureSparsity, sparsifyActivations} from '../../lib/index.js';
import {
  allocateLanguageModel,
  loadLanguageModel,
  textDataset,
  type LanguageModel,
} from '../../lib/language/index.js';
import {seededRandom} from '../../lib/stats/seeded-random.js';
import {checkForLeaks, disposeModels} from '../support/backends.js';
import {rejection} from '../support/rejection.js';
import {tinyFolder} from '../support/language/tiny-checkpoints.js';

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

  it('measures a loss on what calibration never saw, also where texts differ in length', async () => {
    const lm = await loadLanguageModel(tinyFolder('llama3-gqa-rope'));
    const [SEEN, UNSEEN] = [1, 2];
    const text = (seen: number, unseen: number) => [
      ...Array<number>(16 * seen).fill(SEEN),
      ...Array<number>(unseen).fill(UNSEEN),
    ];
    const scored: number[] = [];
    const decoder = lm.decoder.bind(lm);
    lm.decoder = () => {
      const own = decoder();
      const score = own.score.bind(own);
      own.score = (tokens, targets, options) => {
        scored.push(...Array.from(targets));
        return score(tokens, targets, options);
      };
      return own;
    };
    // Eight sequences in turns: one of the first text, two of the second, five of the third, and none of the last.
    const texts = [text(1, 15), text(2, 3), text(5, 400), text(0, 14)];
    const allocate = (heldOutTokens: number) =>
      allocateLanguageModel(lm, [], {
        ...{target: {maxLoss: 0.5}, method: 'uniform', sequences: 8, sequenceLength: 16, heldOutTokens},
      });
    lm.idsOf = () => texts;
    const {curve, chosen} = await allocate(8192);
    expect(new Set(scored)).to.deep.equal(new Set([UNSEEN]));
    expect(scored).to.have.lengthOf(15 + 3 + 400 + 14); // once, dense
    expect(curve[chosen].loss).to.be.a('number');

    scored.length = 0;
    lm.idsOf = () => Array.from({length: 500}, (_, i) => (i < 8 ? text(1, 0) : [UNSEEN, UNSEEN]));
    await allocate(300);
    expect(scored).to.have.lengthOf(300); // a token each would be too little to hold out of many short texts
    lm.dispose();
  });

  it('has the defaults of a language model for options that are undefined', async () => {
    const lm = await loadLanguageModel(tinyFolder('llama3-gqa-rope'));
    const ids = idsFor(lm, 400);
    const undefinedOptions = {
      scopes: undefined,
      calibration: undefined,
      probeData: undefined,
      loss: undefined,
    };
    const options = {target: {maxLoss: 0.001}, ...SEQUENCES};
    const allocation = await allocateLanguageModel(lm, ids, {...options, ...undefinedOptions});
    expect(allocation).to.deep.equal(await allocateLanguageModel(lm, ids, options));
    expect(allocation.metric).to.equal('relative perplexity');
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
