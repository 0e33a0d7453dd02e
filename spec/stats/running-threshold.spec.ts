import {readFileSync} from 'node:fs';

import {expect} from 'chai';

import {SparsifyError} from '../../lib/errors.js';
import {quantileAbs} from '../../lib/stats/quantile.js';
import {RunningThreshold} from '../../lib/stats/running-threshold.js';

type Scalar = number | 'NaN' | 'Infinity' | '-Infinity';
type Nested = Scalar | Nested[];

interface Step {
  input: Nested;
  output: Nested;
  batch_threshold_f64: Scalar;
  running_threshold: Scalar;
  num_batches_tracked: number;
}

const fixture = JSON.parse(
  readFileSync(new URL('../fixtures/nncf/sparsifier_unit.json', import.meta.url), 'utf8'),
) as {
  cases: {
    name: string;
    target_sparsity: number;
    alpha: number;
    dtype: 'float16' | 'float32' | 'float64';
    initial_threshold: Scalar;
    calibration: Step[];
    frozen?: {input: Nested; output: Nested}[];
  }[];
  reset: {input: Nested; threshold_before: number; num_batches_after_reset: number};
  uncalibrated_is_identity: {input: Nested; output: Nested};
};
const edges = JSON.parse(
  readFileSync(new URL('../fixtures/nncf/api_edges.json', import.meta.url), 'utf8'),
) as {errors: {name: string; error?: {kind: string}}[]};

function flatten(values: Nested): Scalar[] {
  return Array.isArray(values) ? values.flatMap(flatten) : [values];
}

function flat(values: Nested): Float32Array {
  return Float32Array.from(flatten(values), Number);
}

/** The rule of the fixtures' README: a tie is masked to +0, NaN is kept. */
function mask(values: Float32Array, threshold: number): number[] {
  return Array.from(values, (x) => (Math.abs(x) <= threshold ? 0 : x));
}

/** Enough of float16 for thresholds in [2, 4), where the one case that needs it lies: 10 mantissa bits. */
const roundToHalfNear2 = (value: number) => Math.round(value * 512) / 512;

const ROUND = {float16: roundToHalfNear2, float32: Math.fround, float64: (value: number) => value};

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    expect(error).to.be.instanceOf(SparsifyError);
    return (error as SparsifyError).code;
  }
  return 'none';
}

describe('RunningThreshold', () => {
  describe("NNCF's cases", () => {
    for (const {
      name,
      target_sparsity,
      alpha,
      dtype,
      initial_threshold,
      calibration,
      frozen,
    } of fixture.cases) {
      if (name === 'nan_poisons') {
        continue; // Here a NaN is rejected instead: see below.
      }
      it(`${name}: ${calibration.length} batches at ${target_sparsity}, alpha ${alpha}`, () => {
        const threshold = new RunningThreshold({alpha, round: ROUND[dtype]});
        expect(threshold.value).to.equal(Number(initial_threshold));
        for (const step of calibration) {
          const input = flat(step.input);
          const batch = quantileAbs(input, target_sparsity);
          // Two roundings of the interpolation, in float64.
          const expected = Number(step.batch_threshold_f64);
          expect(batch).to.be.closeTo(expected, 1e-15 * expected);
          threshold.update(batch);
          const running = Number(step.running_threshold);
          expect(threshold.value).to.equal(dtype === 'float64' ? running : Math.fround(running));
          expect(threshold.batches).to.equal(step.num_batches_tracked);
          expect(mask(input, threshold.value)).to.deep.equal([...flat(step.output)]);
        }
        for (const {input, output} of frozen ?? []) {
          expect(mask(flat(input), threshold.value)).to.deep.equal([...flat(output)]);
        }
      });
    }

    it('nan_poisons: rejects the NaN batch and goes on with the next', () => {
      const {target_sparsity, alpha, calibration} = fixture.cases.find(({name}) => name === 'nan_poisons')!;
      const threshold = new RunningThreshold({alpha});
      const [poisoned, good] = calibration.map(({input}) => quantileAbs(flat(input), target_sparsity));
      expect(codeOf(() => threshold.update(poisoned))).to.equal('threshold-not-a-number');
      expect(threshold).to.include({value: -Infinity, batches: 0});
      expect(threshold.update(good)).to.equal(Number(calibration[1].batch_threshold_f64));
    });

    it('reset: forgets its batches', () => {
      const {input, threshold_before, num_batches_after_reset} = fixture.reset;
      const threshold = new RunningThreshold();
      expect(threshold.update(quantileAbs(flat(input), 0.5))).to.equal(Math.fround(threshold_before));
      threshold.reset();
      expect(threshold).to.include({value: -Infinity, batches: num_batches_after_reset});
      expect(threshold.update(1.5)).to.equal(1.5);
    });

    it("takes NNCF's weight of the newest batch where none is given", () => {
      expect(new RunningThreshold().alpha).to.equal(0.2);
    });

    it('uncalibrated_is_identity: masks nothing', () => {
      const {input, output} = fixture.uncalibrated_is_identity;
      expect(mask(flat(input), new RunningThreshold().value)).to.deep.equal([...flat(output)]);
    });

    const alphas = edges.errors.filter(({name}) => name.startsWith('alpha '));
    expect(alphas).to.have.length(4);
    for (const {name, error} of alphas) {
      it(`rejects ${name}`, () => {
        const alpha = Number(name.slice('alpha '.length));
        expect(codeOf(() => new RunningThreshold({alpha}))).to.equal(error!.kind);
      });
    }
  });

  it('rejects an alpha that is NaN', () => {
    expect(codeOf(() => new RunningThreshold({alpha: NaN}))).to.equal('alpha-out-of-range');
  });

  it('leaves its state as it was when it rejects', () => {
    const threshold = new RunningThreshold();
    threshold.update(1);
    for (const bad of [NaN, -1, -Infinity]) {
      expect(codeOf(() => threshold.update(bad))).to.match(/^threshold-/);
      expect(threshold).to.include({value: 1, batches: 1});
    }
  });

  it('takes an infinite threshold as NNCF does, and keeps it', () => {
    const threshold = new RunningThreshold();
    threshold.update(Infinity);
    expect(threshold.update(1)).to.equal(Infinity);
  });

  it('stays at a constant', () => {
    const threshold = new RunningThreshold();
    for (let i = 0; i < 1000; i++) {
      threshold.update(0.25);
    }
    // b^n and 1 - b^n are float32: each update errs by at most a few times 2^-24, and forgets a fifth of it.
    expect(threshold.value).to.be.closeTo(0.25, 1e-6);
  });
});
