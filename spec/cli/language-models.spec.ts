import {once} from 'node:events';
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {expect} from 'chai';
import {finished, urlOf, type Finished} from '../support/child.js';
import {cli, startCli} from '../support/cli.js';

const TINY = fileURLToPath(urlOf('spec/fixtures/tiny'));
/** With a byte-level tokenizer. */
const GGUF = join(TINY, 'llama3-gqa-rope', 'model-f32.gguf');
/** Without. */
const FOLDER = join(TINY, 'llama3-gqa-rope');

interface Expected {
  readonly input_ids: readonly (readonly number[])[];
  readonly greedy_ids: readonly number[];
}

const expected = JSON.parse(readFileSync(join(FOLDER, 'expected.json'), 'utf8')) as Expected;

function json<T>(result: Finished): T {
  expect(result.code, result.stderr).to.equal(0);
  return JSON.parse(result.stdout) as T;
}

function fails(result: Finished, code: number, ...words: string[]): void {
  expect(result.stderr).to.not.match(/\n +at /);
  for (const word of words) expect(result.stderr).to.include(word);
  expect(result.code, result.stderr).to.equal(code);
}

const WORDS = 'the quick brown fox jumps over a lazy dog while seven boxing wizards wait in line';
const TEXT = Array.from({length: 12}, (_, i) => WORDS.split(' ')[(i * 7) % 15]).join(' ');

