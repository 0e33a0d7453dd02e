import {expect} from 'chai';
import {SIDE, digitImage} from '../../../models/web/digit/digit-image.js';

/** A drawing with ink in a box. */
function drawing(
  side: number,
  box: {left: number; top: number; width: number; height: number},
): Float32Array {
  return Float32Array.from({length: side * side}, (_, i) => {
    const [x, y] = [(i % side) - box.left, Math.floor(i / side) - box.top];
    return x >= 0 && x < box.width && y >= 0 && y < box.height ? 1 : 0;
  });
}

/** First and last row and column with ink. */
function extent(image: Float32Array) {
  const inked = [...image.keys()].filter((i) => image[i] > 0);
  const [rows, columns] = [inked.map((i) => Math.floor(i / SIDE)), inked.map((i) => i % SIDE)];
  return {
    rows: [Math.min(...rows), Math.max(...rows)],
    columns: [Math.min(...columns), Math.max(...columns)],
  };
}

describe('digitImage', () => {
  it('has no image for paper without ink', () => {
    expect(digitImage(new Float32Array(100), 10)).to.equal(null);
    expect(digitImage(new Float32Array(100).fill(0.05), 10)).to.equal(null);
  });

  it('scales a tall stroke to 20 rows, in the middle, wherever and however large it was drawn', () => {
    for (const [side, box] of [
      [280, {left: 10, top: 5, width: 20, height: 100}],
      [280, {left: 200, top: 60, width: 40, height: 200}],
      [56, {left: 3, top: 2, width: 8, height: 40}],
    ] as const) {
      const image = digitImage(drawing(side, box), side)!;
      expect(extent(image)).to.deep.equal({rows: [4, 23], columns: [12, 15]});
      expect(image.reduce((sum, value) => sum + value, 0)).to.be.closeTo(80, 1e-3);
    }
  });

  it('scales a wide stroke to 20 columns', () => {
    const image = digitImage(drawing(100, {left: 0, top: 90, width: 100, height: 10}), 100)!;
    expect(extent(image)).to.deep.equal({rows: [13, 14], columns: [4, 23]});
  });

  it('takes the mean of what falls on a pixel', () => {
    // 40 x 40 with ink in every other column: each pixel of 2 x 2 is half ink.
    const ink = Float32Array.from({length: 1600}, (_, i) => (i % 2 === 0 || i % 40 === 39 ? 1 : 0));
    const image = digitImage(ink, 40)!;
    expect(image[14 * SIDE + 10]).to.be.closeTo(0.5, 1e-6);
  });

  /** A stroke down with a foot, and how far the foot goes to the right. */
  const withFoot = (foot: {top: number; height: number}) => {
    const stem = drawing(100, {left: 0, top: 0, width: 10, height: 100});
    const other = drawing(100, {left: 0, width: 100, ...foot});
    return stem.map((value, i) => Math.max(value, other[i]));
  };

  it('centres the mass, not the box', () => {
    const image = digitImage(withFoot({top: 60, height: 10}), 100)!;
    let [mass, x, y] = [0, 0, 0];
    for (const [i, value] of image.entries()) {
      mass += value;
      x += value * ((i % SIDE) + 0.5);
      y += value * (Math.floor(i / SIDE) + 0.5);
    }
    // The place is a whole number of pixels.
    expect(x / mass).to.be.closeTo(14, 0.5);
    expect(y / mass).to.be.closeTo(14, 0.5);
    expect(extent(image).columns[0]).to.be.greaterThan(4);
  });

  it('loses no ink at the edge', () => {
    // Most of the ink is at the foot: with its mass in the middle the top would lie outside.
    const image = digitImage(withFoot({top: 80, height: 20}), 100)!;
    expect(extent(image).rows).to.deep.equal([0, 19]);
    // 20 x 2 of the stem, and 18 x 4 of the foot beside it.
    expect(image.reduce((sum, value) => sum + value, 0)).to.be.closeTo(112, 1e-3);
  });
});
