/** @file Allocations and their trade-off curves, of two layers whose means and errors can be computed by hand. */
import {expect} from 'chai';
import type {ProbeErrors} from '../../lib/metadata/allocation.js';
import {predictedError} from '../../lib/allocation/error-law.js';
import {AllocationPlan, type PlanOptions} from '../../lib/allocation/allocation-plan.js';
import {uniformShares, type WeightedLayer} from '../../lib/allocation/share-functions.js';

/** Of weights 1 : 3, of sizes 3 : 1. */
const LAYERS: readonly WeightedLayer[] = [
  {path: 'a', weights: 100, size: 3, minimum: 0.2, maximum: 0.8},
  {path: 'b', weights: 300, size: 1, minimum: 0.1, maximum: 0.9},
];

const PROBES: ProbeErrors = {
  ...{level: 0.65, upperLevel: 0.85, rows: 7},
  layers: [
    {path: 'a', weights: 100, join: 'j', error: 0.01, upperError: 0.05},
    {path: 'b', weights: 300, join: 'k', error: 0.02, upperError: 0.09},
  ],
};

function planWith(options: Partial<PlanOptions> = {}): AllocationPlan {
  return new AllocationPlan(LAYERS, uniformShares(LAYERS), {
    ...{method: 'uniform', weighting: 'time', target: {sparsity: 0.5}, probes: null},
    ...options,
  });
}

/** A candidate of a search. */
const candidate = (sparsity: number, loss: number | null, ms: number | null, denseMs = 10) => ({
  sparsity,
  loss: loss === null ? null : {loss, error: loss / 10},
  speed: ms === null ? null : {denseMs, ms},
});

