import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {attachStatistics, statisticsOf} from '../../lib/metadata/attached-statistics.js';
import {CalibrationStatistics} from '../../lib/metadata/calibration-statistics.js';
import {readTokenMask} from '../../lib/calibration/token-mask.js';
import {AbsHistogram} from '../../lib/stats/histogram.js';
import {disposeModels} from '../support/backends.js';
import {normals} from '../support/normals.js';
import {failure} from '../support/io/files.js';

/** Statistics of layers that read one stream, so that they share a histogram. */
function shared(...paths: string[]): CalibrationStatistics {
  const histogram = new AbsHistogram();
  histogram.add(normals(100, 1));
  return new CalibrationStatistics(new Map(paths.map((path) => [path, histogram])));
}

describe('CalibrationStatistics', () => {
  it('come back from JSON with layers that share a histogram still sharing it', () => {
    const text = JSON.stringify(shared('a', 'b'));
    const {layers} = CalibrationStatistics.fromJSON(JSON.parse(text));
    expect(layers.get('a')).to.equal(layers.get('b'));
    expect(layers.get('a')!.count).to.equal(100);
  });

  it('merge a histogram that layers share only once', () => {
    const mine = shared('a', 'b');
    mine.merge(shared('b', 'a'));
    expect(mine.layers.get('a')!.count).to.equal(200);
  });

  it('come back from JSON with the thresholds that are no quantiles', () => {
    const {layers} = shared('a', 'b');
    const found = new Map([['a', {target: 0.5, threshold: 2}]]);
    const json: unknown = JSON.parse(JSON.stringify(new CalibrationStatistics(layers, null, found)));
    const back = CalibrationStatistics.fromJSON(json);
    expect(back.thresholds).to.deep.equal(found);
    expect(back.thresholdFor('a', 0.5)).to.equal(2);
    for (const [path, target] of [
      ['a', 0.4],
      ['b', 0.5],
    ] as const) {
      expect(back.thresholdFor(path, target)).to.equal(layers.get(path)!.quantile(target));
    }
    expect(new CalibrationStatistics(new Map([['a', new AbsHistogram()]])).thresholdFor('a', 0.5)).to.equal(
      -Infinity,
    );
  });

  it('of a loaded model are one object, which can be merged into', () => {
    const model = tf.sequential({layers: [tf.layers.dense({units: 1, inputShape: [1]})]});
    attachStatistics(model, shared('a'), true);
    const loaded = tf.sequential({layers: [tf.layers.dense({units: 1, inputShape: [1]})]});
    loaded.setUserDefinedMetadata(model.getUserDefinedMetadata());
    expect(statisticsOf(loaded)).to.equal(statisticsOf(loaded));
    expect(statisticsOf(loaded)).not.to.equal(statisticsOf(model));
    expect(statisticsOf(loaded).layers.get('a')!.count).to.equal(100);
    disposeModels(model, loaded);
  });

  it('refuse to merge those of other layers', async () => {
    expect((await failure(() => shared('a').merge(shared('b')))).code).to.equal('different-layers');
  });

  for (const json of [
    undefined,
    null,
    {version: 2},
    {version: 1},
    {version: 1, histograms: [], layers: null},
    {version: 1, histograms: {}, layers: {}},
    {version: 1, histograms: [], layers: {a: 0}},
    {version: 1, histograms: [], layers: {}, allocation: 'greedy'},
    {version: 1, histograms: [], layers: {}, thresholds: null},
    {version: 1, histograms: [], layers: {}, thresholds: {a: {target: 0.5, threshold: 1}}},
    ...[{target: 1.5, threshold: 1}, {target: 0.5, threshold: -1}, {target: 0.5}, null].map((found) => ({
      ...shared('a').toJSON(),
      thresholds: {a: found},
    })),
  ]) {
    it(`refuse ${JSON.stringify(json)}`, async () => {
      expect((await failure(() => CalibrationStatistics.fromJSON(json))).code).to.equal(
        'malformed-statistics',
      );
    });
  }
});

describe('readTokenMask', () => {
  it('refuses a mask that is not [batch, tokens], and frees it', async () => {
    const before = tf.memory().numTensors;
    const tokenMask = () => [[[1, 0]]];
    const error = await failure(
      readTokenMask({tokenMask: tokenMask as unknown as () => number[][]}, null, 3),
    );
    expect(error.code).to.equal('wrong-shape');
    expect(error.message).to.include('item 3').and.include('[1, 1, 2]');
    expect(tf.memory().numTensors).to.equal(before);
  });
});
