import {existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import type {Command} from 'commander';
import {evaluateCommand} from '../../lib/cli/commands/evaluate.js';
import {fetchCommand} from '../../lib/cli/commands/fetch.js';
import {generateCommand} from '../../lib/cli/commands/generate.js';
import {importCommand} from '../../lib/cli/commands/import.js';
import {perplexityCommand} from '../../lib/cli/commands/perplexity.js';
import {reportCommand} from '../../lib/cli/commands/report.js';
import {sparsifyCommand} from '../../lib/cli/commands/sparsify.js';
import {loadLanguageModel, type Generation, type LanguageModel} from '../../lib/language/index.js';
import '../support/backends.js';
import {runCommand, type Run} from '../support/run-command.js';

/** Random weights and a byte-level vocabulary. */
const TINY = fileURLToPath(new URL('../fixtures/tiny/llama3-gqa-rope/model-f32.gguf', import.meta.url));
const TIED = fileURLToPath(new URL('../fixtures/tiny/smollm-tied-bf16', import.meta.url));
const TEXT = 'The quick brown fox jumps over the lazy dog, again and again and again. '.repeat(12);
const WINDOWS = ['--windows', '1', '--context-length', '32', '--protocol', 'token'];

const cells = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/ {2,}/));

describe('commands of language models, run in this process', function () {
  this.timeout(120_000);
  let folder = '';
  let backend = '';
  let lm: LanguageModel;
  const at = (file: string) => join(folder, file);
  const {argv} = process;
  before(async () => {
    backend = tf.getBackend();
    await tf.setBackend('cpu');
    folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-language-'));
    writeFileSync(at('text.txt'), TEXT);
    lm = await loadLanguageModel(TINY);
    const {stdout} = await well(importCommand(), [TINY, '-o', at('tiny'), '--json']);
    imported = stdout;
    await well(sparsifyCommand(), [
      ...[at('tiny'), '-d', at('text.txt'), '-t', '@down=0.5', '-o', at('sparse')],
      ...['--sequence-length', '16', '--sequences', '4'],
    ]);
  });
  after(async () => {
    lm.dispose();
    rmSync(folder, {recursive: true});
    await tf.setBackend(backend);
  });
  afterEach(() => (process.argv = argv));
  let imported = '';

  const run = (command: Command, args: readonly string[]): Promise<Run> => {
    process.argv = [...argv.slice(0, 2), command.name(), ...args];
    return runCommand(command, args);
  };
  const well = async (command: Command, args: readonly string[]): Promise<Run> => {
    const result = await run(command, args);
    if (result.error !== null) throw result.error;
    return result;
  };

  describe('import', () => {
    it('says what it saved', async () => {
      const {out, config, tokenizer, weights, dense} = JSON.parse(imported) as Record<string, unknown>;
      expect({out, tokenizer, weights}).to.deep.equal({
        ...{out: at('tiny'), tokenizer: true, weights: lm.model.countParams()},
      });
      expect(config).to.deep.include({architecture: 'llama', layers: lm.config.layers});
      const {stdout, stderr} = await well(importCommand(), [TINY, '-o', at('again')]);
      expect(stdout).to.equal(
        `llama, ${lm.config.layers} layers, ${lm.model.countParams().toLocaleString('en')} weights, ` +
          `context of ${lm.config.contextLength} tokens, with tokenizer, ${String(dense)} Dense layers\nsaved to ${at('again')}\n`,
      );
      expect(dense).to.equal(lm.config.layers * 7 + 1); // q, k, v, o, gate, up, down of each block, and the head
      expect(stderr).to.match(/reading .*: 1\/1 million weights/);
      expect(readFileSync(at('again/README.md'), 'utf8')).to.include('tfjs-sparsify import');
    });
  });

  describe('a model without tokenizer', () => {
    it('is imported, and generates ids from ids', async () => {
      const {stdout} = await well(importCommand(), [TIED, '-o', at('tied')]);
      expect(stdout).to.include(', without tokenizer: prompts are token ids, ');
      const ids = ['--ids', '1,2', '-n', '3'];
      const tied = await loadLanguageModel(TIED);
      const {tokens} = await tied.generate([1, 2], {maxTokens: 3});
      tied.dispose();
      expect((await well(generateCommand(), [at('tied'), ...ids])).stdout).to.equal(
        tokens.map((id) => `${id} `).join(''),
      );
    });
  });

  describe('sparsify', () => {
    it('writes the same block by block', async () => {
      const args = [
        TINY,
        '-d',
        at('text.txt'),
        '-t',
        '@down=0.5',
        '--sequence-length',
        '16',
        '--sequences',
        '4',
      ];
      type Layers = {
        layers: {path: string; target: number | null; threshold: number | null}[];
        allocation: null;
      };
      const streamed = await well(sparsifyCommand(), [...args, '--stream', '-o', at('streamed'), '--json']);
      const whole = await well(sparsifyCommand(), [...args, '-o', at('whole'), '--json']);
      const [a, b] = [streamed, whole].map(({stdout}) => JSON.parse(stdout) as Layers);
      expect(streamed.stderr).to.match(/sparsifying: \d+\/\d+ parts/);
      const shares = ({layers}: Layers) => layers.map(({path, target}) => [path, target]);
      expect(shares(a)).to.deep.equal(shares(b));
      expect(shares(a).filter(([, target]) => target === 0.5)).to.have.length(lm.config.layers);
      expect(a.allocation).to.equal(null);
      expect(readFileSync(at('streamed/README.md'), 'utf8')).to.include('--stream');
    });
  });

  describe('generate', () => {
    const PROMPT = 'ab';
    let expected: Generation;
    before(async () => {
      expected = await lm.generate(PROMPT, {maxTokens: 6});
    });

    it('writes the text as it comes, and times afterwards', async () => {
      const {stdout, stderr} = await well(generateCommand(), [at('tiny'), PROMPT, '-n', '6']);
      expect(stdout).to.equal(expected.text);
      expect(stderr).to.match(
        /\n\d+ prompt tokens, first token after \d+ ms, then 6 tokens at [\d.]+ a second\n$/,
      );
    });

    it('gives all of it with --json, and of ids as of their text', async () => {
      const ids = lm.tokenizer!.encode(PROMPT);
      for (const prompt of [[PROMPT], ['--ids', ids.join(', ')], ['--ids', ` ${ids.join(' ')},`]]) {
        const {stdout} = await well(generateCommand(), [at('tiny'), ...prompt, '-n', '6', '--json']);
        const {text, tokens, finishReason} = JSON.parse(stdout) as Generation;
        expect(tokens, prompt.join(' ')).to.have.length(6);
        if (prompt.length === 1)
          expect({text, tokens, finishReason}).to.deep.equal({
            ...{text: expected.text, tokens: expected.tokens, finishReason: 'length'},
          });
      }
    });

    it('refuses ids that are none, and ids as a chat', async () => {
      for (const args of [
        ['--ids', '1,x'],
        ['--ids', '--chat', '1,2'],
      ]) {
        const {error} = await run(generateCommand(), [at('tiny'), ...args]);
        expect(error).to.have.property('code', 'bad-option');
        expect(error!.message).to.equal(
          `PROMPT is ${JSON.stringify(args.at(-1))}; with --ids it must be token ids, as 1,5,20, and --chat has no place`,
        );
      }
    });

    it('takes --chat for a message, which this model has no form for', async () => {
      const {error} = await run(generateCommand(), [at('tiny'), '--chat', PROMPT]);
      expect(error).to.have.property('code', 'no-chat-template');
    });
  });

  describe('perplexity', () => {
    it('puts models beside each other, the baseline first', async () => {
      const args = [at('sparse'), '--baseline', at('tiny'), '-d', at('text.txt'), ...WINDOWS];
      const {stdout} = await well(perplexityCommand(), [...args, '--json']);
      type Row = {
        model: string;
        wordPerplexity: number;
        tokenPerplexity: number;
        tokens: number;
        words: number;
      };
      const {models} = JSON.parse(stdout) as {
        models: (Row & {sparsity: {mean: number; layers: object[]} | null})[];
      };
      expect(models.map(({model}) => model)).to.deep.equal([at('tiny'), at('sparse')]);
      const [dense, sparse] = models;
      const own = await lm.perplexity(TEXT, {windows: 1, contextLength: 32, protocol: 'token'});
      expect(dense.tokenPerplexity).to.be.closeTo(own.tokenPerplexity, 1e-3 * own.tokenPerplexity);
      expect([dense.tokens, dense.sparsity]).to.deep.equal([own.tokens, null]);
      expect(sparse.sparsity!.mean).to.be.within(0.4, 0.6);
      expect(sparse.sparsity!.layers).to.have.length(lm.config.layers);
      const table = await well(perplexityCommand(), [...args, '--report', at('perplexity.html')]);
      const lines = cells(table.stdout);
      expect(lines[0]).to.deep.equal([
        'model',
        'avg. activation sparsity',
        'word perplexity',
        'token perplexity',
      ]);
      const of = ({model, wordPerplexity, tokenPerplexity}: Row, share: string) => [
        ...[model, share, wordPerplexity.toFixed(3), tokenPerplexity.toFixed(3)],
      ];
      expect(lines[1]).to.deep.equal(of(dense, '-'));
      expect(lines[2]).to.deep.equal(of(sparse, `${(100 * sparse.sparsity!.mean).toFixed(1)} %`));
      expect(lines[4]).to.deep.equal([`${sparse.tokens} tokens, ${Math.round(sparse.words)} words`]);
      expect(lines.at(-1)![0]).to.equal('mean');
      const widths = table.stdout
        .split('\n')
        .slice(0, 3)
        .map((line) => line.length);
      expect(new Set(widths).size).to.equal(1); // numbers are set to the right
      expect(table.stderr).to.include(`scoring ${at('sparse')}: 1/1 windows`);
      expect(readFileSync(at('perplexity.html'), 'utf8'))
        .to.include('token perplexity')
        .and.include('text.txt');
    });
  });

  describe('evaluate', () => {
    it('compares with the dense model on text', async () => {
      const args = [at('sparse'), '-d', at('text.txt'), ...WINDOWS];
      const {stdout} = await well(evaluateCommand(), [...args, '--json']);
      type Mode = {mode: string; sparsity: number; divergence: number; agreement: number};
      const {modes, sparsity} = JSON.parse(stdout) as {modes: Mode[]; sparsity: {layers: object[]}};
      expect(modes.map(({mode}) => mode)).to.deep.equal(['fp32', 'sparse_activation']);
      expect(modes[0]).to.include({sparsity: 0, divergence: 0, agreement: 1});
      expect(modes[1].divergence).to.be.above(0);
      expect(sparsity.layers).to.have.length(lm.config.layers);
      const beside = await well(evaluateCommand(), [
        ...[...args, '--baseline', at('tiny'), '--report', at('evaluate.html')],
      ]);
      expect(
        cells(beside.stdout)
          .slice(1, 3)
          .map(([mode]) => mode),
      ).to.deep.equal(['fp32', 'sparse_activation']);
      expect(beside.stderr).to.include(`evaluating ${at('sparse')}: `);
      const page = readFileSync(at('evaluate.html'), 'utf8');
      expect(page).to.include('KL divergence');
      await well(evaluateCommand(), [...args, '--report', at('alone.html')]);
      const models = (text: string) => text.split('>model.json<').length + text.split('model.json,').length;
      expect(models(page)).to.be.above(models(readFileSync(at('alone.html'), 'utf8'))); // the baseline went in too
    });
  });

  describe('report', () => {
    it('measures text: quality, sparsity, errors, the speed of decoding', async () => {
      const args = [at('sparse'), '-d', at('text.txt'), ...WINDOWS, '-o', at('report.html'), '--json'];
      const {stdout} = await well(reportCommand(), args);
      const {contents} = JSON.parse(stdout) as {
        contents: {
          unit: string;
          quality: {rows: {name: string; values: (number | null)[]}[]; on: string};
          latency: {of: string; rows: {name: string; isDense: boolean}[]; on: string};
          measured: {
            layers: {path: string; actual: number | null; outputError: number | null}[];
            actualOn: string;
            errorsOn: string;
          };
        };
      };
      const {unit, quality, latency, measured} = contents;
      expect(unit).to.equal('token');
      expect(quality.rows.map(({name}) => name)).to.deep.equal(['dense (thresholds off)', 'sparse']);
      expect(quality.rows[0].values.slice(2)).to.deep.equal([null, null]);
      expect(quality.on).to.match(/^text\.txt, \d+ tokens, \d+ words$/);
      expect(latency.of).to.equal('token');
      expect(latency.rows.map(({name, isDense}) => [name, isDense])).to.deep.equal([
        ['dense (thresholds off)', true],
        ['sparse', false],
      ]);
      expect(latency.on).to.match(/^while decoding, backend cpu, /);
      expect(measured.actualOn).to.equal(`on ${quality.on}`);
      expect(measured.errorsOn).to.match(/^on \d+ rows of text\.txt$/);
      const masked = measured.layers.filter(({actual}) => actual !== null && actual > 0);
      expect(masked).to.have.length(lm.config.layers);
      for (const {outputError} of masked) expect(outputError).to.be.above(0);
    });

    it('measures a dense model alone by its perplexity', async () => {
      const args = [at('tiny'), '-d', at('text.txt'), ...WINDOWS, '-o', at('dense.html'), '--json'];
      const {contents} = JSON.parse((await well(reportCommand(), args)).stdout) as {
        contents: {quality: {metrics: {title: string}[]; rows: {name: string}[]}; measured: {actualOn: null}};
      };
      expect(contents.quality.metrics.map(({title}) => title)).to.deep.equal([
        'word perplexity',
        'token perplexity',
      ]);
      expect(contents.quality.rows.map(({name}) => name)).to.deep.equal(['tiny']);
      expect(contents.measured.actualOn).to.equal(null);
    });
  });

  it('fetch knows no model of another name', async () => {
    const {error, stdout} = await fetchCommand()
      .exitOverride()
      .parseAsync(['no-such-model'], {from: 'user'})
      .then(
        () => ({error: null, stdout: ''}),
        (error: Error & {code?: string}) => ({error, stdout: ''}),
      );
    expect(error).to.have.property('code', 'unknown-model');
    expect(stdout).to.equal('');
    expect(existsSync('no-such-model')).to.equal(false);
  });
});