describe('AllocationPlan', () => {
  it('has the range of means that the bounds allow, weighted by size', () => {
    const {least, most} = planWith().range;
    expect(least).to.be.closeTo((3 * 0.2 + 0.1) / 4, 1e-12);
    expect(most).to.be.closeTo((3 * 0.8 + 0.9) / 4, 1e-12);
  });

  it('gives each layer its share and bounds, and says what it was asked for', () => {
    const {curve, chosen, sparsity, layers, ...others} = planWith().at(0.85 / 4 + 0.05);
    expect(others).to.deep.equal({
      ...{version: 1, method: 'uniform', weighting: 'time', target: {sparsity: 0.5}, probes: null},
      ...{met: true, metric: null, denseMs: null},
    });
    expect(layers.map(({target: _, ...layer}) => layer)).to.deep.equal([
      {path: 'a', weights: 100, minimum: 0.2, maximum: 0.8, predictedError: null},
      {path: 'b', weights: 300, minimum: 0.1, maximum: 0.9, predictedError: null},
    ]);
    for (const {target} of layers) expect(target).to.be.closeTo(0.2625, 1e-9);
    expect(sparsity).to.be.closeTo(0.2625, 1e-9);
    expect(curve[chosen].sparsity).to.equal(sparsity);
  });

  it('counts the mean of what was given by weights, not by size', () => {
    // At a mean of 0.825 by size the layers have 0.8 and 0.9.
    expect(planWith().at(0.825).sparsity).to.be.closeTo((0.8 + 3 * 0.9) / 4, 1e-9);
  });

  for (const [sparsity, met] of [
    [0.5, true],
    [0.8299, true],
    [0.8301, false],
    [0.95, false],
  ] as const) {
    it(`${met ? 'meets' : 'does not meet'} a mean of ${sparsity} where 0.825 is the most`, () => {
      expect(planWith().at(sparsity).met).to.equal(met);
    });
  }

  it('has a curve of steps of 5 % between the bounds, and the chosen mean among them', () => {
    const {curve, chosen} = planWith().at(0.52);
    const steps = [0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.52, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8];
    expect(chosen).to.equal(7);
    expect(curve).to.have.length(steps.length);
    curve.forEach(({sparsity, ...point}, i) => {
      expect(sparsity).to.be.closeTo(steps[i], 1e-9);
      expect(point).to.deep.equal({
        ...{predictedError: null, loss: null, lossError: null},
        ...{latencyMs: null, speedup: null, latencyMeasured: false},
      });
    });
    expect(planWith().at(0.35).curve).to.have.length(13); // a step that was chosen stands there once
  });

  it('starts and ends the curve at bounds that are steps', () => {
    const layers = [{path: 'a', weights: 1, size: 1, minimum: 0, maximum: 1}];
    const {curve} = new AllocationPlan(layers, (sparsity) => [sparsity], {
      ...{method: 'uniform', weighting: 'weights', target: {sparsity: 0.5}, probes: null},
    }).at(0.5);
    expect(curve).to.have.length(21);
  });

  it('predicts the error of each layer, and adds them up for each point', () => {
    const {layers, curve, chosen} = planWith({probes: PROBES}).at(0.5);
    const errors = PROBES.layers.map((probe) => predictedError(probe, PROBES, 0.5));
    expect(layers.map(({predictedError}) => predictedError)).to.deep.equal(errors);
    expect(curve[chosen].predictedError).to.be.closeTo(errors[0] + errors[1], 1e-12);
    const last = PROBES.layers.map((probe) => predictedError(probe, PROBES, 0.8));
    expect(curve[curve.length - 1].predictedError).to.be.closeTo(last[0] + last[1], 1e-7);
  });

  it('predicts none of a point of which a layer was not probed', () => {
    const probes = {...PROBES, layers: PROBES.layers.slice(1)};
    const {layers, curve} = planWith({probes}).at(0.5);
    expect(layers[0].predictedError).to.equal(null);
    expect(layers[1].predictedError).to.equal(predictedError(PROBES.layers[1], PROBES, 0.5));
    for (const point of curve) expect(point.predictedError).to.equal(null);
  });

  it('holds what a search measured: losses as they are, speeds as ratios to one dense time', () => {
    const found = {
      ...{sparsity: 0.4, met: false},
      candidates: [candidate(0.3, 0.01, null), candidate(0.42, null, 8), candidate(0.4, 0.02, 5, 20)],
    };
    const {met, metric, denseMs, chosen, curve, sparsity} = planWith().chosen(found, 'KL divergence');
    expect({met, metric, denseMs}).to.deep.equal({met: false, metric: 'KL divergence', denseMs: 10});
    expect(sparsity).to.be.closeTo(0.4, 1e-9);
    const at = (mean: number) => {
      const {sparsity: _, ...point} = curve.find((point) => Math.abs(point.sparsity - mean) < 1e-9)!;
      return point;
    };
    const unmeasured = {predictedError: null, latencyMs: null, speedup: null, latencyMeasured: false};
    expect(at(0.3)).to.deep.equal({...unmeasured, loss: 0.01, lossError: 0.001});
    expect(at(0.42)).to.deep.equal({
      ...{predictedError: null, loss: null, lossError: null},
      ...{latencyMs: 8, speedup: 1.25, latencyMeasured: true},
    });
    // 5 ms beside 20 are a quarter: 2.5 beside 10.
    expect(at(0.4)).to.deep.equal({
      ...{predictedError: null, loss: 0.02, lossError: 0.002},
      ...{latencyMs: 2.5, speedup: 4, latencyMeasured: true},
    });
    expect(chosen).to.equal(curve.findIndex((point) => point.latencyMs === 2.5));
    expect(curve).to.have.length(14); // 0.42 alone is no step
  });

  it('keeps milliseconds that were asked for', () => {
    const found = {
      ...{sparsity: 0.4, met: true},
      candidates: [candidate(0.3, null, 8), candidate(0.4, null, 5, 20)],
    };
    const {met, metric, curve, chosen} = planWith({target: {latencyMs: 6}}).chosen(found, 'accuracy points');
    expect({met, metric}).to.deep.equal({met: true, metric: null}); // no loss was measured
    expect(curve[chosen]).to.deep.include({latencyMs: 5, speedup: 2, latencyMeasured: true});
  });
});
