import {expect} from 'chai';
import type {CalibrationStatistics} from '../../lib/metadata/calibration-statistics.js';
import type {DenseReport} from '../../lib/model/inspect.js';
import {measuredLayers, parametersOf} from '../../lib/report/model-layers.js';
import {bytesRead, formatsOf, sparsitySummary} from '../../lib/report/summary-numbers.js';
import {AbsHistogram} from '../../lib/stats/histogram.js';

/** Layers `a`, sparsified at a threshold of 2, `b`, dense, and `c`, sparsified but not calibrated. */
const LAYERS = [
  {path: 'a', sparsified: true, target: 0.5, threshold: 2, reached: null},
  {path: 'b', sparsified: false, target: null, threshold: -Infinity, reached: null},
  {path: 'c', sparsified: true, target: 0.5, threshold: -Infinity, reached: null},
].map((layer) => ({
  ...{inputSize: 30, units: 10, weightShare: 0.25, format: 'float32', bytes: 1200},
  ...layer,
})) as unknown as DenseReport[];

function statistics(...paths: string[]): CalibrationStatistics {
  const histogram = new AbsHistogram();
  histogram.add(Float32Array.of(0, 1, 2, 3, 4));
  return {layers: new Map(paths.map((path) => [path, histogram]))} as unknown as CalibrationStatistics;
}

describe('the layers of a report', () => {
  const actuals = (known: Parameters<typeof measuredLayers>[0]) => {
    const {layers, actualOn} = measuredLayers(known);
    return {actuals: layers.map(({actual}) => actual), actualOn};
  };

  it('have the share that was measured, and none where it was not', () => {
    const sparsity = {layers: [{path: 'a', target: 0.5, actual: 0.42}], on: 'on test.npy'};
    expect(actuals({layers: LAYERS, statistics: statistics('a', 'b', 'c'), sparsity})).to.deep.equal({
      actuals: [0.42, null, null],
      actualOn: 'on test.npy',
    });
  });

  it('have the share that calibration saw where nothing was measured, if they are sparsified', () => {
    expect(actuals({layers: LAYERS, statistics: statistics('a', 'b', 'c')})).to.deep.equal({
      actuals: [0.6, null, 0],
      actualOn: 'on the calibration data',
    });
    expect(actuals({layers: LAYERS, statistics: statistics('b'), sparsity: null})).to.deep.equal({
      actuals: [null, null, null],
      actualOn: null,
    });
  });

  it('have errors, thresholds and histograms where these are known', () => {
    const errors = {layers: [{path: 'b', error: 0.01, rows: 4}], on: 'on 4 rows'};
    const {layers, errorsOn} = measuredLayers({layers: LAYERS, statistics: statistics('a'), errors});
    expect(errorsOn).to.equal('on 4 rows');
    expect(layers.map(({outputError}) => outputError)).to.deep.equal([null, 0.01, null]);
    expect(layers.map(({threshold}) => threshold)).to.deep.equal([2, null, null]);
    expect(layers.map(({histogram}) => histogram?.zeros)).to.deep.equal([0.2, undefined, undefined]);
    expect(measuredLayers({layers: LAYERS, statistics: null}).errorsOn).to.equal(null);
  });

  it('tell the weights of the whole model', () => {
    expect(parametersOf(LAYERS)).to.equal(1200);
  });
});

describe('what layers come to', () => {
  const layer = (sparsified: boolean, target: number | null, actual: number | null, units = 10) => ({
    ...measuredLayers({layers: LAYERS, statistics: null}).layers[0],
    ...{sparsified, target, actual, units, bytes: 120 * units},
  });

  it('is a mean of the sparsified by their weights, null where one is unknown', () => {
    const layers = [layer(true, 0.8, 0.7, 30), layer(true, 0.4, 0.3, 10), layer(false, null, null, 99)];
    const {target, actual, ...counts} = sparsitySummary(layers);
    expect(counts).to.deep.equal({sparsified: 2, dense: 1});
    expect(target).to.be.closeTo(0.7, 1e-12);
    expect(actual).to.be.closeTo(0.6, 1e-12);
    expect(sparsitySummary([...layers, layer(true, 0.5, null)])).to.include({sparsified: 3, actual: null});
    expect(sparsitySummary([])).to.deep.equal({sparsified: 0, dense: 0, target: null, actual: null});
  });

  it('reads the rows of kept inputs, and all of a dense layer', () => {
    // 1,200 bytes each: a quarter is masked of one.
    expect(bytesRead([layer(true, 0.5, 0.25), layer(false, null, null)])).to.deep.equal({
      dense: 2400,
      sparse: 2100,
    });
    expect(bytesRead([layer(true, 0.5, null), layer(false, null, null)])).to.equal(null);
  });

  it('names each format once', () => {
    const formats = ['float32', 'int8_asym', 'float32'].map((format) => ({format}));
    expect(formatsOf(formats)).to.equal('float32, int8_asym');
  });
});
