import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {Command, CommanderError} from 'commander';
import {openBenchInputs} from '../../lib/cli/bench-inputs.js';
import {addDataOptions, checkDataFormat, isTextFile, openData, type DataOptions} from '../../lib/cli/data.js';
import {Interruption, interruptible} from '../../lib/cli/interrupt.js';
import {
  addGenerationOptions,
  describeGeneration,
  generateOptions,
  type GenerationCommandOptions,
} from '../../lib/cli/generation.js';
import {encodeNpy} from '../../lib/io/data/npy.js';
import {checkForLeaks} from '../support/backends.js';
import {failure} from '../support/io/files.js';
import {addWindowOptions} from '../../lib/cli/windows.js';

describe('--data', () => {
  let folder = '';
  let model: tf.LayersModel;
  const at = (name: string) => join(folder, name);
  before(async () => {
    await tf.setBackend('cpu');
    folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-data-'));
    writeFileSync(at('x.jsonl'), Array.from({length: 70}, (_, i) => `[${i}, ${-i}]\n`).join(''));
    writeFileSync(
      at('x.npy'),
      encodeNpy(
        Float32Array.from({length: 140}, (_, i) => i),
        [70, 2],
      ),
    );
    writeFileSync(at('bytes.npy'), encodeNpy(Uint8Array.of(0, 255, 51, 102), [2, 2]));
    writeFileSync(at('empty.npy'), encodeNpy(new Float32Array(0), [0, 2]));
    model = tf.sequential({layers: [tf.layers.dense({units: 1, inputShape: [2]})]});
    model.build([null, 2]);
  });
  after(() => {
    model.dispose();
    rmSync(folder, {recursive: true});
  });
  checkForLeaks();

  /** Shapes and first values of the batches; the data set frees them. */
  async function batches(options: DataOptions): Promise<{length: number | null; seen: [number, number][]}> {
    const data = await openData(model, options);
    const seen: [number, number][] = [];
    for await (const batch of data.getInferenceData()) {
      const tensor = batch as tf.Tensor;
      seen.push([tensor.shape[0], tensor.dataSync()[0]]);
    }
    return {length: data.length, seen};
  }

  it('comes in batches of 32 items, or of as many as are asked for', async () => {
    expect(await batches({data: at('x.npy')})).to.deep.equal({
      length: 3,
      seen: [
        [32, 0],
        [32, 64],
        [6, 128],
      ],
    });
    expect((await batches({data: at('x.jsonl')})).length).to.equal(null);
    expect((await batches({data: at('x.jsonl'), batchSize: 40})).seen).to.deep.equal([
      [40, 0],
      [30, 40],
    ]);
  });

  it('is read no further than --batches', async () => {
    expect(await batches({data: at('x.npy'), batches: 2})).to.deep.equal({
      length: 2,
      seen: [
        [32, 0],
        [32, 64],
      ],
    });
    expect((await batches({data: at('x.npy'), batches: 9})).length).to.equal(3);
    expect(await batches({data: at('x.jsonl'), batches: 1})).to.deep.equal({length: null, seen: [[32, 0]]});
  });

  it('asks for a scale where it holds bytes, and multiplies with it', async () => {
    const error = await failure(batches({data: at('bytes.npy')}));
    expect(error.code).to.equal('bad-option');
    expect(error.message).to.include('--scale 0.00392').and.include('--scale 1');
    const data = await openData(model, {data: at('bytes.npy'), scale: 1 / 255});
    for await (const batch of data.getInferenceData())
      expect([...(batch as tf.Tensor).dataSync()]).to.deep.equal([0, 1, 0.2, 0.4].map(Math.fround));
  });

  it('asks for no scale where the model reads ids, which bytes may be', async () => {
    const words = tf.sequential({
      layers: [tf.layers.embedding({inputDim: 256, outputDim: 1, inputLength: 2})],
    });
    words.build([null, 2]);
    const data = await openData(words, {data: at('bytes.npy')});
    for await (const batch of data.getInferenceData())
      expect([...(batch as tf.Tensor).dataSync()]).to.deep.equal([0, 255, 51, 102]);
    words.dispose();
  });

  for (const [what, options, words] of [
    ['text for a model that is no language model', {data: 'a.txt'}, 'no language model'],
    ['a scale for text', {data: 'a.md', scale: 2}, '--scale does not concern'],
    ['a scale for a module', {data: 'a.mjs', scale: 2}, 'in the module'],
    ['sequences of items', {data: 'a.npy', sequences: 2}, '--sequences concern text'],
    ['a sequence length of items', {data: 'a.npy', sequenceLength: 2}, '--sequence-length'],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const error = await failure(openData(model, options));
      expect(error.code).to.equal('bad-option');
      expect(error.message).to.include(words);
    });
  }

  it('is known for text by its name, whatever its case', () => {
    expect(['a.txt', 'b.TXT', 'c.md', 'd.raw', 'e.text'].map(isTextFile)).to.deep.equal(Array(5).fill(true));
    expect(['a.npy', 'txt', 'a.txt.npy', 'a.jsonl'].map(isTextFile)).to.deep.equal(Array(4).fill(false));
    expect(() => checkDataFormat('a.csv'))
      .to.throw()
      .with.property('code', 'unsupported-format');
    checkDataFormat('a.txt');
    checkDataFormat('a.npz');
  });

  it('is given once', () => {
    const command = addDataOptions(
      new Command().exitOverride().configureOutput({writeErr: () => undefined}),
      'data',
    );
    expect(() => command.parse(['--data', 'a.txt', '--data', 'b.txt'], {from: 'user'}))
      .to.throw(CommanderError)
      .with.property('message')
      .that.includes('twice, after a.txt');
  });

  describe('as inputs to time a model on', () => {
    it('gives the first rows of a batch, and calibration data', async () => {
      const inputs = await openBenchInputs(model, {data: at('x.npy'), rows: 3});
      expect(inputs.tensors.map(({shape}) => shape)).to.deep.equal([[3, 2]]);
      expect([...inputs.tensors[0].dataSync()]).to.deep.equal([0, 1, 2, 3, 4, 5]);
      const sizes: number[] = [];
      for await (const batch of inputs.calibration.getInferenceData())
        sizes.push((batch as tf.Tensor).shape[0]);
      expect(sizes).to.deep.equal([16, 16, 16, 16, 6]);
      inputs.dispose();
    });

    it('gives as many rows as there are, also more than a batch of calibration has otherwise', async () => {
      for (const rows of [70, 40]) {
        const inputs = await openBenchInputs(model, {data: at('x.npy'), rows});
        expect(inputs.tensors[0].shape).to.deep.equal([rows, 2]);
        inputs.dispose();
      }
    });

    it('gives random ones without data, 256 rows for calibration', async () => {
      const inputs = await openBenchInputs(model, {rows: 4});
      expect(inputs.tensors[0].shape).to.deep.equal([4, 2]);
      for await (const batch of inputs.calibration.getInferenceData())
        expect([batch].flat().map((tensor) => (tensor as tf.Tensor).shape)).to.deep.equal([[256, 2]]);
      inputs.dispose();
    });

    it('says that there are too few items, or none', async () => {
      const few = await failure(openBenchInputs(model, {data: at('bytes.npy'), scale: 1, rows: 3}));
      expect(few.code).to.equal('too-few-items');
      expect(few.message).to.include('--rows is 3').and.include('has 2 items: ask for at most as many');
      expect(few.data).to.deep.equal({rows: 3, items: 2});
      expect((await failure(openBenchInputs(model, {data: at('empty.npy'), rows: 1}))).code).to.equal(
        'empty',
      );
    });
  });
});

