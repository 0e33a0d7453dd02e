/**
 * @file Distorted copies of digits for training: rotation, scale, shear, shift and a smooth elastic
 * displacement. After Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied
 * to visual document analysis" (2003), with the smooth field drawn on a coarse grid and interpolated instead
 * of blurred, which costs a tenth.
 */

import {IMAGE_PIXELS, IMAGE_SIDE} from './data.js';
import type {Random} from '../../lib/stats/seeded-random.js';

const MAX_ROTATION_RADIANS = 0.22;
const MAX_SCALE_CHANGE = 0.12;
const MAX_SHEAR = 0.15;
const MAX_SHIFT_PIXELS = 2;
/** Largest elastic displacement of a grid point. */
const MAX_ELASTIC_PIXELS = 1.8;
/** Grid points a side: 6.75 pixels from one to the next, about the width of a digit's loop. */
const GRID_SIDE = 5;
const CENTRE = (IMAGE_SIDE - 1) / 2;

/**
 * Distorts every image differently.
 *
 * @param images float32 [n, 784], values in [0, 1]; left as it is.
 * @param random Where the randomness comes from.
 * @returns float32 [n, 784], values in [0, 1].
 */
export function distort(images: Float32Array, random: Random): Float32Array {
  const distorted = new Float32Array(images.length);
  for (let start = 0; start < images.length; start += IMAGE_PIXELS) {
    distortOne(
      images.subarray(start, start + IMAGE_PIXELS),
      distorted.subarray(start, start + IMAGE_PIXELS),
      random,
    );
  }
  return distorted;
}

function distortOne(source: Float32Array, target: Float32Array, random: Random): void {
  const symmetric = (limit: number) => (2 * random() - 1) * limit;
  const angle = symmetric(MAX_ROTATION_RADIANS);
  const shear = symmetric(MAX_SHEAR);
  const scaleX = 1 + symmetric(MAX_SCALE_CHANGE);
  const scaleY = 1 + symmetric(MAX_SCALE_CHANGE);
  const shiftX = symmetric(MAX_SHIFT_PIXELS);
  const shiftY = symmetric(MAX_SHIFT_PIXELS);
  const elasticX = Float32Array.from({length: GRID_SIDE * GRID_SIDE}, () => symmetric(MAX_ELASTIC_PIXELS));
  const elasticY = Float32Array.from({length: GRID_SIDE * GRID_SIDE}, () => symmetric(MAX_ELASTIC_PIXELS));
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  const gridStep = (GRID_SIDE - 1) / (IMAGE_SIDE - 1);

  for (let y = 0, pixel = 0; y < IMAGE_SIDE; y++) {
    for (let x = 0; x < IMAGE_SIDE; x++, pixel++) {
      const fromX = (x - CENTRE) * scaleX + shear * (y - CENTRE);
      const fromY = (y - CENTRE) * scaleY;
      target[pixel] = interpolate(
        source,
        IMAGE_SIDE,
        cos * fromX -
          sin * fromY +
          CENTRE +
          shiftX +
          interpolate(elasticX, GRID_SIDE, x * gridStep, y * gridStep),
        sin * fromX +
          cos * fromY +
          CENTRE +
          shiftY +
          interpolate(elasticY, GRID_SIDE, x * gridStep, y * gridStep),
      );
    }
  }
}

/** Bilinear value of a [side, side] plane at (x, y); 0 outside. */
function interpolate(plane: Float32Array, side: number, x: number, y: number): number {
  const left = Math.floor(x);
  const top = Math.floor(y);
  const [right, down] = [x - left, y - top];
  const upper = at(plane, side, left, top) * (1 - right) + at(plane, side, left + 1, top) * right;
  const lower = at(plane, side, left, top + 1) * (1 - right) + at(plane, side, left + 1, top + 1) * right;
  return upper * (1 - down) + lower * down;
}

function at(plane: Float32Array, side: number, column: number, row: number): number {
  return column >= 0 && row >= 0 && column < side && row < side ? plane[row * side + column] : 0;
}
