/** @file Changing a model in place, back where that fails, and its targets afterwards: small, on one backend. */
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {compressWeights} from '../lib/compress.js';
import {
  IgnoredScope,
  allocateSparsity,
  allocationOf,
  inspect,
  retarget,
  sparsifyActivations,
  type SparsifyOptions,
  type SparsifyWarning,
} from '../lib/index.js';
import {sparsifyingDenseLayers} from '../lib/model/dense-layers.js';
import {disposeModels, withoutLeaks} from './support/backends.js';
import {failure} from './support/io/files.js';
import {normals} from './support/normals.js';
import {savedArtifacts} from './support/saved-artifacts.js';

const WIDTH = 20;

/** Three layers that give back their input. */
function chain(): tf.LayersModel {
  const inputs = tf.input({shape: [WIDTH]});
  const outputs = ['a', 'b', 'c'].reduce(
    (tensor, name) =>
      tf.layers
        .dense({name, units: WIDTH, useBias: false, kernelInitializer: 'identity'})
        .apply(tensor) as tf.SymbolicTensor,
    inputs,
  );
  return tf.model({inputs, outputs});
}

/** 1 to 20: a share masks as many. */
const ROW = [Array.from({length: WIDTH}, (_, i) => i + 1)];

const about = (model: tf.LayersModel) =>
  inspect(model).map(({path, sparsified, target, reached}) => [path, sparsified, target, reached]);
const thresholds = (model: tf.LayersModel) => inspect(model).map(({threshold}) => threshold);

describe('sparsifying in place', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));
    const sparsify = (
      model: tf.LayersModel,
      options: Partial<SparsifyOptions> & Pick<SparsifyOptions, 'targetSparsityByScope'>,
      data: unknown[] = [ROW],
    ) => sparsifyActivations(model, data, {inPlace: true, onWarning: () => undefined, ...options});

    it('changes the model that is given, and a copy if it is not asked for', async () => {
      const model = chain();
      const copy = await sparsifyActivations(model, [ROW], {targetSparsityByScope: {a: 0.5}});
      expect(copy).to.not.equal(model);
      expect(about(model)).to.deep.equal(['a', 'b', 'c'].map((path) => [path, false, null, null]));
      expect(await sparsify(model, {targetSparsityByScope: {a: 0.5}})).to.equal(model);
      expect(about(model)).to.deep.equal(about(copy));
      expect(about(model)[0]).to.deep.equal(['a', true, 0.5, 0.5]);
      expect(thresholds(model)[0]).to.be.within(10, 11);
      disposeModels(copy, model);
    });

    it('leaves targets, shares and thresholds as they were where it fails', async () => {
      const model = chain();
      await sparsify(model, {targetSparsityByScope: {a: 0.5, b: 0.25}});
      const before = [about(model), thresholds(model)];
      const reason = new Error('enough');
      const options = {targetSparsityByScope: {'.*': 0.8}};
      for (const fail of [
        () => sparsify(model, {...options, signal: AbortSignal.abort(reason)}),
        () => sparsify(model, options, []),
        () => sparsify(model, options, [ROW, [ROW[0].map(() => NaN)]]),
        () => sparsifyActivations(model, [], options),
      ]) {
        const error: unknown = await fail().catch((thrown: unknown) => thrown);
        expect(error).to.be.instanceOf(Error);
        expect([about(model), thresholds(model)]).to.deep.equal(before);
      }
      disposeModels(model);
    });

    it('calibrates what was sparsified before again, beside what is new', async () => {
      const model = chain();
      await sparsify(model, {targetSparsityByScope: {a: 0.5}});
      await sparsify(model, {targetSparsityByScope: {b: 0.25}}, [[ROW[0].map((x) => 10 * x)]]);
      expect(about(model).map(([, , target]) => target)).to.deep.equal([0.5, 0.25, null]);
      expect(thresholds(model)[0]).to.be.within(100, 110);
      disposeModels(model);
    });

    it('writes statistics into the metadata if it is told to, and warns of targets that are not met', async () => {
      const tied = [Array<number>(WIDTH).fill(1)];
      for (const saveStatistics of [false, true]) {
        const model = chain();
        const warnings: SparsifyWarning[] = [];
        await sparsify(
          model,
          {
            ...{targetSparsityByScope: {a: 0.5}, saveStatistics},
            onWarning: (warning) => warnings.push(warning),
          },
          [tied],
        );
        expect(warnings.map(({code}) => code)).to.deep.equal(['target-missed']);
        const {userDefinedMetadata} = await savedArtifacts(model);
        expect(Object.keys(userDefinedMetadata ?? {}).length > 0).to.equal(saveStatistics);
        disposeModels(model);
      }
    });

    it('refuses options that there are not, and needs targets', async () => {
      const model = chain();
      const wrong = await failure(
        sparsify(model, {targetSparsityByScope: {a: 0.5}, batches: 3} as object as SparsifyOptions),
      );
      expect(wrong.code).to.equal('unknown-option');
      expect(wrong.message).to.include('sparsifyActivations');
      const none = await failure(sparsify(model, {} as SparsifyOptions));
      expect(none.code).to.equal('missing-option');
      expect(none.message).to.include("{targetSparsityByScope: {'.*': 0.5}}");
      disposeModels(model);
    });
  }));