describe('an interruption', () => {
  it('has the exit code of its signal', () => {
    expect(new Interruption('SIGINT').exitCode).to.equal(130);
    expect(new Interruption('SIGTERM').exitCode).to.equal(143);
    expect(new Interruption('SIGTERM')).to.include({name: 'AbortError', message: 'stopped by SIGTERM'});
  });

  it('aborts the signal of the work, once; then signals have their usual effect again', async () => {
    const before = ['SIGINT', 'SIGTERM'].map((name) => process.listenerCount(name));
    const counts = () => ['SIGINT', 'SIGTERM'].map((name) => process.listenerCount(name));
    const reason = await interruptible((signal) => {
      expect(counts()).to.deep.equal(before.map((count) => count + 1));
      process.emit('SIGTERM', 'SIGTERM');
      expect(counts()).to.deep.equal(before);
      return Promise.resolve(signal.reason as unknown);
    });
    expect(reason).to.be.instanceOf(Interruption).with.property('exitCode', 143);
    expect(await interruptible(() => Promise.resolve(7))).to.equal(7);
    expect(counts()).to.deep.equal(before);
    const failed = interruptible(() => Promise.reject(new Error('own')));
    expect(await failed.catch((error: Error) => error.message)).to.equal('own');
    expect(counts()).to.deep.equal(before);
  });
});

