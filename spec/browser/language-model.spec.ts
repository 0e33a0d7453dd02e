/** @file Language models in a page of a real browser: the worker does what Node does, and whatever goes wrong says so. */
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {setTimeout} from 'node:timers/promises';
import {expect} from 'chai';
import {
  IgnoredScope,
  TargetScope,
  retarget,
  type Allocation,
  type DenseReport,
  type WeightReport,
} from '../../lib/index.js';
import {
  PROJECTIONS,
  allocateLanguageModel,
  sparsifyLanguageModel,
  type BytesPerToken,
  type LanguageModel,
  type PageMemory,
  type Perplexity,
  type SparsityReport,
} from '../../lib/language/index.js';
import {bundleOf} from '../support/browser/bundle.js';
import {inBrowser} from '../support/browser/in-browser.js';
import {tinyFolder} from '../support/language/tiny-checkpoints.js';
import {TINY_LANGUAGE_MODEL, loadTiny, printableText} from '../support/language/tiny-language-models.js';
import type * as entry from './pages/language-model.js';

const PAGE = 'spec/browser/pages/language-model.ts';
const DATA = {sequences: 8, sequenceLength: 32, batchSize: 2} as const;
const TEXT = printableText(1024, 1);
const GREEDY = {maxTokens: 24, temperature: 0} as const;

/** What calibration found, but for figures that depend on the order of sums. */
function found(report: readonly DenseReport[]) {
  return report.map(({path, target, sparsified}) => ({path, target, sparsified}));
}

/** float32 sums of other orders: of activations of some units' magnitude. */
function expectThresholds(got: readonly DenseReport[], wanted: readonly DenseReport[]): void {
  expect(found(got)).to.deep.equal(found(wanted));
  for (const [i, {path, threshold}] of wanted.entries()) {
    if (threshold === null) expect(got[i].threshold, path).to.equal(null);
    else expect(got[i].threshold, path).to.be.closeTo(threshold, 1e-4 * Math.abs(threshold));
  }
}

