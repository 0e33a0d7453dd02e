/**
 * @file A drawing as the digits model takes it, in the form of MNIST's images (LeCun, Cortes, Burges): the ink scaled to 20
 * pixels on its longer side, and moved so that its centre of mass lies in the middle of 28 x 28.
 */

/** Width and height of the model's images. */
export const SIDE = 28;
/** The longer side of the ink. */
const INK_SIDE = 20;
/** Fainter ink is paper: edges of strokes would widen the box. */
const FAINTEST = 0.1;

/**
 * The image of a drawing.
 *
 * @param ink [side, side] row by row, 0 for paper and 1 for ink.
 * @param side Width and height of the drawing.
 * @returns [28, 28]; null for a drawing without ink.
 */
export function digitImage(ink: Float32Array, side: number): Float32Array | null {
  const box = boxOf(ink, side);
  if (box === null) return null;
  const {left, top, width, height} = box;
  const scale = INK_SIDE / Math.max(width, height);
  const small = {
    width: Math.max(1, Math.round(width * scale)),
    height: Math.max(1, Math.round(height * scale)),
  };
  const scaled = new Float32Array(small.width * small.height);
  let [mass, massX, massY] = [0, 0, 0];
  for (let y = 0; y < small.height; y++) {
    for (let x = 0; x < small.width; x++) {
      const value = meanOf(ink, side, {
        left: left + (x * width) / small.width,
        top: top + (y * height) / small.height,
        width: width / small.width,
        height: height / small.height,
      });
      scaled[y * small.width + x] = value;
      mass += value;
      massX += value * (x + 0.5);
      massY += value * (y + 0.5);
    }
  }
  const image = new Float32Array(SIDE * SIDE);
  const toX = placeFor(massX / mass, small.width);
  const toY = placeFor(massY / mass, small.height);
  for (let y = 0; y < small.height; y++) {
    image.set(scaled.subarray(y * small.width, (y + 1) * small.width), (y + toY) * SIDE + toX);
  }
  return image;
}

/** Where ink of this length starts, so that its centre comes to the middle, as far as no ink is lost. */
function placeFor(centre: number, length: number): number {
  return Math.min(Math.max(0, Math.round(SIDE / 2 - centre)), SIDE - length);
}

interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

function boxOf(ink: Float32Array, side: number): Box | null {
  let [left, top, right, bottom] = [side, side, -1, -1];
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      if (ink[y * side + x] < FAINTEST) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = y;
    }
  }
  return right < 0 ? null : {left, top, width: right - left + 1, height: bottom - top + 1};
}

/** The mean of a part of the drawing; a pixel counts by how much of it lies in the part. */
function meanOf(ink: Float32Array, side: number, {left, top, width, height}: Box): number {
  let sum = 0;
  for (let y = Math.floor(top); y < Math.min(top + height, side); y++) {
    const rows = Math.min(y + 1, top + height) - Math.max(y, top);
    for (let x = Math.floor(left); x < Math.min(left + width, side); x++) {
      const columns = Math.min(x + 1, left + width) - Math.max(x, left);
      sum += rows * columns * ink[y * side + x];
    }
  }
  return sum / (width * height);
}
