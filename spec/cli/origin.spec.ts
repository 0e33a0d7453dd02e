import {createHash} from 'node:crypto';
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {createRequire} from 'node:module';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {describeMachine, thisStep} from '../../lib/cli/origin.js';
import '../support/backends.js';

const {argv} = process;

describe('the step of this run', () => {
  let folder = '';
  const at = (name: string) => join(folder, name);
  const hashed = (name: string, text: string) => ({
    name,
    bytes: text.length,
    sha256: createHash('sha256').update(text).digest('hex'),
  });
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-origin-'));
    for (const name of ['m.gguf', 'x.npy', 'y.npy']) writeFileSync(at(name), `of ${name}`);
  });
  after(() => rmSync(folder, {recursive: true}));
  afterEach(() => (process.argv = argv));

  it('holds what went in, by its role', async () => {
    const model = {role: 'model', files: [hashed('m.gguf', 'of m.gguf')]};
    expect((await thisStep({models: [at('m.gguf'), at('m.gguf')]})).inputs).to.deep.equal([model, model]);
    const {inputs} = await thisStep({models: [at('m.gguf')], data: at('x.npy'), labels: at('y.npy')});
    expect(inputs).to.deep.equal([
      model,
      {role: 'data', files: [hashed('x.npy', 'of x.npy')]},
      {role: 'labels', files: [hashed('y.npy', 'of y.npy')]},
    ]);
    // Of a URL nothing is known.
    expect((await thisStep({models: ['https://host/model.json'], data: at('x.npy')})).inputs).to.deep.equal([
      inputs[1],
    ]);
  });

  for (const [argument, told] of [
    ['--scale', '--scale'],
    ['a@b%c+d=e:f,g./h-i_j', 'a@b%c+d=e:f,g./h-i_j'],
    ['.*=0.5', "'.*=0.5'"],
    ['a b', "'a b'"],
    ['*a', "'*a'"],
    ['a*', "'a*'"],
    ["it's", String.raw`'it'\''s'`],
    ["'", String.raw`''\'''`],
    ['', "''"],
    [join(tmpdir(), 'somewhere', 'x.npy'), 'x.npy'],
  ] as const) {
    it(`tells the argument ${JSON.stringify(argument)} as a shell would read it`, async () => {
      process.argv = ['node', 'main.js', 'sparsify', argument];
      expect((await thisStep({models: []})).command).to.equal(`tfjs-sparsify sparsify ${told}`);
    });
  }

  it('holds the versions that computed', async () => {
    const {version} = createRequire(import.meta.url)('../../package.json') as {version: string};
    expect((await thisStep({models: []})).versions).to.deep.equal({
      ...{'tfjs-sparsify': version, '@tensorflow/tfjs': tf.version.tfjs, 'Node.js': process.versions.node},
      backend: tf.getBackend() === 'tensorflow' ? 'node' : tf.getBackend(),
    });
    expect(describeMachine()).to.match(/^backend \S+, (1 thread|[2-9]\d* threads|1\d+ threads) of \S/);
  });
});
