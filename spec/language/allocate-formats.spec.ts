import {expect} from 'chai';
import {inspectWeights} from '../../lib/index.js';
import {
  compareLanguageModelFormats,
  languageModelInFormat,
  loadLanguageModel,
  metadataOf,
} from '../../lib/language/index.js';
import {decoderWeightsOf} from '../../lib/language/config/saved-metadata.js';
import {seededRandom} from '../../lib/stats/seeded-random.js';
import {checkForLeaks} from '../support/backends.js';
import {tinyFolder} from '../support/language/tiny-checkpoints.js';

const SHARES = {sequences: 4, sequenceLength: 16, heldOutTokens: 300} as const;

describe('formats of a language model', () => {
  checkForLeaks();

  it('are measured by perplexity and the time of a token, those that it can have', async () => {
    const lm = await loadLanguageModel(tinyFolder('llama3-gqa-rope'));
    const random = seededRandom(7);
    const ids = Array.from({length: 400}, () => Math.floor(random() * lm.config.vocabularySize));
    const {points, leftOut, metric, denseMs} = await compareLanguageModelFormats(lm, ids, {
      ...{formats: ['float32', 'int8', 'kept'], sparsities: [0.5], method: 'uniform', ...SHARES},
    });
    expect(metric).to.equal('relative perplexity');
    expect(points.map(({format, sparsity}) => [format, Math.round(10 * sparsity)])).to.deep.equal([
      ['float32', 0],
      ['float32', 5],
      ['int8', 0],
      ['int8', 5],
    ]);
    expect(points[0]).to.deep.equal({format: 'float32', sparsity: 0, loss: 0, lossError: 0, ms: denseMs});
    expect(Math.abs(points[2].loss)).to.be.within(1e-9, 0.02);
    expect(leftOut).to.deep.equal([
      {format: 'kept', reason: 'the model holds no packed weights that could be kept'},
    ]);
    lm.dispose();
  });

  it('have bfloat16 in the metadata, where the decoder can round, and float32 weights', async () => {
    const lm = await loadLanguageModel(tinyFolder('llama3-gqa-rope'));
    expect(decoderWeightsOf(lm.model)).to.equal(undefined);
    try {
      const made = await languageModelInFormat(lm, 'bfloat16');
      expect(decoderWeightsOf(made)).to.equal('bfloat16');
      expect(metadataOf(made).config).to.deep.equal(lm.config);
      expect(inspectWeights(made).every(({format}) => format === 'float32')).to.equal(true);
      const rounded = lm.withModel(made);
      const [exact, own] = [await lm.score([1, 2, 3, 4]), await rounded.score([1, 2, 3, 4])];
      own.forEach((score, i) => expect(score).to.be.closeTo(exact[i], 0.1));
      expect([...own]).not.to.deep.equal([...exact]);
      rounded.dispose();
    } catch (error) {
      expect((error as Error).message).to.include('only the fused decoder computes in bfloat16');
    }
    lm.dispose();
  });
});
