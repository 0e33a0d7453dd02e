import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {
  IgnoredScope,
  compressWeights,
  inspectWeights,
  retarget,
  sparsifyActivations,
} from '../../lib/index.js';
import {
  PROJECTIONS,
  allocateLanguageModel,
  compareWithDense,
  loadLanguageModel,
  memoryNeed,
  openLanguageModel,
  sparsifyStreamed,
  type LanguageModel,
} from '../../lib/language/index.js';
import {openGguf} from '../../lib/language/import/local-checkpoints.js';
import {keptFormats} from '../../lib/language/weights/packed-weights.js';
import {isMasking, sparsifyingDenseLayers} from '../../lib/model/dense-layers.js';
import {BACKENDS, disposeModels} from '../support/backends.js';
import {KEPT_FORMATS, fourBitGguf, fourBitText} from '../support/language/four-bit-gguf.js';
import {rejection} from '../support/rejection.js';
import {temporaryFolder} from '../support/temporary-folder.js';

const IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8];
const TEXT = Array.from({length: 64}, (_, i) => (i * 7 + 3) % 20);

function logits(lm: LanguageModel): Float32Array {
  return tf.tidy(() =>
    (lm.model.predict(tf.tensor2d([IDS], [1, IDS.length], 'int32')) as tf.Tensor).dataSync<'float32'>(),
  );
}

/** The formats of a model's weights by their layers' paths. */
function formats(lm: LanguageModel): Record<string, string> {
  return Object.fromEntries(
    inspectWeights(lm.model).map(({path, format}) => [path.replace('model.layers.0.', ''), format]),
  );
}

