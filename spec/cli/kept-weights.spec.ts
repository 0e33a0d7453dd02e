/** @file What commands make of a GGUF file whose matrices are in 4 bits: kept, made INT8 or float32, and sparsified. */
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import type {Command} from 'commander';
import {evaluateCommand} from '../../lib/cli/commands/evaluate.js';
import {importCommand} from '../../lib/cli/commands/import.js';
import {sparsifyCommand} from '../../lib/cli/commands/sparsify.js';
import {inspectWeights} from '../../lib/index.js';
import {loadLanguageModel} from '../../lib/language/index.js';
import '../support/backends.js';
import {KEPT_FORMATS, fourBitGguf, fourBitText} from '../support/language/four-bit-gguf.js';
import {runCommand} from '../support/run-command.js';
import {temporaryFolder} from '../support/temporary-folder.js';

describe('commands on a GGUF file in 4 bits', () => {
  const folder = temporaryFolder();
  let gguf: string;
  let text: string;
  let backend: string;
  const {argv} = process;
  const at = (name: string) => join(folder.path, name);

  before(async () => {
    backend = tf.getBackend();
    await tf.setBackend('cpu');
    gguf = folder.write('four.gguf', fourBitGguf());
    text = folder.write('text.txt', fourBitText(400, 1));
  });
  after(() => tf.setBackend(backend));
  afterEach(() => (process.argv = argv));

  const run = async (command: Command, args: readonly string[]): Promise<string> => {
    process.argv = [...argv.slice(0, 2), command.name(), ...args];
    const {stdout, error} = await runCommand(command, args);
    if (error !== null) throw error;
    return stdout;
  };
  /** The formats of a saved model's weights by their layers' paths. */
  const formatsOf = async (name: string): Promise<Record<string, string>> => {
    const lm = await loadLanguageModel(at(name));
    const formats = inspectWeights(lm.model).map(({path, format}) => [
      path.replace('model.layers.0.', ''),
      format,
    ]);
    lm.dispose();
    return Object.fromEntries(formats) as Record<string, string>;
  };

  it('import keeps its 4 bits by default', async () => {
    await run(importCommand(), [gguf, '-o', at('default')]);
    expect(await formatsOf('default')).to.deep.equal(KEPT_FORMATS);
    await run(importCommand(), [gguf, '-o', at('kept'), '--weights', 'keep']);
    expect(await formatsOf('kept')).to.deep.equal(KEPT_FORMATS);
  });

  for (const [weights, format] of [
    ['int8', 'int8_asym'],
    ['float32', 'float32'],
  ] as const) {
    it(`import --weights ${weights} makes all of it ${format}`, async () => {
      await run(importCommand(), [gguf, '-o', at(weights), '--weights', weights]);
      const formats = await formatsOf(weights);
      expect(Object.keys(formats)).to.deep.equal(Object.keys(KEPT_FORMATS));
      expect(new Set(Object.values(formats))).to.deep.equal(new Set([format]));
    });
  }

  it('import refuses another format', async () => {
    const {error, stderr} = await runCommand(importCommand(), [gguf, '-o', at('x'), '--weights', 'int4']);
    expect(error).to.have.property('code', 'commander.invalidArgument');
    expect(stderr).to.include('Allowed choices are keep, int8, float32.');
  });

  it('sparsify keeps them, block by block too, and evaluate measures the result', async () => {
    const sparsify = [gguf, '-d', text, '-t', '@all=0.5', '--sequence-length', '32', '--sequences', '4'];
    await run(sparsifyCommand(), [...sparsify, '-o', at('sparse')]);
    await run(sparsifyCommand(), [...sparsify, '--stream', '-o', at('streamed')]);
    for (const name of ['sparse', 'streamed'])
      expect(await formatsOf(name), name).to.deep.equal(KEPT_FORMATS);
    const windows = ['--windows', '2', '--context-length', '32', '--protocol', 'token', '--json'];
    type Modes = {modes: {tokenPerplexity: number; sparsity: number}[]};
    const modesOf = async (name: string) =>
      (JSON.parse(await run(evaluateCommand(), [at(name), '-d', text, ...windows])) as Modes).modes;
    const modes = await modesOf('sparse');
    expect(modes.map(({sparsity}) => Math.round(10 * sparsity) / 10)).to.deep.equal([0, 0.5]);
    expect(await modesOf('streamed')).to.deep.equal(modes);
  });
});
