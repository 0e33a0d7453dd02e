import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {toModelInputs} from '../../lib/calibration/model-inputs.js';
import {explain, outOfDeviceMemory} from '../../lib/cli/explain-error.js';
import {SparsifyError} from '../../lib/errors.js';
import {retarget} from '../../lib/sparsify.js';
import {TargetScope, IgnoredScope} from '../../lib/scope/target-scope.js';

/** What the command line says of the error that `action` throws. */
function explained(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof SparsifyError) return explain(error);
    throw error;
  }
  throw new Error('it did not fail');
}

describe('explain', () => {
  let model: tf.LayersModel;
  let two: tf.LayersModel;
  const target = (pattern: string) => [new TargetScope({patterns: [pattern]}), 0.5] as const;

  before(async () => {
    await tf.setBackend('cpu');
    const {dense, dropout, concatenate} = tf.layers;
    model = tf.sequential({
      layers: [dense({name: 'first', units: 2, inputShape: [3]}), dropout({name: 'drop', rate: 0.5})],
    });
    const [a, b] = [tf.input({name: 'a', shape: [1]}), tf.input({name: 'b', shape: [1]})];
    const joined = concatenate().apply([a, b]) as tf.SymbolicTensor;
    two = tf.model({inputs: [a, b], outputs: dense({units: 1}).apply(joined) as tf.SymbolicTensor});
  });
  after(() => [model, two].forEach((each) => each.dispose()));

  it('names --target and layers that can be sparsified, not fields of a scope', () => {
    const text = explained(() => retarget(model, [target('nothing')]));
    expect(text).to.match(/^--target or --bounds: pattern "nothing"/);
    expect(text).to.include('"first"').and.not.include('drop').and.not.include('validate');
  });

  it('names --ignore', () => {
    const ignoredScope = new IgnoredScope({patterns: ['frist']});
    const text = explained(() => retarget(model, {targetSparsityByScope: [target('.*')], ignoredScope}));
    expect(text).to.match(/^--ignore: pattern "frist".*"first"/);
  });

  it('names --target and --ignore where two patterns overlap', () => {
    const text = explained(() => retarget(model, [target('first'), target('fir.*')]));
    expect(text).to.include('"first" is in two --target patterns').and.include('--ignore');
  });

  it('proposes no exact names for a bad pattern', () => {
    const text = explained(() => retarget(model, [target('(')]));
    expect(text).to.include('pattern "(" is not a regular expression').and.not.include('names');
  });

  it('names --no-statistics', () => {
    expect(explained(() => retarget(model, [target('first')]))).to.include('without --no-statistics');
  });

  it('asks for a dimension of items in the file', () => {
    const text = explained(() => toModelInputs(model, [1, 2, 3], 0));
    expect(text).to.include('shape [3]').and.include('[items, 3]').and.include('[1, 3]');
    expect(text).to.not.include('expandDims');
  });

  it('keeps the text of other shapes', () => {
    expect(explained(() => toModelInputs(model, [[1, 2]], 0))).to.include('the model takes [any, 3]');
  });

  it('asks for a file with the names of several inputs', () => {
    const text = explained(() => toModelInputs(two, [[1]], 0));
    expect(text).to.include('2 inputs (a, b)').and.include('.npz').and.not.include('transform');
  });

  it('keeps the text of other errors', () => {
    expect(explain(new SparsifyError('anything', 'as it is'))).to.equal('as it is');
  });
});

describe('outOfDeviceMemory', () => {
  it('gives the remedy for what TensorFlow says of a full GPU', () => {
    // What tfjs-node-gpu threw on an H100.
    const text = outOfDeviceMemory(new Error('Invalid TF_Status: 8\nMessage: failed to allocate memory'));
    expect(text).to.contain("the GPU's memory is full").and.contain('SPARSIFY_BACKEND=node');
  });

  it('names the tensor where TensorFlow does', () => {
    const message =
      'Invalid TF_Status: 8\nMessage: OOM when allocating tensor with shape[65536,65536] and type float on ' +
      '/job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc';
    expect(outOfDeviceMemory(new Error(message))).to.contain('a tensor of shape [65536,65536]');
  });

  it('says nothing of other errors', () => {
    expect(outOfDeviceMemory(new Error('Invalid TF_Status: 3\nMessage: shapes'))).to.equal(undefined);
    expect(outOfDeviceMemory('stop')).to.equal(undefined);
  });
});
