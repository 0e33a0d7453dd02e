import {existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import type {Command} from 'commander';
import {benchCommand, describeBreakEvens} from '../../lib/cli/commands/bench.js';
import {compressCommand} from '../../lib/cli/commands/compress.js';
import {evaluateCommand} from '../../lib/cli/commands/evaluate.js';
import {importCommand} from '../../lib/cli/commands/import.js';
import {inspectCommand} from '../../lib/cli/commands/inspect.js';
import {reportCommand} from '../../lib/cli/commands/report.js';
import {retargetCommand} from '../../lib/cli/commands/retarget.js';
import {sparsifyCommand} from '../../lib/cli/commands/sparsify.js';
import type {LayerTimes} from '../../lib/eval/layer-times.js';
import {saveLayersModel} from '../../lib/io/model/model-files.js';
import {encodeNpy} from '../../lib/io/data/npy.js';
import '../support/backends.js';
import {runCommand, type Run} from '../support/run-command.js';

/** Cells of a table's lines, by two spaces or more. */
const cells = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/ {2,}/));

describe('commands, run in this process', function () {
  this.timeout(60_000);
  let folder = '';
  let name = '';
  let backend = '';
  const at = (file: string) => join(folder, file);
  const {argv} = process;

  before(async () => {
    backend = tf.getBackend();
    await tf.setBackend('cpu');
    folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-runs-'));
    // y = x of four inputs, then their sum: what is masked is missing in it.
    const model = tf.sequential({
      layers: [
        tf.layers.dense({units: 4, inputShape: [4], useBias: false, name: 'copy'}),
        tf.layers.dense({units: 1, useBias: false, name: 'sum'}),
      ],
    });
    tf.tidy(() => model.setWeights([tf.eye(4), tf.ones([4, 1])]));
    await saveLayersModel(model, at('dense'));
    model.dispose();
    const flat = tf.sequential({layers: [tf.layers.flatten({inputShape: [2, 2]})]});
    await saveLayersModel(flat, at('flat'));
    flat.dispose();
    const conv = tf.sequential({
      layers: [tf.layers.conv1d({filters: 4, kernelSize: 2, inputShape: [4, 8], name: 'conv'})],
    });
    await saveLayersModel(conv, at('conv'));
    conv.dispose();
    // Magnitudes 1 to 4 in every row: half of them are 2 or less.
    const rows = [
      [1, 2, 3, 4],
      [4, 3, 2, 1],
      [2, 4, 1, 3],
      [3, 1, 4, 2],
    ];
    writeFileSync(at('x.npy'), encodeNpy(Float32Array.from(rows.flat()), [4, 4]));
    writeFileSync(at('y.npy'), encodeNpy(Float32Array.from([10, 10, 10, 12]), [4, 1]));
    writeFileSync(at('empty.npy'), encodeNpy(new Float32Array(0), [0, 4]));
    writeFileSync(at('text.txt'), 'some text');
    const made = await run(sparsifyCommand(), 'dense', [
      '-d',
      at('x.npy'),
      '-t',
      '.*=0.5',
      '-o',
      at('sparse'),
    ]);
    expect(made.error).to.equal(null);
  });
  after(async () => {
    rmSync(folder, {recursive: true});
    await tf.setBackend(backend);
  });
  beforeEach(() => (name = `out-${Math.random()}`));
  afterEach(() => (process.argv = argv));

  const run = (command: Command, model: string, args: readonly string[]): Promise<Run> => {
    process.argv = [...argv.slice(0, 2), command.name(), at(model), ...args];
    return runCommand(command, [at(model), ...args]);
  };
  const well = async (command: Command, model: string, args: readonly string[]): Promise<Run> => {
    const result = await run(command, model, args);
    if (result.error !== null) throw result.error;
    return result;
  };
  const json = async <T>(command: Command, model: string, args: readonly string[]): Promise<T> =>
    JSON.parse((await well(command, model, [...args, '--json'])).stdout) as T;
  const refusal = async (command: Command, model: string, args: readonly string[]): Promise<string> => {
    const {error, stdout} = await run(command, model, args);
    expect(error).to.have.property('code', 'bad-option');
    expect(stdout).to.equal('');
    return error!.message;
  };
  const inputs = {inputSize: 4, format: 'float32'};
  const dense = {sparsified: false, target: null, reached: null, threshold: null};
  const half = {sparsified: true, target: 0.5, reached: 0.5};
  const copy = {path: 'copy', units: 4, weightShare: 0.8, bytes: 64, ...inputs};
  const sum = {path: 'sum', units: 1, weightShare: 0.2, bytes: 16, ...inputs};

  describe('inspect', () => {
    it('tells of each layer', async () => {
      expect(await json(inspectCommand(), 'dense', [])).to.deep.equal({
        layers: [
          {...copy, ...dense},
          {...sum, ...dense},
        ],
      });
      const {stdout} = await well(inspectCommand(), 'dense', []);
      expect(cells(stdout)).to.deep.equal([
        ['layer', 'inputs', 'units', 'weights', 'format', 'size', 'target', 'reached', 'threshold'],
        ['copy', '4', '4', '80.0 %', 'float32', '64 B', '-', '-', '-'],
        ['sum', '4', '1', '20.0 %', 'float32', '16 B', '-', '-', '-'],
      ]);
    });

    it('tells what can be compressed of a model without Dense layers', async () => {
      const weights = [
        {path: 'conv', type: 'Conv1D', weight: 'kernel', shape: [2, 8, 4], format: 'float32', bytes: 256},
      ];
      expect(await json(inspectCommand(), 'conv', [])).to.deep.equal({layers: [], weights});
      const {stdout} = await well(inspectCommand(), 'conv', []);
      expect(stdout).to.match(
        /^no Dense layers, so nothing to sparsify; what tfjs-sparsify compress packs:\n\n/,
      );
      expect(cells(stdout)[3]).to.deep.equal(['conv', 'Conv1D', 'kernel', '2 x 8 x 4', 'float32', '256 B']);
      expect((await well(inspectCommand(), 'flat', [])).stdout).to.equal(
        'no Dense layers, so nothing to sparsify; and no weight that can be packed, so nothing to compress\n',
      );
    });
  });

  describe('sparsify', () => {
    it('saves a model that masks what it was told to, with its card', async () => {
      const {layers} = await json<{layers: {path: string; threshold: number}[]}>(
        inspectCommand(),
        'sparse',
        [],
      );
      expect(layers.map(({path}) => path)).to.deep.equal(['copy', 'sum']);
      expect(layers[0].threshold).to.be.within(2, 2.9999);
      expect(layers[1].threshold).to.equal(0); // half of what comes from the first is masked already
      const card = readFileSync(at('sparse/README.md'), 'utf8');
      expect(card).to.include("tfjs-sparsify sparsify dense -d x.npy -t '.*=0.5' -o sparse");
    });

    it('says what it did', async () => {
      const args = ['-d', at('x.npy'), '-t', '.*=0.5', '-i', 'sum', '-o', at(name)];
      const {layers, ...rest} = await json<{layers: {threshold: number | null}[]}>(
        sparsifyCommand(),
        'dense',
        args,
      );
      expect(rest).to.deep.equal({out: at(name), formats: null, allocation: null, warnings: []});
      const [{threshold, ...first}, second] = layers;
      expect(first).to.deep.equal({...copy, ...half, weightShare: 16 / 21}); // the threshold is a weight too
      expect(threshold).to.be.within(2, 2.9999);
      expect(second).to.deep.equal({...sum, ...dense, weightShare: 4 / 21});
      const {stdout, stderr} = await well(sparsifyCommand(), 'dense', args);
      expect(cells(stdout).map((line) => line.slice(0, 8))).to.deep.equal([
        ['layer', 'inputs', 'units', 'weights', 'format', 'size', 'target', 'reached'],
        ['copy', '4', '4', '76.2 %', 'float32', '64 B', '50.0 %', '50.0 %'],
        ['sum', '4', '1', '19.0 %', 'float32', '16 B', '-', '-'],
        [''],
        [`saved to ${at(name)}`],
      ]);
      expect(stderr).to.match(/calibrating: 1\/1 batches/);
    });

    it('counts steps where it goes layer by layer', async () => {
      const args = ['-d', at('x.npy'), '-t', '.*=0.5', '-c', 'sequential', '-o', at(name)];
      expect((await well(sparsifyCommand(), 'dense', args)).stderr).to.match(/calibrating: \d+\/\d+ steps/);
    });

    it('compresses first if it is asked to', async () => {
      const args = ['-d', at('x.npy'), '-t', '.*=0.5', '--compress', 'int8_sym', '-o', at(name)];
      const {layers} = await json<{layers: {format: string}[]}>(sparsifyCommand(), 'dense', args);
      expect(layers.map(({format}) => format)).to.deep.equal(['int8_sym', 'int8_sym']);
      expect((await well(sparsifyCommand(), 'dense', args)).stderr).to.include('compressing: 2/2 weights');
    });

    it('spreads a mean sparsity, and says how', async () => {
      const args = ['-d', at('x.npy'), '--sparsity', '50%', '--allocate', 'uniform', '-o', at(name)];
      const {allocation} = await json<{
        allocation: {method: string; sparsity: number; layers: {path: string; target: number}[]};
      }>(sparsifyCommand(), 'dense', args);
      expect(allocation).to.include({method: 'uniform', sparsity: 0.5});
      expect(allocation.layers.map(({path, target}) => [path, target])).to.deep.equal([
        ['copy', 0.5],
        ['sum', 0.5],
      ]);
      const {stdout} = await well(sparsifyCommand(), 'dense', args);
      expect(stdout).to.include(
        '\n\nallocated by method uniform: 50.0 % on average, weighted by weights\n\nsaved to ',
      );
    });

    it('leaves the statistics out if it is asked to, without which there are no other targets', async () => {
      const args = ['-d', at('x.npy'), '-t', '.*=0.5', '--no-statistics', '-o', at(name)];
      await well(sparsifyCommand(), 'dense', args);
      const {error} = await run(retargetCommand(), name, ['-t', '.*=0.25', '-o', at('other')]);
      expect(error).to.have.property('code', 'no-statistics');
    });

    it('warns of a target that cannot be met', async () => {
      writeFileSync(at('same.npy'), encodeNpy(new Float32Array(16).fill(1), [4, 4]));
      const args = ['-d', at('same.npy'), '-t', 'copy=0.5', '-o', at(name)];
      const {warnings} = await json<{warnings: {code: string; message: string}[]}>(
        sparsifyCommand(),
        'dense',
        args,
      );
      expect(warnings).to.have.length(1);
      const {stderr} = await well(sparsifyCommand(), 'dense', args);
      expect(stderr).to.include(`\nwarning: ${warnings[0].message}\n`);
    });

    it('refuses what does not go together, before anything is written', async () => {
      const target = ['-t', '.*=0.5', '-o', at(name)];
      expect(await refusal(sparsifyCommand(), 'dense', ['-d', at('x.npy'), '-o', at(name)])).to.include(
        'it is not said how much to mask',
      );
      expect(await refusal(sparsifyCommand(), 'dense', ['-d', at('x.npy'), '--stream', ...target])).to.equal(
        `--stream reads checkpoints, and ${at('dense')} is none: name a GGUF file or a Hugging Face folder`,
      );
      expect(
        await refusal(sparsifyCommand(), 'dense', ['-d', at('x.npy'), '--stream', '--auto', '-o', at(name)]),
      ).to.equal('--stream takes targets by pattern: give --target, not --sparsity or --auto');
      const {error} = await run(sparsifyCommand(), 'dense', ['-d', 'x.csv', ...target]);
      expect(error).to.have.property('code', 'unsupported-format');
      expect(existsSync(at(name))).to.equal(false);
    });

    it('writes the report that it is asked for', async () => {
      const args = ['-d', at('x.npy'), '-t', '.*=0.5', '-o', at(name), '--report', at(`${name}.html`)];
      expect((await well(sparsifyCommand(), 'dense', args)).stderr).to.include(
        `report: ${at(`${name}.html`)}\n`,
      );
      expect(readFileSync(at(`${name}.html`), 'utf8'))
        .to.match(/^<!doctype html>/i)
        .and.include('copy');
    });
  });

  describe('retarget', () => {
    it('gives other targets by pattern', async () => {
      const args = ['-t', 'copy=0.25', '-i', 'sum', '-o', at(name)];
      const {out, layers, warnings} = await json<{
        out: string;
        layers: {target: number | null}[];
        warnings: [];
      }>(retargetCommand(), 'sparse', args);
      expect([out, warnings]).to.deep.equal([at(name), []]);
      expect(layers.map(({target}) => target)).to.deep.equal([0.25, 0.5]); // what is ignored stays as it is
      const {stdout} = await well(retargetCommand(), 'sparse', args);
      expect(cells(stdout).at(1)!.slice(0, 8)).to.deep.equal([
        ...['copy', '4', '4', '72.7 %', 'float32', '64 B', '25.0 %', '25.0 %'],
      ]);
      expect(stdout).to.match(new RegExp(`\\d\\n\\nsaved to ${at(name)}\\n$`));
      const card = readFileSync(at(`${name}/README.md`), 'utf8');
      expect(card).to.include('tfjs-sparsify sparsify').and.include('tfjs-sparsify retarget'); // both steps
    });

    it('takes one of --target and --sparsity', async () => {
      const text = "give one of --target, as '.*=0.5', and --sparsity, as 0.5";
      expect(await refusal(retargetCommand(), 'sparse', ['-o', at(name)])).to.equal(text);
      const both = ['-t', '.*=0.5', '--sparsity', '0.5', '-o', at(name)];
      expect(await refusal(retargetCommand(), 'sparse', both)).to.equal(text);
    });

    it('spreads another mean by the probes of an allocated model', async () => {
      await well(sparsifyCommand(), 'dense', ['-d', at('x.npy'), '--sparsity', '0.5', '-o', at(`${name}a`)]);
      const {stdout} = await well(retargetCommand(), `${name}a`, ['--sparsity', '0.25', '-o', at(name)]);
      expect(stdout).to.match(/\n\nallocated by method local: 2\d\.\d % on average, weighted by weights/);
      expect(stdout).to.include(`\n\nsaved to ${at(name)}\n`);
    });
  });

  describe('compress', () => {
    it('saves INT8 weights in the mode that was asked for', async () => {
      const {out, weights} = await json<{out: string; weights: {path: string; format: string}[]}>(
        compressCommand(),
        'dense',
        ['-m', 'int8_sym', '-i', 'sum', '-o', at(name)],
      );
      expect(out).to.equal(at(name));
      expect(weights.map(({path, format}) => [path, format])).to.deep.equal([
        ['copy', 'int8_sym'],
        ['sum', 'float32'],
      ]);
      const {stdout, stderr} = await well(compressCommand(), 'dense', ['-o', at(name)]);
      expect(cells(stdout)[1].slice(0, 5)).to.deep.equal(['copy', 'Dense', 'kernel', '4 x 4', 'int8_asym']);
      expect(stdout).to.match(new RegExp(`as float32\\n\\nsaved to ${at(name)}\\n$`));
      expect(stderr).to.include('compressing: 2/2 weights');
      expect(readFileSync(at(`${name}/README.md`), 'utf8')).to.include('tfjs-sparsify compress');
    });
  });

  describe('evaluate', () => {
    it('holds a sparse model against itself with its thresholds off', async () => {
      const {models, sparsity} = await json<{
        models: {model: string; metric: string; value: number; items: number; latencyMs: number}[];
        sparsity: object[];
      }>(evaluateCommand(), 'sparse', ['-d', at('x.npy')]);
      expect(models.map(({model, metric, items}) => [model, metric, items])).to.deep.equal([
        ['dense (thresholds off)', 'relative squared error', 4],
        [at('sparse'), 'relative squared error', 4],
      ]);
      // 3 and 4 of 1 to 4 are left of each sum: 7 for 10.
      expect(models[0].value).to.equal(0);
      expect(models[1].value).to.be.above(0);
      for (const {latencyMs} of models) expect(latencyMs).to.be.above(0);
      expect(sparsity).to.deep.equal([
        {path: 'copy', target: 0.5, actual: 0.5},
        {path: 'sum', target: 0.5, actual: 0.5},
      ]);
      const {stdout, stderr} = await well(evaluateCommand(), 'sparse', ['-d', at('x.npy')]);
      const lines = cells(stdout);
      expect(lines[0]).to.deep.equal(['model', 'relative squared error', 'latency']);
      expect(lines[1].slice(0, 2)).to.deep.equal(['dense (thresholds off)', '0.0000']);
      expect(lines[2]).to.have.length(3);
      expect(lines[2][2]).to.match(/^\d+\.\d{3} ms$/);
      expect(lines.slice(3)).to.deep.equal([
        ...[[''], ['4 items'], [''], ['layer', 'target', 'actual']],
        ...[
          ['copy', '50.0 %', '50.0 %'],
          ['sum', '50.0 %', '50.0 %'],
        ],
      ]);
      expect(stderr)
        .to.include('comparing with the dense model: ')
        .and.include('measuring sparsity: 1/1 batches');
    });

    it('measures what is right by labels, beside a baseline', async () => {
      const args = ['-d', at('x.npy'), '-l', at('y.npy'), '--baseline', at('dense')];
      const {models} = await json<{models: {model: string; metric: string; value: number}[]}>(
        evaluateCommand(),
        'sparse',
        args,
      );
      expect(models.map(({model, metric, value}) => [model, metric, value])).to.deep.equal([
        [at('dense'), 'mean squared error', 1], // 10 for 10, three times, and for 12 once
        [at('sparse'), 'mean squared error', 13], // 7 for the same
      ]);
      const {stdout, stderr} = await well(evaluateCommand(), 'dense', ['-d', at('x.npy'), '-l', at('y.npy')]);
      expect(cells(stdout)[1].slice(0, 2)).to.deep.equal([at('dense'), '1.0000']);
      expect(stdout).to.match(/\n\n4 items\n$/);
      expect(stderr).to.include(`evaluating ${at('dense')}: 1/1 batches`);
    });

    it('reads the first batches, and as many labels', async () => {
      const args = ['-d', at('x.npy'), '-l', at('y.npy'), '-b', '1', '--batches', '3'];
      const {models} = await json<{models: {value: number; items: number}[]}>(
        evaluateCommand(),
        'dense',
        args,
      );
      expect(models.map(({value, items}) => [value, items])).to.deep.equal([[0, 3]]);
      const {error} = await run(evaluateCommand(), 'dense', ['-d', at('x.npy'), '-l', at('empty.npy')]);
      expect(error).to.be.instanceOf(Error);
    });

    it('writes a report of it', async () => {
      const args = ['-d', at('x.npy'), '--report', at(`${name}.html`)];
      await well(evaluateCommand(), 'sparse', args);
      expect(readFileSync(at(`${name}.html`), 'utf8'))
        .to.include('dense (thresholds off)')
        .and.include('x.npy, 4 items')
        .and.include('relative squared error');
      await well(evaluateCommand(), 'sparse', [...args, '--baseline', at('dense'), '-l', at('y.npy')]);
      const page = readFileSync(at(`${name}.html`), 'utf8');
      expect(page)
        .to.match(/<td>dense<\/td>|>dense</)
        .and.include('>sparse<')
        .and.not.include(`>${folder}`);
    });

    it('refuses what it cannot hold against anything, and what does not concern items or text', async () => {
      const data = ['-d', at('x.npy')];
      expect(await refusal(evaluateCommand(), 'dense', data)).to.equal(
        'the model is dense, so there is nothing to hold it against: give what it should answer with --labels, or another ' +
          'model with --baseline',
      );
      expect(await refusal(evaluateCommand(), 'dense', [at('sparse'), ...data])).to.equal(
        'got 2 models; only language models on text, .txt or .md, are evaluated beside each other: give one, and the other with --baseline',
      );
      for (const windows of [
        ['--windows', '2'],
        ['--protocol', 'token'],
        ['--context-length', '8'],
      ]) {
        expect(await refusal(evaluateCommand(), 'sparse', [...data, ...windows])).to.equal(
          `--windows, --protocol and --context-length concern text; ${at('x.npy')} holds items: see --batches`,
        );
      }
      for (const items of [
        ['-l', at('y.npy')],
        ['--batches', '1'],
        ['-b', '1'],
      ]) {
        expect(await refusal(evaluateCommand(), 'sparse', ['-d', at('text.txt'), ...items])).to.equal(
          '--labels, --batches and --batch-size do not concern text: see --windows',
        );
      }
      const {error} = await run(evaluateCommand(), 'sparse', ['-d', at('empty.npy')]);
      expect(error).to.have.property('code', 'empty');
    });

    it('refuses a model of items on text', async () => {
      const {error} = await run(evaluateCommand(), 'sparse', ['-d', at('text.txt')]);
      expect(error).to.have.property('code', 'not-a-language-model');
    });
  });

  describe('report', () => {
    it('tells what the model itself tells', async () => {
      const {out, contents} = await json<{out: string; contents: Record<string, unknown>}>(
        reportCommand(),
        'dense',
        [...['-o', at(`${name}.html`)]],
      );
      expect(out).to.equal(at(`${name}.html`));
      expect(contents).to.include({
        name: 'dense',
        unit: 'item',
        parameters: 20,
        quality: null,
        latency: null,
        bench: null,
      });
      expect(contents.steps).to.deep.equal([]);
      expect(contents.measurement).to.have.property('command').that.includes('tfjs-sparsify report dense');
      expect((await well(reportCommand(), 'dense', ['-o', at(`${name}.html`)])).stdout).to.equal(
        `saved to ${at(`${name}.html`)}\n`,
      );
    });

    it('measures a sparse model beside itself, dense, and times its layers', async () => {
      const args = ['-d', at('x.npy'), '-l', at('y.npy'), '--bench', '--card', '-o', at(`${name}.html`)];
      type Rows = {name: string; isDense?: boolean; values?: number[]; sparsity?: number | null}[];
      const {contents} = await json<{
        contents: {
          quality: {rows: Rows; on: string};
          latency: {rows: Rows; of: string};
          measured: {
            layers: {path: string; actual: number; outputError: number}[];
            actualOn: string;
            errorsOn: string;
          };
          bench: {rows: number};
          steps: object[];
        };
      }>(reportCommand(), 'sparse', args);
      const {quality, latency, measured, bench, steps} = contents;
      expect(quality.on).to.equal('x.npy, 4 items');
      expect(quality.rows.map(({name, values, sparsity}) => [name, values, sparsity])).to.deep.equal([
        ['dense (thresholds off)', [1], null],
        ['sparse', [13], 0.5],
      ]);
      expect(latency.of).to.equal('prediction');
      expect(latency.rows.map(({name, isDense}) => [name, isDense])).to.deep.equal([
        ['dense (thresholds off)', true],
        ['sparse', false],
      ]);
      expect(measured.layers.map(({path, actual}) => [path, actual])).to.deep.equal([
        ['copy', 0.5],
        ['sum', 0.5],
      ]);
      expect([measured.actualOn, measured.errorsOn]).to.deep.equal(['on x.npy', 'on 4 rows of x.npy']);
      expect(bench.rows).to.equal(1);
      expect(steps).to.have.length(1);
      expect(readFileSync(at('sparse/README.md'), 'utf8')).to.include('x.npy, 4 items');
    });

    it('puts the first baseline beside it as the dense one', async () => {
      const args = [
        '-d',
        at('x.npy'),
        '--baseline',
        at('dense'),
        '--baseline',
        at('sparse'),
        '-o',
        at(`${name}.html`),
      ];
      const {contents} = await json<{
        contents: {latency: {rows: {name: string; isDense: boolean}[]}; quality: null};
      }>(reportCommand(), 'sparse', args);
      expect(contents.quality).to.equal(null);
      expect(contents.latency.rows.map(({name, isDense}) => [name, isDense])).to.deep.equal([
        ['dense', true],
        ['sparse', false],
        ['sparse', false],
      ]);
      const alone = await json<{
        contents: {latency: {rows: {isDense: boolean}[]}; measured: {actualOn: unknown}};
      }>(reportCommand(), 'dense', ['-d', at('x.npy'), '-o', at(`${name}.html`)]);
      expect(alone.contents.latency.rows.map(({isDense}) => isDense)).to.deep.equal([false]);
    });

    it('refuses what lacks data, or does not concern it', async () => {
      const out = ['-o', at(`${name}.html`)];
      for (const lacking of [
        ['-l', at('y.npy')],
        ['--baseline', at('dense')],
      ]) {
        expect(await refusal(reportCommand(), 'sparse', [...lacking, ...out])).to.equal(
          '--labels and --baseline need --data',
        );
      }
      for (const items of [
        ['-l', at('y.npy')],
        ['--batches', '1'],
        ['-b', '1'],
      ]) {
        expect(await refusal(reportCommand(), 'sparse', ['-d', at('text.txt'), ...items, ...out])).to.equal(
          '--labels, --batches and --batch-size do not concern text: see --windows',
        );
      }
      for (const windows of [
        ['--windows', '2'],
        ['--protocol', 'token'],
        ['--context-length', '8'],
      ]) {
        expect(await refusal(reportCommand(), 'sparse', ['-d', at('x.npy'), ...windows, ...out])).to.equal(
          `--windows, --protocol and --context-length concern text; ${at('x.npy')} holds items: see --batches`,
        );
      }
      const {error} = await run(reportCommand(), 'sparse', ['-d', at('empty.npy'), ...out]);
      expect(error).to.have.property('code', 'empty');
      expect(existsSync(at(`${name}.html`))).to.equal(false);
    });
  });

  describe('bench', () => {
    it('says once what is to be said of several layers', () => {
      const layer = (path: string, breakEven: number | null) => ({path, breakEven}) as LayerTimes;
      const many = Array.from({length: 9}, (_, i) => layer(`b${i}`, 0));
      const layers = [layer('a', null), layer('c', 0.375), layer('d', null), ...many];
      expect(describeBreakEvens(layers)).to.deep.equal([
        'a, d: faster dense at every sparsity',
        'c: faster dense below 38 %',
        '9 layers: faster sparsified, even with nothing masked',
      ]);
      expect(describeBreakEvens(many.slice(1))).to.deep.equal([
        'b1, b2, b3, b4, b5, b6, b7, b8: faster sparsified, even with nothing masked',
      ]);
    });

    it('times each layer and the model', async () => {
      type Bench = {
        model: string;
        backend: string;
        rows: number;
        layers: {path: string; rows: number; times: {sparsity: number}[]}[];
        predicted: {sparsity: number}[];
        measured: {sparsity: number}[];
      };
      const bench = await json<Bench>(benchCommand(), 'dense', ['-d', at('x.npy'), '-r', '2']);
      expect(bench).to.include({model: at('dense'), backend: 'cpu', rows: 2});
      expect(bench.layers.map(({path, rows}) => [path, rows])).to.deep.equal([
        ['copy', 2],
        ['sum', 2],
      ]);
      expect(bench.predicted.map(({sparsity}) => sparsity)).to.deep.equal([0, 0.3, 0.5, 0.7, 0.9]);
      expect(bench.measured.map(({sparsity}) => sparsity)).to.deep.equal([0.5]);
    });

    it('prints a line a layer, where each breaks even, and a line a model', async () => {
      const {stdout, stderr} = await well(benchCommand(), 'dense', ['--report', at(`${name}.html`)]);
      const lines = cells(stdout);
      expect(lines[0]).to.deep.equal([
        ...['layer', 'inputs x units', 'rows', 'calls', 'dense ms'],
        ...['0 %', '30 %', '50 %', '70 %', '90 %'],
      ]);
      expect(lines[1].slice(0, 4)).to.deep.equal(['copy', '4 x 4', '1', '1']);
      expect(lines[1].slice(4, 6).join(' ')).to.match(/^\d+\.\d{3} \d+\.\d\dx$/);
      expect(stdout).to.match(/\n\n(.+: faster .+\n)+\n/);
      const models = lines.slice(lines.findIndex(([title]) => title === 'model'));
      expect(models[0]).to.deep.equal(['model', 'latency', 'against dense']);
      expect(models.slice(1, 8).map(([title]) => title)).to.deep.equal([
        'dense',
        ...[0, 30, 50, 70, 90].map((share) => `predicted at ${share} %`),
        'measured at 50 %',
      ]);
      expect(models[1].slice(1).join(' ')).to.match(/^\d+\.\d{3} ms 1\.00x$/);
      expect(stdout).to.include('\nmedians, 1 item in a prediction, backend cpu');
      expect(stderr).to.match(/timing: \d+\/\d+ rounds/);
      expect(readFileSync(at(`${name}.html`), 'utf8')).to.include('copy');
    });
  });

  describe('an interruption', () => {
    for (const [what, command, args] of [
      ['sparsify', sparsifyCommand, ['-t', '.*=0.5', '-o']],
      ['evaluate', evaluateCommand, ['--report']],
      ['report', reportCommand, ['-o']],
    ] as const) {
      it(`stops ${what} between two batches, and nothing is written`, async () => {
        // A signal comes with the third batch; there are a hundred.
        writeFileSync(
          at('data.mjs'),
          'let count = 0;\nexport let taken = () => count;\n' +
            `export default function* () { for (let i = 1; i <= 100; i++) {\n` +
            `if (++count === 3) process.emit('SIGINT', 'SIGINT');\nyield [[i, 2, 3, 4]]; } }\n`,
        );
        const module = `${name}.mjs`;
        renameSync(at('data.mjs'), at(module));
        const {error, stdout} = await run(command(), 'sparse', ['-d', at(module), ...args, at(name)]);
        expect(error).to.include({name: 'AbortError', exitCode: 130});
        expect(stdout).to.equal('');
        expect(existsSync(at(name))).to.equal(false);
        const {taken} = (await import(at(module))) as {taken: () => number};
        expect(taken()).to.be.within(3, 4);
      });
    }
  });

  describe('import', () => {
    it('refuses a model that is no language model', async () => {
      const {error} = await run(importCommand(), 'dense', ['-o', at(name)]);
      expect(error).to.have.property('code', 'not-a-language-model');
      expect(existsSync(at(name))).to.equal(false);
    });
  });
});
