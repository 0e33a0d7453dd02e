/** @file The programs of scripts/examples, run as they stand. */
import {spawn} from 'node:child_process';
import {readFileSync, readdirSync} from 'node:fs';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {loadLanguageModel} from '../../lib/language/index.js';
import {BACKENDS} from '../support/backends.js';
import {finished, quietly} from '../support/child.js';
import {ROOT} from '../support/guides.js';
import {tinyFolder} from '../support/language/tiny-checkpoints.js';

const EXAMPLES = join(ROOT, 'scripts', 'examples');
const TINY = join(tinyFolder('llama3-gqa-rope'), 'model-f32.gguf');

/** What an example prints, on the fastest backend that is present. */
async function run(name: string, ...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [join(EXAMPLES, name), ...args], {
    cwd: ROOT,
    env: quietly(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const {code, stdout, stderr} = await finished(child);
  expect(code, stderr).to.equal(0);
  return stdout;
}

describe('scripts/examples', () => {
  it('are all run here', () => {
    const programs = readdirSync(EXAMPLES).filter((file) => file.endsWith('.mjs'));
    expect(programs.sort()).to.deep.equal([
      'custom-layer.mjs',
      'language-model.mjs',
      'layers-model.mjs',
      'serving.mjs',
    ]);
  });

  it('layers-model sparsifies, measures, saves and loads', async () => {
    const output = await run('layers-model.mjs');
    expect(output)
      .to.include('hidden_1: target 0.5\nhidden_2: target 0.5\ndigits: target none, it stays dense\n')
      .and.match(/accuracy: dense 97\.90 %, sparse 9[78]\.\d\d %/); // dense: as its model card says
    const [sparse, saved] = [...output.matchAll(/(?:sparse|saved model:) (\d+\.\d\d %)/g)].map(
      ([, share]) => share,
    );
    expect(saved).to.equal(sparse);
  });

  it('custom-layer finds the Dense layers inside a layer, and loads them sparsified', async () => {
    const output = await run('custom-layer.mjs');
    expect(output).to.match(/^ffn\/gate: target 0.3, actual 0\.(29|30)\d$/m);
    expect(output).to.match(/^ffn\/up: target 0.3, actual 0\.(29|30)\d$/m);
    expect(output).to.match(/^ffn\/down: target 0.5, actual 0\.(49|50)\d$/m);
    expect(output)
      .to.include('loaded: ffn/gate 0.3, ffn/up 0.3, ffn/down 0.5\n')
      .and.include('largest difference of their predictions: 0\n');
  });

  it('serving answers over HTTP', async () => {
    expect(await run('serving.mjs')).to.include('read: 2 2 2, right: 2 2 2\n');
  });

  it('language-model sparsifies, holds the model against its dense self, and generates', async () => {
    const output = await run('language-model.mjs', TINY);
    // 2 projections of 3 equal ones at 30 %, the third at 50 %.
    const sparsity = Number(/^sparse_activation: sparsity (\S+),/m.exec(output)?.[1]);
    expect(sparsity).to.be.closeTo((0.3 + 0.3 + 0.5) / 3, 0.01);
    await tf.setBackend(BACKENDS[BACKENDS.length - 1]);
    const lm = await loadLanguageModel(TINY);
    const {tokenPerplexity} = await lm.perplexity(
      readFileSync(join(ROOT, 'models/smollm2/wikitext-2-test.txt'), 'utf8'),
      {
        protocol: 'token',
        windows: 2,
        contextLength: Math.min(lm.config.contextLength, 256),
      },
    );
    lm.model.dispose();
    expect(output).to.include(`fp32: sparsity 0.000, perplexity of a token ${tokenPerplexity.toFixed(2)}\n`);
    expect(output).to.match(/\nThe capital of France is[^]+\n$/);
  });
});