describe('retarget', () =>
  withoutLeaks(() => {
    before(() => tf.setBackend('cpu'));
    let model: tf.LayersModel;
    beforeEach(async () => {
      model = chain();
      await sparsifyActivations(model, [ROW], {targetSparsityByScope: {'[ab]': 0.5}, inPlace: true});
    });
    afterEach(() => disposeModels(model));

    it('takes targets by pattern, in pairs, and beside an ignored scope', () => {
      expect(retarget(model, {a: 0.25}).map(({target}) => target)).to.deep.equal([0.25, 0.5, null]);
      expect(thresholds(model)[0]).to.be.within(5, 6);
      expect(about(model)[0]).to.deep.equal(['a', true, 0.25, 0.25]);
      const ignoredScope = new IgnoredScope({names: ['a', 'c']});
      expect(
        retarget(model, {targetSparsityByScope: {'.*': 0.75}, ignoredScope}).map(({target}) => target),
      ).to.deep.equal([0.25, 0.75, null]);
    });

    it('says which layers have no statistics, and which do; nothing is changed then', async () => {
      const before = about(model);
      const error = await failure(() => retarget(model, {'.*': 0.75}));
      expect(error.code).to.equal('not-calibrated');
      expect(error.message).to.equal(
        'the model has no statistics for "c"; sparsify these layers with sparsifyActivations, or name only calibrated ' +
          'ones: a, b',
      );
      expect(error.data).to.deep.equal({missing: ['c'], calibrated: ['a', 'b']});
      expect(about(model)).to.deep.equal(before);
      // A layer that is INT8 alone is sparsifying by its class, and has none either.
      await compressWeights(model, {inPlace: true});
      expect((await failure(() => retarget(model, {'[bc]': 0.75}))).data).to.deep.equal({
        missing: ['c'],
        calibrated: ['a', 'b', 'c'],
      });
      for (const layer of sparsifyingDenseLayers(model).values())
        expect(layer.compression).to.deep.equal({int8: 'asym'});
    });

    it('takes an allocation and keeps it', async () => {
      const data = [[normals(WIDTH, 1)], [normals(WIDTH, 2)]].map((rows) => rows.map((row) => [...row]));
      const allocation = await allocateSparsity(model, data, {target: 0.5, scopes: {'[ab]': {}}});
      expect(allocationOf(model)).to.equal(null);
      retarget(model, allocation);
      expect(allocationOf(model)).to.deep.equal(allocation);
      expect(inspect(model).map(({target}) => target)).to.deep.equal([
        ...allocation.layers.map(({target}) => target),
        null,
      ]);
      retarget(model, {targetSparsityByScope: allocation});
      expect(allocationOf(model)).to.deep.equal(allocation);
    });

    it('warns of the layers that it was asked for alone', async () => {
      const tied = chain();
      await sparsifyActivations(tied, [[Array<number>(WIDTH).fill(1)]], {
        ...{targetSparsityByScope: {'.*': 0.5}, inPlace: true, onWarning: () => undefined},
      });
      const warnings: SparsifyWarning[] = [];
      retarget(tied, {b: 0.5}, {onWarning: (warning) => warnings.push(warning)});
      expect(warnings).to.have.length(1);
      expect(warnings[0].message).to.include('"b"').and.not.include('"a"');
      disposeModels(tied);
    });

    it('refuses options that there are not', async () => {
      const scopes = {targetSparsityByScope: {a: 0.5}, ignored: {}} as object as SparsifyOptions;
      const error = await failure(() => retarget(model, scopes));
      expect(error.code).to.equal('unknown-option');
      expect(error.message).to.include('retarget');
      const other = await failure(() => retarget(model, {a: 0.5}, {warn: () => 0} as object));
      expect(other.code).to.equal('unknown-option');
      expect(other.message).to.include('retarget').and.include('onWarning');
    });
  }));