describe('the command line with a language model', function () {
  this.timeout(300_000); // a process for every command, on the cpu backend
  let folder = '';
  const at = (name: string) => join(folder, name);
  const perplexity = (model: string, ...args: string[]) =>
    cli(['perplexity', model, '--data', at('test.txt'), '--context-length', '32', '--json', ...args]);

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-cli-llama-'));
    writeFileSync(at('calibration.txt'), `${TEXT} ${TEXT} ${TEXT} ${TEXT}`);
    writeFileSync(at('test.txt'), TEXT.split(' ').reverse().join(' '));
  });
  after(() => rmSync(folder, {recursive: true, force: true}));

  it('imports, sparsifies, retargets and evaluates', async () => {
    const imported = json<{out: string; tokenizer: boolean; dense: number; config: {layers: number}}>(
      await cli(['import', GGUF, '--out', at('dense'), '--json']),
    );
    expect(imported).to.include({out: at('dense'), tokenizer: true, dense: 7 * imported.config.layers + 1});
    expect(readFileSync(join(at('dense'), 'README.md'), 'utf8')).to.include('tfjs-sparsify import');

    type Layers = {layers: {path: string; target: number | null; threshold: number | null}[]};
    const sparsify = (source: string, out: string) =>
      cli([
        ...[
          'sparsify',
          source,
          '--data',
          at('calibration.txt'),
          '--sequence-length',
          '16',
          '--sequences',
          '8',
        ],
        ...['--target', '@gate_up=0.3', '--target', '@down=50%', '--out', out, '--json'],
      ]);
    const {layers} = json<Layers>(await sparsify(at('dense'), at('sparse')));
    const targets = new Set(layers.map(({path, target}) => `${path.split('.').at(-1)} ${target}`));
    expect([...targets]).to.have.members([
      ...['q_proj', 'k_proj', 'v_proj', 'o_proj', 'lm_head'].map((name) => `${name} null`),
      ...['gate_proj 0.3', 'up_proj 0.3', 'down_proj 0.5'],
    ]);
    const fromGguf = json<Layers>(await sparsify(GGUF, at('sparse-gguf')));
    expect(fromGguf.layers).to.deep.equal(layers);
    expect(json<Layers>(await cli(['inspect', at('sparse'), '--json'])).layers).to.deep.equal(layers);

    const retargeted = json<Layers>(
      await cli(['retarget', at('sparse'), '--target', '@down=0.9', '--out', at('sparser'), '--json']),
    );
    expect(new Set(retargeted.layers.map(({target}) => target))).to.deep.equal(new Set([null, 0.3, 0.9]));

    const compared = json<{
      modes: {
        mode: string;
        sparsity: number;
        wordPerplexity: number;
        tokenPerplexity: number;
        divergence: number;
        agreement: number;
      }[];
      sparsity: {mean: number; groups: object[]; layers: object[]};
    }>(await cli(['evaluate', at('sparser'), '--data', at('test.txt'), '--context-length', '32', '--json']));
    const [dense, sparse] = compared.modes;
    const alone = json<{models: {tokenPerplexity: number; wordPerplexity: number}[]}>(
      await perplexity(at('sparser'), '--baseline', GGUF),
    );
    for (const [i, mode] of [dense, sparse].entries()) {
      for (const key of ['wordPerplexity', 'tokenPerplexity'] as const) {
        expect(mode[key] / alone.models[i][key], key).to.be.closeTo(1, 1e-4);
      }
    }
    expect(dense).to.include({mode: 'fp32', sparsity: 0, divergence: 0, agreement: 1});
    expect(sparse.mode).to.equal('sparse_activation');
    expect(sparse.sparsity).to.equal(compared.sparsity.mean).and.be.within(0.3, 0.9);
    expect(sparse.divergence).to.be.above(0);
    expect(sparse.agreement).to.be.within(0, 1);
  });

  it('prints a table of modes as text', async () => {
    const {code, stdout, stderr} = await cli([
      ...[
        'perplexity',
        GGUF,
        at('sparser'),
        '--data',
        at('test.txt'),
        '--protocol',
        'token',
        '--windows',
        '1',
      ],
      ...['--context-length', '32', '--baseline', join(FOLDER, 'model-q8_0.gguf')],
    ]);
    expect(code, stderr).to.equal(0);
    expect(stdout).to.match(/model +avg. activation sparsity +word perplexity +token perplexity/);
    expect(stdout).to.match(/model-q8_0\.gguf +- .*\n.*\.gguf +- .*\n.*sparser +[\d.]+ ?% /);
    expect(stdout).to.include('31 tokens');
  });

  it('generates: the reference ids from a checkpoint without tokenizer', async () => {
    const prompt = expected.input_ids[0].join(',');
    const args = ['generate', FOLDER, prompt, '--ids', '--max-tokens', '4'];
    const result = json<{tokens: number[]; finishReason: string}>(await cli([...args, '--json']));
    expect(result.tokens).to.deep.equal(expected.greedy_ids.slice(0, 4));
    expect(result.finishReason).to.equal('length');
    const {stdout, stderr} = await cli(args);
    expect(stdout.trim()).to.equal(expected.greedy_ids.slice(0, 4).join(' '));
    expect(stderr).to.match(/40 prompt tokens, first token after \d+ ms, then 4 tokens at [\d.]+ a second/);
  });

  it('generates text, the same with the same seed', async () => {
    const args = ['generate', GGUF, 'Hello', '-n', '6', '--temperature', '1.5', '--seed', '4'];
    const {text} = json<{text: string}>(await cli([...args, '--json']));
    const {stdout} = await cli(args);
    expect(stdout).to.equal(text);
  });

  it('stops generating at Ctrl-C', async () => {
    const child = startCli(['generate', GGUF, 'Hello', '-n', '400', '--temperature', '1']);
    const end = finished(child);
    await once(child.stdout!, 'data');
    child.kill('SIGINT');
    expect((await end).code).to.equal(130);
  });

  it('chats over a pipe, without a chat template says so', async () => {
    const child = startCli(['chat', GGUF], {}, 'pipe');
    const end = finished(child);
    child.stdin!.end('Hello\n');
    fails(await end, 1, 'no chat template');
  });

  it('bench compares formats on sequences of the length that is asked for', async () => {
    const text = ['--data', at('calibration.txt'), '--sequence-length', '1000000'];
    fails(await cli(['bench', GGUF, '--formats', 'float32', ...text]), 1, 'a sequence has 1000000');
  });

  it('bench times single tokens of text', async () => {
    const result = json<{layers: {rows: number; path: string}[]}>(
      await cli(['bench', GGUF, '--data', at('calibration.txt'), '--json']),
    );
    expect(new Set(result.layers.map(({rows}) => rows))).to.deep.equal(new Set([1]));
  });

  it('prints where a fetched model is, or which names there are', async () => {
    fails(await cli(['fetch', 'smollm2-135m-instrct']), 2, 'smollm2-135m-instruct');
  });

  it('explains wrong use with exit code 2', async () => {
    const data = ['--data', at('test.txt')];
    fails(await cli(['sparsify', GGUF, ...data, '--target', '@dwn=0.5', '--out', at('x')]), 2, '@down');
    fails(await cli(['evaluate', GGUF, ...data, '--labels', at('test.txt')]), 2, '--windows');
    fails(await cli(['evaluate', GGUF, '--data', 'x.npy']), 2, '--labels');
    fails(
      await cli(['evaluate', GGUF, '--data', 'x.npy', '--labels', 'y.npy', '--windows', '2']),
      2,
      '--windows',
    );
    fails(await cli(['generate', GGUF, 'x', '--temperature', '-1']), 2, 'temperature is -1');
    fails(await cli(['generate', GGUF, '1,x', '--ids']), 2, 'token ids');
    fails(await cli(['perplexity', GGUF, ...data, '--context-length', '9999']), 2, '512');
  });

  it('explains what cannot work with exit code 1', async () => {
    fails(await cli(['evaluate', GGUF, '--data', at('test.txt'), '--context-length', '32']), 1, 'sparsif');
    fails(await cli(['generate', FOLDER, 'Hello']), 1, 'tokenizer');
    fails(await cli(['generate', at('nothing'), 'Hello']), 1, at('nothing'));
    fails(await cli(['perplexity', GGUF, '--data', at('nothing.txt')]), 1, 'nothing.txt');
    const digits = fileURLToPath(urlOf('models/digits/model.json'));
    fails(await cli(['generate', digits, 'Hello']), 1, 'language model');
  });

  for (const command of ['fetch', 'import', 'generate', 'chat', 'perplexity']) {
    it(`${command} --help gives an example, the shape of --json and the exit codes`, async () => {
      const {stdout} = await cli([command, '--help']);
      for (const part of [
        `$ tfjs-sparsify ${command}`,
        'Output of --json, one object',
        'Exit code: 0, or 1 ',
      ])
        expect(stdout).to.include(part);
    });
  }
});
