import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {
  TargetScope,
  compressWeights,
  inspect,
  measureSparsity,
  retarget,
  sparsifyActivations,
  statisticsOf,
} from '../../lib/index.js';
import {loadLayersModel} from '../../lib/io/model/model-files.js';
import {
  PROJECTIONS,
  compareWithDense,
  loadLanguageModel,
  type LanguageModel,
} from '../../lib/language/index.js';
import {expectedOf} from '../support/language/tiny-checkpoints.js';
import {
  TINY_LANGUAGE_MODEL,
  failureCode,
  loadTiny,
  printableIds,
  printableText,
} from '../support/language/tiny-language-models.js';

describe('a sparsified language model', () => {
  const {input_ids} = expectedOf(TINY_LANGUAGE_MODEL);
  let lm: LanguageModel;
  let sparse: LanguageModel;
  let folder: string;
  before(async () => {
    lm = await loadTiny();
    folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-llama-'));
    const data = lm.dataset(printableText(1024, 1), {sequenceLength: 32, sequences: 8, batchSize: 2});
    const model = await sparsifyActivations(lm.model, data, {
      targetSparsityByScope: [
        [new TargetScope({patterns: [PROJECTIONS.gateUp]}), 0.3],
        [new TargetScope({patterns: [PROJECTIONS.down]}), 0.5],
      ],
      saveStatistics: true,
    });
    sparse = lm.withModel(model);
    await sparse.generate([1], {maxTokens: 1});
  });
  after(() => {
    sparse.dispose();
    lm.dispose();
    rmSync(folder, {recursive: true});
  });

  it('tells what the last generation masked, the prompt left out', async () => {
    const prompt = [...input_ids[0]];
    const {tokens, finishReason} = await sparse.generate(prompt, {maxTokens: 6, temperature: 0});
    const computed = finishReason === 'stop' ? tokens : tokens.slice(0, -1); // nothing follows the last one
    const decoder = sparse.decoder();
    await decoder.append(prompt, {dense: true});
    decoder.resetCounts();
    for (const id of computed) await decoder.append([id]);
    const counts = decoder.counts();
    decoder.dispose();
    const report = sparse.sparsity()!;
    for (const {path, actual} of report.layers) {
      const {masked, total} = counts.get(path)!;
      expect(actual, path).to.equal(masked / total);
    }
    expect(report.mean).to.be.above(0.1);
    expect(lm.sparsity()).to.equal(null);
  });

  it('masks what it should, as measureSparsity sees it', async () => {
    const {sparsity} = await sparse.perplexity(printableText(120, 7), {contextLength: 64, protocol: 'token'});
    const windows = sparse.windows(printableText(120, 7), {contextLength: 64, protocol: 'token'});
    const batches = windows.map(({tokens}) => [[...tokens]]);
    const measured = await measureSparsity(
      sparse.model,
      batches.map((batch) => batch),
    );
    expect(sparsity!.layers.map(({path}) => path)).to.deep.equal(measured.map(({path}) => path));
    for (const [i, {actual}] of measured.entries()) {
      // An input within rounding of its threshold may fall on either side: a few of thousands.
      expect(sparsity!.layers[i].actual).to.be.closeTo(actual, 2e-3);
    }
    expect(sparsity!.groups.map(({group, layers}) => [group, layers])).to.have.deep.members([
      ['gate_proj', lm.config.layers],
      ['up_proj', lm.config.layers],
      ['down_proj', lm.config.layers],
    ]);
    expect(sparsity!.mean).to.be.within(0.3, 0.5);
  });

  it('is the dense model where asked for', async () => {
    const options = {contextLength: 64, protocol: 'token'} as const;
    const dense = await lm.perplexity(printableText(120, 7), options);
    const off = await sparse.perplexity(printableText(120, 7), {...options, dense: true});
    expect(off.tokenPerplexity).to.be.closeTo(dense.tokenPerplexity, 1e-4 * dense.tokenPerplexity);
    expect(off.sparsity).to.equal(null);
    const on = await sparse.perplexity(printableText(120, 7), options);
    expect(on.tokenPerplexity).to.not.be.closeTo(dense.tokenPerplexity, 1e-3 * dense.tokenPerplexity);
  });

  it('is compared with the dense model over the same windows', async () => {
    const options = {contextLength: 48, protocol: 'token'} as const;
    const passage = printableText(47, 7);
    const {modes, sparsity, tokens} = await compareWithDense(sparse, passage, options);
    const {divergence, agreement} = modes[1];
    expect(modes.map(({mode}) => mode)).to.deep.equal(['fp32', 'sparse_activation']);
    expect([modes[0].divergence, modes[0].agreement, modes[0].sparsity]).to.deep.equal([0, 1, 0]);
    const {tokenPerplexity: dense} = await lm.perplexity(passage, options);
    const alone = await sparse.perplexity(passage, options);
    expect(modes[0].tokenPerplexity / dense).to.be.closeTo(1, 1e-4);
    expect(modes[1].tokenPerplexity / alone.tokenPerplexity).to.be.closeTo(1, 1e-4);
    expect(sparsity).to.deep.equal(alone.sparsity);
    expect(tokens).to.equal(47);

    const [{tokens: fed}] = sparse.windows(passage, options);
    const [kl, same] = tf.tidy(() => {
      const input = tf.tensor2d([[...fed]], undefined, 'int32');
      const [p, q] = [lm, sparse].map(({model}) => tf.logSoftmax(model.predict(input) as tf.Tensor));
      const agreeing = tf.equal(tf.argMax(p, -1), tf.argMax(q, -1));
      return [
        tf.mean(tf.sum(tf.mul(tf.exp(p), tf.sub(p, q)), -1)),
        tf.mean(tf.cast(agreeing, 'float32')),
      ].map((value) => value.dataSync()[0]);
    });
    expect(divergence / kl).to.be.closeTo(1, 1e-3);
    expect(agreement).to.be.closeTo(same, 1e-6);
    const againstBaseline = await compareWithDense(sparse, passage, {...options, baseline: lm});
    expect(againstBaseline.modes[1].divergence / divergence).to.be.closeTo(1, 1e-3);
    expect(await failureCode(() => compareWithDense(lm, passage, options))).to.equal('not-sparsified');
  });

  it('is put beside INT8 and sparse in one table, as NNCF has it', async () => {
    const options = {contextLength: 48, protocol: 'token'} as const;
    const passage = printableText(47, 7);
    const int8 = sparse.withModel(await compressWeights(sparse.model));
    const {modes, sparsity} = await compareWithDense([sparse, int8], passage, {...options, baseline: lm});
    expect(modes.map(({mode}) => mode)).to.deep.equal([
      'fp32',
      'sparse_activation',
      'int8_asym + sparse_activation',
    ]);
    const alone = await int8.perplexity(passage, options);
    expect(modes[2].tokenPerplexity / alone.tokenPerplexity).to.be.closeTo(1, 1e-4);
    expect(sparsity).to.deep.equal(alone.sparsity);
    expect(modes[1].tokenPerplexity).to.not.equal(modes[2].tokenPerplexity);
    int8.dispose();
  });

  it('is put beside INT8 alone too, which masks nothing', async () => {
    const options = {contextLength: 48, protocol: 'token'} as const;
    const passage = printableText(47, 7);
    const int8 = lm.withModel(await compressWeights(lm.model));
    const {tokenPerplexity} = await int8.perplexity(passage, options);
    for (const models of [[int8, sparse], [int8]]) {
      const {modes, sparsity} = await compareWithDense(models, passage, {...options, baseline: lm});
      expect(modes.map(({mode}) => mode)).to.deep.equal(
        ['fp32', 'int8_asym', 'sparse_activation'].slice(0, 1 + models.length),
      );
      expect(modes[1].sparsity).to.equal(0);
      expect(modes[1].tokenPerplexity / tokenPerplexity).to.be.closeTo(1, 1e-4);
      expect(sparsity === null).to.equal(models.length === 1);
    }
    int8.dispose();
  });

  it('computes the prompt dense, or, on request, sparse but for its first tokens', async () => {
    const prompt = printableIds(40, 9);
    const first = async (model: LanguageModel, prefill?: 'sparse' | 'dense' | number) => {
      return (await model.generate(prompt, {maxTokens: 1, prefill})).tokens[0];
    };
    const dense = await first(lm, 'sparse');
    expect(await first(sparse, 'dense')).to.equal(dense);
    expect(await first(sparse)).to.equal(dense);
    expect(await first(sparse, prompt.length)).to.equal(dense);
    expect(await first(sparse, 0)).to.equal(await first(sparse, 'sparse'));
    const all = await sparse.generate(prompt, {maxTokens: 12, prefill: 1000});
    expect(all.tokens).to.deep.equal((await lm.generate(prompt, {maxTokens: 12})).tokens);
  });

  it('sees thresholds that change between calls', async () => {
    const prompt = input_ids[0];
    const before = await sparse.generate(prompt, {maxTokens: 12});
    const targets = new Map(inspect(sparse.model).map(({path, target}) => [path, target]));
    retarget(sparse.model, {[PROJECTIONS.gateUp]: 0.95, [PROJECTIONS.down]: 0.95});
    const changed = await sparse.generate(prompt, {maxTokens: 12});
    expect(changed.tokens).to.not.deep.equal(before.tokens);
    retarget(sparse.model, {[PROJECTIONS.gateUp]: 0.3, [PROJECTIONS.down]: 0.5});
    expect(new Map(inspect(sparse.model).map(({path, target}) => [path, target]))).to.deep.equal(targets);
  });

  it('is saved and loaded whole', async () => {
    await sparse.save(folder);
    const loaded = await loadLanguageModel(folder);
    expect(loaded.config).to.deep.equal(sparse.config);
    expect(loaded.tokenizer!.source).to.deep.equal(sparse.tokenizer!.source);
    expect(inspect(loaded.model)).to.deep.equal(inspect(sparse.model));
    expect(statisticsOf(loaded.model).toJSON()).to.deep.equal(statisticsOf(sparse.model).toJSON());
    const expected = await sparse.generate('Hello', {maxTokens: 20});
    expect((await loaded.generate('Hello', {maxTokens: 20})).text).to.equal(expected.text);
    loaded.dispose();
  });

  it('is a plain LayersModel for whoever loads the model.json', async () => {
    await sparse.save(folder);
    const model = await loadLayersModel(join(folder, 'model.json'));
    const input = tf.tensor2d([[...input_ids[0]]], undefined, 'int32');
    const [got, expected] = [model, sparse.model].map((each) =>
      (each.predict(input) as tf.Tensor).dataSync(),
    );
    expect(got).to.deep.equal(expected);
    input.dispose();
    model.dispose();
  });
});