describe('options of windows', () => {
  const parse = (...args: string[]) =>
    addWindowOptions(new Command().exitOverride().configureOutput({writeErr: () => undefined}))
      .parse(args, {from: 'user'})
      .opts();

  it('are counts, and one of two protocols', () => {
    expect(parse('-w', '4', '--protocol', 'word', '--context-length', '32')).to.deep.equal({
      ...{windows: 4, protocol: 'word', contextLength: 32},
    });
    expect(parse('--protocol', 'token')).to.deep.equal({protocol: 'token'});
    expect(() => parse('--protocol', '')).to.throw(CommanderError);
  });
});

describe('options of generation', () => {
  const parse = (...args: string[]) =>
    addGenerationOptions(new Command().exitOverride().configureOutput({writeErr: () => undefined}), 0.7)
      .parse(args, {from: 'user'})
      .opts<GenerationCommandOptions>();

  it('are what the library takes, with their defaults', () => {
    expect(generateOptions(parse())).to.deep.equal({
      ...{maxTokens: 256, temperature: 0.7, topP: undefined, topK: undefined, seed: undefined},
      ...{stop: undefined, prefill: undefined},
    });
    const all = [
      '-n',
      '5',
      '--temperature',
      '0',
      '--top-p',
      '0.9',
      '--top-k',
      '40',
      '--seed',
      '-3',
      '--stop',
      'a',
      '--stop',
      'b',
    ];
    expect(generateOptions(parse(...all, '--prefill', 'sparse'))).to.deep.equal({
      ...{maxTokens: 5, temperature: 0, topP: 0.9, topK: 40, seed: -3, stop: ['a', 'b'], prefill: 'sparse'},
    });
    expect(parse('--prefill', 'dense').prefill).to.equal('dense');
    expect(parse('--prefill', '0').prefill).to.equal(0);
    expect(parse('--prefill', '12').prefill).to.equal(12);
  });

  for (const text of ['-1', '1.5', 'some', ''])
    it(`refuse the policy "${text}"`, () => {
      expect(() => parse(`--prefill=${text}`))
        .to.throw(CommanderError)
        .with.property('message')
        .that.includes('It must be sparse, dense, or how many leading tokens are dense.');
    });

  it('are told in one line', () => {
    const generation = {
      promptTokens: 12,
      tokens: [1, 2, 3],
      timeToFirstTokenMs: 41.6,
      tokensPerSecond: 12.345,
    };
    expect(describeGeneration(generation as unknown as Parameters<typeof describeGeneration>[0])).to.equal(
      '12 prompt tokens, first token after 42 ms, then 3 tokens at 12.3 a second',
    );
  });
});
