import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {saveLayersModel} from '../../lib/io/model/model-files.js';
import {cli} from '../support/cli.js';

describe('exit codes of the command line', () => {
  let folder = '';
  const at = (name: string) => join(folder, name);
  before(async () => {
    await tf.setBackend('cpu');
    folder = mkdtempSync(join(tmpdir(), 'tfjs-sparsify-cli-'));
    const model = tf.sequential({layers: [tf.layers.dense({units: 2, inputShape: [2]})]});
    await saveLayersModel(model, at('dense'));
    model.dispose();
  });
  after(() => rmSync(folder, {recursive: true, force: true}));

  /** Sparsifies with data whose generator throws. */
  const failing = (thrown: string) => {
    writeFileSync(at('data.mjs'), `export default function* () { throw ${thrown}; }\n`);
    return cli(['sparsify', at('dense'), '--data', at('data.mjs'), '--target', '.*=0.5', '--out', at('out')]);
  };

  it('are 1 after an error that nobody expected, which is shown with its place', async () => {
    const {code, stdout, stderr} = await failing("new TypeError('broken in the middle')");
    expect(code).to.equal(1);
    expect(stdout).to.equal('');
    expect(stderr)
      .to.include('TypeError: broken in the middle')
      .and.match(/\n +at .*data\.mjs/);
  });

  it('are 1 when the memory of a GPU is full, said in one line', async () => {
    const {code, stderr} = await failing(
      "new Error('Invalid TF_Status: 8\\nMessage: OOM when allocating tensor with shape[3,4] on GPU')",
    );
    expect(code).to.equal(1);
    expect(stderr).to.include("error: the GPU's memory is full").and.include('[3,4]');
    expect(stderr).to.not.match(/\n +at /);
  });

  it('are 1 after an error of a file, 2 of a scope, 2 of an option, 0 for help', async () => {
    expect((await cli(['inspect', at('none')])).code).to.equal(1);
    writeFileSync(at('data.jsonl'), '[1, 2]\n');
    const sparsify = ['sparsify', at('dense'), '--data', at('data.jsonl'), '--out', at('out'), '--target'];
    expect((await cli([...sparsify, 'nothing=0.5'])).code).to.equal(2);
    expect((await cli([...sparsify, '.*=abc'])).code).to.equal(2);
    expect((await cli(['inspect', '--help'])).code).to.equal(0);
  });
});