describe('a language model in a page', function () {
  this.timeout(120_000);
  const folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-spec-'));
  const browser = inBrowser({
    folders: {'/models': folder, '/tiny': tinyFolder(TINY_LANGUAGE_MODEL)},
  });
  const page = browser.in<typeof entry>(PAGE);
  let lm: LanguageModel;

  before(async () => {
    lm = await loadTiny();
    await lm.save(join(folder, 'tiny'));
    browser.site.put('/worker.js', await bundleOf('lib/language/page/worker.ts'));
  });
  afterEach(async () => page.dispose());
  after(() => {
    lm.dispose();
    rmSync(folder, {recursive: true});
  });

  /** But for the threads of decoders, which end with their worker, and of whose end puppeteer does not always hear. */
  const workers = () =>
    browser.page.workers().filter((worker) => !worker.url().endsWith('#decoder-thread')).length;
  /** The browser tells of the end of a worker a moment after it. */
  const noWorkers = async () => {
    while (workers() > 0) await setTimeout(5);
  };

  describe('does what Node does', () => {
    beforeEach(async () => {
      await page.load('models/tiny');
    });

    it('is loaded by a URL, in one worker', async () => {
      const {config, hasTokenizer, backend} = await page.load('models/tiny/model.json');
      expect(config).to.deep.equal(lm.config);
      expect(hasTokenizer).to.equal(true);
      expect(backend.name).to.equal('wasm');
      expect(backend.threads).to.be.at.least(1);
      expect(backend.why).to.be.a('string').that.does.not.include('isolated');
      expect(workers()).to.equal(1);
    });

    it('is loaded from a GGUF file and from a folder of Hugging Face, and made INT8 meanwhile', async () => {
      const {tokens} = await lm.generate('Once upon', GREEDY);
      const {config} = await page.load('/tiny/model-f32.gguf');
      expect(config).to.deep.equal(lm.config);
      expect((await page.generate('Once upon', GREEDY)).tokens).to.deep.equal(tokens);
      expect((await page.load('/tiny/')).hasTokenizer).to.equal(false);
      const stages = await page.loadWithProgress('/tiny/model-f32.gguf', {compress: 'int8_asym'});
      expect(stages).to.deep.equal(['memory', 'download', 'weights']);
      const weights = (await page.ask('inspectWeights')) as WeightReport[];
      expect(new Set(weights.map(({format}) => format))).to.deep.equal(new Set(['int8_asym']));
    });

    it('generates the same', async () => {
      const {tokens, text, finishReason, promptTokens} = await lm.generate('Once upon', GREEDY);
      const got = await page.generate('Once upon', GREEDY);
      expect(got).to.deep.include({tokens, text, finishReason, promptTokens});
      const seeded = {maxTokens: 12, temperature: 1, topK: 40, seed: 5};
      expect((await page.generate([5, 6, 7], seeded)).tokens).to.deep.equal(
        (await lm.generate([5, 6, 7], seeded)).tokens,
      );
    });

    it('streams the same, and goes on after the loop was left', async () => {
      const {tokens, text} = await lm.generate('Once upon', GREEDY);
      const all = await page.stream('Once upon', GREEDY);
      expect(all.tokens.filter((id) => id !== null)).to.deep.equal(tokens);
      expect(all.text).to.equal(text);
      expect((await page.stream('Once upon', GREEDY, 3)).tokens).to.deep.equal(tokens.slice(0, 3));
      expect((await page.generate('Once upon', GREEDY)).tokens).to.deep.equal(tokens);
    });

    it('answers two prompts at once, each as it is answered alone', async () => {
      const prompts = ['Once upon', [9, 8, 7, 6]] as const;
      const alone = [];
      for (const prompt of prompts) alone.push((await lm.generate(prompt, GREEDY)).tokens);
      const together = await page.generateTogether(prompts, GREEDY);
      expect(together.map(({tokens}) => tokens)).to.deep.equal(alone);
    });

    it('scores the same', async () => {
      const ids = lm.tokenizer!.encode('A text that is scored.');
      const scores = [...(await lm.score(ids))];
      const got = (await page.ask('score', ids)) as number[];
      expect(got).to.have.length(scores.length);
      got.forEach((score, i) => expect(score).to.be.closeTo(scores[i], 1e-3));
      const options = {protocol: 'token', contextLength: 64} as const;
      const wanted = await lm.perplexity(TEXT.slice(0, 200), options);
      const perplexity = (await page.ask('perplexity', TEXT.slice(0, 200), options)) as Perplexity;
      expect(perplexity.tokens).to.equal(wanted.tokens);
      expect(perplexity.tokenPerplexity).to.be.closeTo(wanted.tokenPerplexity, 1e-3 * wanted.tokenPerplexity);
    });

    it('encodes and decodes the same', async () => {
      const {tokenizer} = lm;
      const ids = tokenizer!.encode('Grüße', {addSpecialTokens: true});
      expect(await page.ask('encode', 'Grüße', {addSpecialTokens: true})).to.deep.equal(ids);
      expect(await page.ask('decode', ids, {skipSpecialTokens: true})).to.equal('Grüße');
      expect(await page.ask('encodePrompt', 'Once')).to.deep.equal(lm.encodePrompt('Once'));
    });
  });

  describe('is sparsified in the page', () => {
    const progress: unknown[] = [];
    let wanted: DenseReport[];
    let allocation: Allocation;
    let allocated: DenseReport[];
    before(async () => {
      const sparse = await loadTiny();
      wanted = await sparsifyLanguageModel(sparse, TEXT, {
        targetSparsityByScope: [
          [new TargetScope({patterns: [PROJECTIONS.gateUp]}), 0.3],
          [new TargetScope({patterns: [PROJECTIONS.down]}), 0.5],
        ],
        ignoredScope: new IgnoredScope({patterns: ['.*layers[.]1[.].*'], validate: false}),
        ...DATA,
        onProgress: (value) => progress.push(value),
      });
      sparse.dispose();
      const other = await loadTiny();
      allocation = await allocateLanguageModel(other, TEXT, {target: 0.4, sequences: 4, sequenceLength: 64});
      await sparsifyLanguageModel(other, TEXT, {targetSparsityByScope: allocation, ...DATA});
      allocated = retarget(other.model, allocation);
      other.dispose();
    });
    beforeEach(async () => {
      await page.load('models/tiny');
    });

    it('to the thresholds that Node finds on the text, and tells how far it is', async () => {
      const {report, progress: seen} = await page.sparsify(TEXT, true);
      expectThresholds(report, wanted);
      expect(report.some(({sparsified}) => sparsified)).to.equal(true);
      expect(seen).to.deep.equal(progress);
      expectThresholds((await page.ask('inspect')) as DenseReport[], wanted);
    });

    it('by an allocation that was found there', async () => {
      const got = await page.allocateAndSparsify(TEXT);
      expect(got.allocation.layers.map(({path}) => path)).to.deep.equal(
        allocation.layers.map(({path}) => path),
      );
      got.allocation.layers.forEach(({target}, i) =>
        expect(target).to.be.closeTo(allocation.layers[i].target, 5e-3),
      );
      expect(got.report.map(({path}) => path)).to.deep.equal(allocated.map(({path}) => path));
    });

    it('and retargeted at once, amid a generation too', async () => {
      await page.sparsify(TEXT, false);
      await page.allocateAndSparsify(TEXT);
      const mean = async () => ((await page.ask('sparsity')) as SparsityReport).mean;
      await page.retarget(0.2);
      await page.generate('Once upon', GREEDY);
      const low = await mean();
      expect(low).to.be.within(0.1, 0.35);
      const report = await page.retarget(0.8);
      expect(new Set(report.filter(({sparsified}) => sparsified).map(({target}) => target))).to.deep.equal(
        new Set([0.8]),
      );
      await page.generate('Once upon', GREEDY);
      const high = await mean();
      expect(high).to.be.within(0.65, 0.95);
      await page.retarget(0.2);
      const amid = await page.retargetAmid(0.8, 'Once upon', {...GREEDY, maxTokens: 60});
      expect(amid.tokens).to.equal(60);
      expect(amid.sparsity!.mean).to.be.within((low + high) / 2, high + 0.1);
    });

    it('and reads fewer bytes then', async () => {
      const before = (await page.ask('bytesPerToken')) as BytesPerToken;
      expect(before.sparse).to.equal(before.dense);
      const {report} = await page.sparsify(TEXT, false);
      const after = (await page.ask('bytesPerToken')) as BytesPerToken;
      const saved = report.reduce((sum, {bytes, reached}) => sum + bytes * (reached ?? 0), 0);
      expect(after.dense).to.equal(before.dense);
      expect(after.sparse).to.be.closeTo(before.dense - saved, 1);
    });

    it('and compressed', async () => {
      const before = (await page.ask('memory')) as PageMemory;
      const weights = (await page.ask('compress', {mode: 'int8_sym'})) as WeightReport[];
      expect(new Set(weights.map(({format}) => format))).to.deep.equal(new Set(['int8_sym']));
      const after = (await page.ask('memory')) as PageMemory;
      expect(after.tensorBytes).to.be.below(0.5 * before.tensorBytes);
      expect((await page.generate('Once upon', GREEDY)).tokens).to.have.length(GREEDY.maxTokens);
    });
  });

  describe('is saved', () => {
    for (const target of ['opfs://a-model', 'indexeddb://a-model']) {
      it(`at ${target}, with its thresholds, and loaded from there`, async () => {
        await page.load('models/tiny');
        const {report} = await page.sparsify(TEXT, false);
        const {tokens} = await page.generate('Once upon', GREEDY);
        await page.saveAndReload(target);
        expect(await page.ask('inspect')).to.deep.equal(report);
        expect((await page.generate('Once upon', GREEDY)).tokens).to.deep.equal(tokens);
        const again = (await page.ask('retarget', {'.*layers[.]0[.]mlp.*': 0.7})) as DenseReport[];
        expect(again.filter(({target}) => target === 0.7)).to.have.length(3);
      });
    }

    it('as files, which a page loads', async () => {
      await page.load('models/tiny');
      const {report} = await page.sparsify(TEXT, false);
      const files = await page.reloadFromFiles();
      expect(files.map(({name}) => name)).to.have.length(2);
      expect(files[0].name).to.match(/^model-weights-[0-9a-f]{16}\.bin$/);
      expect(files[1].name).to.equal('model.json');
      expect(await page.ask('inspect')).to.deep.equal(report);
    });

    it('and one that is not there is told', async () => {
      expect(await page.loadFailure('opfs://none')).to.deep.include({
        name: 'FileError',
        code: 'missing-file',
        data: {name: 'none'},
      });
      await noWorkers();
    });
  });

  describe('when something goes wrong', () => {
    it('ends a generation amid its tokens with the reason of its signal, and takes the next one', async () => {
      await page.load('models/tiny');
      const {tokens} = await lm.generate('Once upon', GREEDY);
      const options = {maxTokens: lm.config.contextLength, temperature: 0};
      expect(await page.abortAfter(2, 'Once upon', options)).to.deep.equal({seen: 2, isReason: true});
      expect((await page.generate('Once upon', GREEDY)).tokens).to.deep.equal(tokens);
    });

    it('ends a generation in which a function of the page throws', async () => {
      await page.load('models/tiny');
      expect(await page.throwInCallback('Once upon')).to.deep.equal({
        name: 'RangeError',
        message: 'RangeError: of the page',
      });
    });

    const FAILURES: readonly [
      method: keyof typeof lm | 'sparsify' | 'retarget',
      args: unknown[],
      error: object,
    ][] = [
      ['generate', ['x', {maxTokens: 0}], {name: 'SparsifyError', code: 'bad-option'}],
      ['generate', ['x', {maxToken: 1}], {name: 'SparsifyError', code: 'unknown-option'}],
      ['generate', [[], {}], {name: 'SparsifyError', code: 'empty-prompt'}],
      ['generate', [[{role: 'user', content: 'Hi'}], {}], {name: 'ModelError', code: 'no-chat-template'}],
      ['sparsify', ['x', {targetSparsityByScope: {'.*': 0.5}}], {name: 'DatasetError', code: 'too-short'}],
      [
        'sparsify',
        [TEXT, {targetSparsityByScope: {'.*': 2}}],
        {name: 'ScopeError', code: 'target-out-of-range'},
      ],
      ['retarget', [{'.*': 0.5}], {name: 'ModelError', code: 'no-statistics'}],
      ['save', ['opfs://a/b'], {name: 'FileError', code: 'bad-name'}],
    ];
    for (const [method, args, error] of FAILURES) {
      it(`throws ${Object.values(error).join(' ')} for ${method}(${JSON.stringify(args).slice(1, -1).slice(-60)})`, async () => {
        await page.load('models/tiny');
        expect(await page.failure(method as 'generate', ...args)).to.deep.include(error);
      });
    }

    it('tells of a file that is missing, and leaves no worker', async () => {
      expect(await page.loadFailure('models/none')).to.deep.include({name: 'FileError'});
      browser.takeErrors(); // the browser itself tells of the answer 404
      await noWorkers();
    });

    it('ends loading with the reason of its signal, and leaves no worker', async () => {
      expect(await page.abortLoading('models/tiny')).to.deep.equal({
        name: 'Error',
        message: 'Error: changed my mind',
      });
      await noWorkers();
    });

    it('ends all calls when it is disposed of, those to come too', async () => {
      await page.load('models/tiny');
      const {amid, after} = await page.disposeAmid('Once upon', {maxTokens: lm.config.contextLength});
      expect(amid).to.deep.include({name: 'SparsifyError', code: 'model-disposed'});
      expect(after).to.deep.include({name: 'SparsifyError', code: 'model-disposed'});
      await noWorkers();
    });

    it('ends all calls when its worker was ended by others', async () => {
      await page.loadInWorkerOf('/worker.js', 'models/tiny');
      const {amid, after} = await page.killWorker('Once upon', {maxTokens: lm.config.contextLength});
      expect(amid).to.deep.include({name: 'BackendError', code: 'worker-lost'});
      expect(after).to.deep.include({name: 'BackendError', code: 'worker-lost'});
    });

    it('tells of a worker that is not there, or that a policy forbids, and takes one from a URL', async () => {
      expect(await page.loadFailure('models/tiny', {worker: '/none.js'})).to.deep.include({
        name: 'BackendError',
        code: 'worker-not-started',
      });
      browser.takeErrors();
      browser.site.put(
        '/policy.html',
        '<!doctype html><html lang="en"><meta http-equiv="Content-Security-Policy" content="worker-src \'self\'"><title>spec</title></html>',
      );
      await browser.page.goto(`${browser.site.url}/policy.html`);
      try {
        expect(await page.loadFailure('models/tiny')).to.deep.include({
          name: 'BackendError',
          code: 'worker-not-started',
        });
        browser.takeErrors();
        const {config} = await page.load('models/tiny', {worker: '/worker.js'});
        expect(config).to.deep.equal(lm.config);
        await page.dispose();
      } finally {
        await browser.page.goto(browser.site.url);
      }
    });
  });
});
