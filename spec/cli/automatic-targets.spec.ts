import {readFile} from 'node:fs/promises';
import {fileURLToPath} from 'node:url';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import type {Allocation, AllocationTarget} from '../../lib/metadata/allocation.js';
import {
  allocateForCommand,
  requestedTarget,
  type AllocationOptions,
} from '../../lib/cli/automatic-targets.js';
import type {DataOptions} from '../../lib/cli/data.js';
import {explain} from '../../lib/cli/explain-error.js';
import {DatasetError, SparsifyError} from '../../lib/errors.js';
import {TargetScope} from '../../lib/scope/target-scope.js';
import {withoutLeaks} from '../support/backends.js';
import {rejection} from '../support/rejection.js';
import {temporaryFolder} from '../support/temporary-folder.js';

const DIGITS = fileURLToPath(new URL('../../models/digits/calibration-images.npy', import.meta.url));
const PIXELS = 784;

describe('what a command line asks for', () => {
  it('is a mean sparsity, a loss, a speed, or a loss of 1 % for --auto alone', () => {
    expect(requestedTarget({sparsity: 0.5, allocate: 'uniform'})).to.deep.equal({sparsity: 0.5});
    expect(requestedTarget({maxLoss: 0.02, speedup: 1.4})).to.include({maxLoss: 0.02, speedup: 1.4});
    expect(requestedTarget({auto: true, latency: 20})).to.include({latencyMs: 20});
    expect(requestedTarget({auto: true})).to.deep.equal({maxLoss: 0.01});
    expect(requestedTarget({target: []})).to.equal(null);
  });

  for (const [what, options] of [
    ['nothing', {}],
    ['two things', {sparsity: 0.5, auto: true}],
    ['targets by pattern with a method', {target: [], allocate: 'local'}],
  ] as const) {
    it(`is refused if it is ${what}`, () => {
      expect(() => requestedTarget(options)).to.throw(SparsifyError, '--sparsity');
    });
  }
});

describe('allocateForCommand', () => {
  const folder = temporaryFolder();
  withoutLeaks(() => {
    it('refuses a speed that cannot be had, and says which can', async () => {
      const error = await rejection(() => allocate({speedup: 1000}), 'target-not-met');
      expect(error.message).to.match(
        /fastest within the bounds is [\d.]+x, [\d.]+ ms, at a mean sparsity of (95\.0 %); ask for less, or for that with --sparsity \1; nothing was saved$/,
      );
    });

    it('refuses a loss that the least sparsity does not keep', async () => {
      const bounds = [[new TargetScope({patterns: ['.*']}), {minimum: 0.9, maximum: 0.95}]] as const;
      const error = await rejection(() => allocate({maxLoss: 1e-6}, {bounds}), 'target-not-met');
      expect(error.message).to.match(/least loss within the bounds is .* at a mean sparsity of 90/);
    });

    for (const items of [64, 96]) {
      it(`parts ${items} items of JSON lines as those of an array`, async () => {
        const digits = await readFile(DIGITS).then((file) => file.subarray(file.length - items * PIXELS));
        const rows = Array.from({length: items}, (_, i) => [
          ...digits.subarray(i * PIXELS, (i + 1) * PIXELS),
        ]);
        const data = folder.write(`${items}.jsonl`, rows.map((row) => JSON.stringify(row)).join('\n'));
        const {met, curve, chosen, metric} = await allocate({maxLoss: 0.05}, {data, batchSize: 32});
        expect(met).to.equal(true);
        expect(metric).to.equal('KL divergence');
        expect(curve[chosen].loss).to.be.within(0, 0.05);
      });
    }

    it('says which batch size parts the data, where they make one batch', async () => {
      const error = await rejection(
        () => allocate({maxLoss: 0.05}, {batches: 1, batchSize: 10}),
        'too-few-batches',
      );
      expect(explain(error))
        .to.include('one batch, of 10 items: give --batch-size 3')
        .and.not.include('heldOut');
      const single = new DatasetError('too-few-batches', '', {items: 1, batchSize: 1});
      expect(explain(single)).to.include('of 1 item: give more items');
    });

    it('gives what keeps a loss, though it is not as fast as asked', async () => {
      const {met, sparsity} = await allocate({maxLoss: 0.01, speedup: 1000});
      expect(met).to.equal(false);
      expect(sparsity).to.be.above(0);
    });
  });
});

/** On images of digits, for a model of two layers. */
async function allocate(
  target: AllocationTarget,
  options: AllocationOptions & Partial<DataOptions> = {},
): Promise<Allocation> {
  const model = mlp();
  try {
    const given = {data: DIGITS, scale: 1 / 255, batchSize: 100, ...options};
    return await allocateForCommand(model, target, 'pooled', given, new AbortController().signal);
  } finally {
    model.dispose();
  }
}

/** 784 pixels to 10 classes, through 32 units. */
function mlp(): tf.LayersModel {
  const dense = (units: number, activation: 'relu' | 'softmax', inputSize: number) =>
    tf.layers.dense({
      ...{units, activation, inputShape: [inputSize]},
      kernelInitializer: tf.initializers.glorotNormal({seed: units}),
    });
  return tf.sequential({layers: [dense(32, 'relu', 784), dense(10, 'softmax', 32)]});
}
