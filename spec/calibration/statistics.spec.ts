import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {CalibrationStatistics} from '../../lib/calibration/statistics.js';
import {readTokenMask} from '../../lib/calibration/token-mask.js';
import {AbsHistogram} from '../../lib/stats/histogram.js';
import {normals} from '../normals.js';
import {failure} from '../io/files.js';

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