describe("a GGUF file's own 4 bits", () => {
  const folder = temporaryFolder();
  let path: string;
  let float: LanguageModel;
  let kept: LanguageModel;

  before(async () => {
    await tf.setBackend(BACKENDS[BACKENDS.length - 1]);
    path = folder.write('four.gguf', fourBitGguf());
    float = await loadLanguageModel(path, {weights: 'float32'});
    kept = await loadLanguageModel(path);
  });
  after(() => {
    float.dispose();
    kept.dispose();
  });

  it('stay, with INT8 for what the file holds in more, and float32 or INT8 if that is asked for', async () => {
    expect(formats(kept)).to.deep.equal(KEPT_FORMATS);
    expect(new Set(Object.values(formats(float)))).to.deep.equal(new Set(['float32']));
    const int8 = await loadLanguageModel(path, {weights: 'int8'});
    expect(new Set(Object.values(formats(int8)))).to.deep.equal(new Set(['int8_asym']));
    const wanted = await compressWeights(float.model);
    expect(logits(int8)).to.deep.equal(logits(float.withModel(wanted)));
    disposeModels(wanted);
    int8.dispose();
  });

  it('compute what the float32 weights of the file do, but for the INT8 ones', async () => {
    // The two INT8 weights of the kept model are made so in the other as well.
    const others = Object.keys(KEPT_FORMATS).filter(
      (name) => !KEPT_FORMATS[name as keyof typeof KEPT_FORMATS].startsWith('int8'),
    );
    const wanted = await compressWeights(float.model, {
      ignoredScope: new IgnoredScope({
        names: others.map((name) => (name === 'lm_head' ? name : `model.layers.0.${name}`)),
      }),
    });
    const [got, expected] = [logits(kept), logits(float.withModel(wanted))];
    const largest = Math.max(...expected.map(Math.abs));
    // Weights of Q4_0 are rounded to float16, 2^-11 of each; the sums of 96 products are float32.
    for (let i = 0; i < got.length; i++) expect(got[i]).to.be.closeTo(expected[i], 2 ** -10 * largest);
    disposeModels(wanted);
  });

  it('are saved and loaded as they are', async () => {
    const out = join(folder.path, 'saved');
    await kept.save(out);
    const loaded = await loadLanguageModel(out);
    expect(formats(loaded)).to.deep.equal(KEPT_FORMATS);
    expect(logits(loaded)).to.deep.equal(logits(kept));
    loaded.dispose();
    const error = await rejection(() => loadLanguageModel(out, {weights: 'float32'}), 'saved-weights');
    expect(error.message).to.contain('decompressWeights(lm.model)');
  });

  it('are counted in the memory that the model needs', async () => {
    const checkpoint = await openGguf(path);
    const need = memoryNeed(checkpoint.config, {formats: keptFormats(checkpoint)});
    await checkpoint.close();
    const stored = kept.model.weights.filter(({shape}) => shape.length > 0); // thresholds are not counted
    expect(need.weightBytes).to.equal(
      stored.reduce((sum, {shape}) => sum + 4 * tf.util.sizeFromShape(shape as number[]), 0),
    );
  });

  it('are sparsified and retargeted, in memory and with one block in memory alike', async () => {
    const targetSparsityByScope = {[PROJECTIONS.all]: 0.5};
    const dataset = kept.dataset(TEXT, {sequenceLength: 16, sequences: 4});
    const sparse = await sparsifyActivations(kept.model, dataset, {
      targetSparsityByScope,
      saveStatistics: true,
    });
    const [whole, streamed] = ['whole', 'streamed'].map((name) => join(folder.path, name));
    await kept.withModel(sparse).save(whole);
    await sparsifyStreamed(path, streamed, {
      ...{targetSparsityByScope, data: TEXT, sequenceLength: 16, sequences: 4},
    });
    const [first, second] = [await loadLanguageModel(whole), await loadLanguageModel(streamed)];
    expect(formats(second)).to.deep.equal(KEPT_FORMATS);
    expect(logits(second)).to.deep.equal(logits(first));
    expect(logits(first)).to.not.deep.equal(logits(kept));
    retarget(first.model, {[PROJECTIONS.all]: 0.3});
    const layers = [...sparsifyingDenseLayers(first.model).values()].filter(isMasking);
    expect(layers).to.have.length(7);
    // 64 tokens of at least 32 inputs, in a histogram whose bins hold a few hundredths of them at most.
    for (const {reachedSparsity} of layers) expect(reachedSparsity).to.be.closeTo(0.3, 0.03);
    expect(logits(first)).to.not.deep.equal(logits(second));
    disposeModels(sparse);
    first.dispose();
    second.dispose();
  });

  it('are measured and allocated for, as the model of the saved folder is', async () => {
    const text = fourBitText(900, 1);
    const options = {protocol: 'token', windows: 2, contextLength: 32} as const;
    const [ofKept, ofFloat] = [await kept.perplexity(text, options), await float.perplexity(text, options)];
    expect(ofKept.tokens).to.equal(2 * 31);
    // The other two matrices are rounded to 8 bits, a step of 1/255 of their range each.
    expect(ofKept.tokenPerplexity / ofFloat.tokenPerplexity).to.be.closeTo(1, 0.02);
    const out = join(folder.path, 'allocated');
    await kept.save(out);
    const loaded = await loadLanguageModel(out);
    const wanted = {target: 0.4, sequences: 2, sequenceLength: 64} as const;
    const allocation = await allocateLanguageModel(kept, text, wanted);
    expect((await allocateLanguageModel(loaded, text, wanted)).layers).to.deep.equal(allocation.layers);
    expect(allocation.sparsity).to.be.closeTo(0.4, 1e-9);
    const sparse = await sparsifyActivations(
      kept.model,
      kept.dataset(text, {sequenceLength: 64, sequences: 2}),
      {
        targetSparsityByScope: allocation,
      },
    );
    const {modes} = await compareWithDense(kept.withModel(sparse), text, options);
    expect(modes[0].tokenPerplexity).to.be.closeTo(ofKept.tokenPerplexity, 1e-4 * ofKept.tokenPerplexity);
    expect(modes[1].sparsity).to.be.closeTo(0.4, 0.05);
    expect(formats(kept)).to.deep.equal(KEPT_FORMATS);
    disposeModels(sparse);
    loaded.dispose();
  });

  it('and compress are not asked for together, which is said before anything is read', async () => {
    const both = {weights: 'keep', compress: 'int8_asym'} as const;
    const nowhere = join(folder.path, 'nowhere.gguf');
    for (const work of [
      () => sparsifyStreamed(nowhere, join(folder.path, 'out'), both),
      () => openLanguageModel('http://127.0.0.1:1/nowhere.gguf', both),
    ]) {
      const error = await rejection(work, 'unsupported-option');
      expect(error.message).to.equal(
        'the options say weights "keep" and compress "int8_asym", and only one can be: leave one of them out',
      );
    }
  });

  it('of a file that has none, nothing is kept', async () => {
    const eights = folder.write(
      'eights.gguf',
      fourBitGguf(() => 'Q8_0'),
    );
    const lm = await loadLanguageModel(eights);
    expect(new Set(Object.values(formats(lm)))).to.deep.equal(new Set(['float32']));
    lm.dispose();
  });
});
