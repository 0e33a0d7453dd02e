/** @file The law of a layer's error over its sparsity, against its formula with numbers of which the powers are known. */
import {expect} from 'chai';
import {PROBE_LEVELS, predictedError} from '../../lib/allocation/error-law.js';
import type {AttainableShares} from '../../lib/metadata/allocation.js';

/** Where the probes of these specs stand: odds 1 and 4. */
const LEVELS = {level: 0.5, upperLevel: 0.8};

/** Two probes between which the error rises as s³ / (1 - s) does. */
const WALL_1 = {error: 0.01, upperError: 0.01 * 1.6 ** 3 * 2.5};

/** The power of the odds between those probes. */
const BETWEEN = Math.log(1.6 ** 3 * 2.5) / Math.log(4);

describe('the law of a layer', () => {
  it('is probed at 65 and 85 %', () => {
    expect(PROBE_LEVELS).to.deep.equal({level: 0.65, upperLevel: 0.85});
  });

  for (const [share, expected] of [
    [0, 0],
    [-0.1, 0],
    [0.25, (0.01 / 8) * (0.5 / 0.75)],
    [0.5, 0.01],
    [0.65, 0.01 * (13 / 7) ** BETWEEN],
    [0.75, 0.01 * 3 ** BETWEEN],
    [0.8, WALL_1.upperError],
    [0.9, WALL_1.upperError * 1.125 ** 3 * 2],
    [0.999, WALL_1.upperError * (0.999 / 0.8) ** 3 * 200],
    [1, WALL_1.upperError * (0.999 / 0.8) ** 3 * 200],
  ]) {
    it(`is ${expected.toPrecision(4)} at ${share}, where the probes measure a wall of 1`, () => {
      expect(predictedError(WALL_1, LEVELS, share)).to.be.closeTo(expected, 1e-9 * (expected + 1e-6));
    });
  }

  it('has a wall of a quarter at least, whatever the probes say', () => {
    // Ratios of 4.096 and less are of s³ alone.
    for (const upperError of [0.01 * 1.6 ** 3, 0.02]) {
      const at = (share: number) => predictedError({error: 0.01, upperError}, LEVELS, share);
      expect(at(0.9)).to.be.closeTo(upperError * 1.125 ** 3 * 2 ** 0.25, 1e-12);
      expect(at(0.25)).to.be.closeTo((0.01 / 8) * (0.5 / 0.75) ** 0.25, 1e-12);
    }
  });

  it('is 0 of a layer that the lower probe found without error', () => {
    for (const share of [0.25, 0.7, 0.9]) {
      expect(predictedError({error: 0, upperError: 0.5}, LEVELS, share)).to.equal(0);
    }
  });

  describe('over zeros, which are half of the values', () => {
    const inputs = (more: Partial<AttainableShares> = {}): AttainableShares => ({
      ...{zeros: 0.5, level: 0.75, upperLevel: 0.9, gaps: []},
      ...more,
    });
    for (const [share, expected] of [
      [0.5, 0],
      [0.625, (0.01 / 8) * (0.5 / 0.75)],
      [0.75, 0.01],
      [0.825, 0.01 * (13 / 7) ** BETWEEN],
      [0.95, WALL_1.upperError * 1.125 ** 3 * 2],
    ]) {
      it(`is ${expected.toPrecision(4)} at ${share}`, () => {
        const probe = {...WALL_1, inputs: inputs()};
        expect(predictedError(probe, LEVELS, share)).to.be.closeTo(expected, 1e-9);
      });
    }

    it('stands at the one probe that masked more than zeros, with the least wall', () => {
      const probe = {error: 0.3, upperError: 0.4, inputs: inputs({level: 0.5})};
      expect(predictedError(probe, LEVELS, 0.9)).to.be.closeTo(0.4, 1e-12);
      expect(predictedError(probe, LEVELS, 0.95)).to.be.closeTo(0.4 * 1.125 ** 3 * 2 ** 0.25, 1e-12);
      expect(predictedError(probe, LEVELS, 0.7)).to.be.closeTo((0.4 / 8) * (0.2 / 0.6) ** 0.25, 1e-12);
    });

    it('is the whole output at half of the others, where no probe masked any', () => {
      const probe = {error: 0, upperError: 0, inputs: inputs({level: 0.5, upperLevel: 0.5})};
      expect(predictedError(probe, LEVELS, 0.75)).to.be.closeTo(1, 1e-12);
      expect(predictedError(probe, LEVELS, 0.625)).to.be.closeTo((1 / 8) * (0.5 / 0.75) ** 0.25, 1e-12);
      expect(predictedError(probe, LEVELS, 0.9)).to.be.closeTo(1.6 ** 3 * 2.5 ** 0.25, 1e-12);
    });

    it('takes a fall between the probes for noise', () => {
      const probe = {error: 0.01, upperError: 0.002, inputs: inputs()};
      for (const share of [0.75, 0.8, 0.9]) {
        expect(predictedError(probe, LEVELS, share)).to.be.closeTo(0.01, 1e-12);
      }
    });

    it('is 0 where all values are zeros', () => {
      const probe = {error: 0.1, upperError: 0.2, inputs: inputs({zeros: 1, level: 1, upperLevel: 1})};
      for (const share of [0.5, 1]) expect(predictedError(probe, LEVELS, share)).to.equal(0);
    });
  });
});
