/**
 * @file ggml's "k-quants": blocks of 256 values whose 8 or 16 parts have integer scales of their own, multiplied by one
 * half float a block.
 */
import {float16At} from './half-floats.js';

/** Widens Q4_K blocks: half-float scale and minimum, 8 pairs of 6-bit scale and minimum, 4 bits a value. */
export function dequantizeQ4K(source: Uint8Array, target: Float32Array): void {
  for (let block = 0, out = 0; out < target.length; block += 144, out += 256) {
    for (let pair = 0; pair < 4; pair++) {
      const low = kQuantPart(source, block, 2 * pair);
      const high = kQuantPart(source, block, 2 * pair + 1);
      const quants = block + 16 + 32 * pair;
      const values = out + 64 * pair;
      for (let i = 0; i < 32; i++) {
        const byte = source[quants + i];
        target[values + i] = low.scale * (byte & 15) - low.minimum;
        target[values + 32 + i] = high.scale * (byte >> 4) - high.minimum;
      }
    }
  }
}

/** Widens Q5_K blocks: as Q4_K, with a fifth bit for each of the 8 parts in one byte of 32. */
export function dequantizeQ5K(source: Uint8Array, target: Float32Array): void {
  for (let block = 0, out = 0; out < target.length; block += 176, out += 256) {
    for (let pair = 0; pair < 4; pair++) {
      const low = kQuantPart(source, block, 2 * pair);
      const high = kQuantPart(source, block, 2 * pair + 1);
      const quants = block + 48 + 32 * pair;
      const values = out + 64 * pair;
      for (let i = 0; i < 32; i++) {
        const byte = source[quants + i];
        const fifth = source[block + 16 + i] >> (2 * pair);
        target[values + i] = low.scale * ((byte & 15) | ((fifth & 1) << 4)) - low.minimum;
        target[values + 32 + i] = high.scale * ((byte >> 4) | ((fifth & 2) << 3)) - high.minimum;
      }
    }
  }
}

/** Widens Q6_K blocks: 16 signed 8-bit scales, 4 low bits and 2 high bits a value, half-float scale last. */
export function dequantizeQ6K(source: Uint8Array, target: Float32Array): void {
  for (let block = 0, out = 0; out < target.length; block += 210, out += 256) {
    const scale = float16At(source, block + 208);
    for (let half = 0; half < 2; half++) {
      const lows = block + 64 * half;
      const highs = block + 128 + 32 * half;
      const scales = block + 192 + 8 * half;
      for (let i = 0; i < 32; i++) {
        const byte = source[highs + i];
        const values = out + 128 * half + i;
        // Four runs of 32 values share a byte of high bits; runs 2 and 3 lie in the upper halves of the low bytes.
        for (let run = 0; run < 4; run++) {
          const low = (source[lows + 32 * (run & 1) + i] >> (run < 2 ? 0 : 4)) & 15;
          const quant = (low | (((byte >> (2 * run)) & 3) << 4)) - 32;
          const partScale = (source[scales + 2 * run + (i >> 4)] << 24) >> 24;
          target[values + 32 * run] = scale * partScale * quant;
        }
      }
    }
  }
}

/** Scale and minimum of one of 8 parts: 6 bits each, the last four split between 12 bytes. */
export function kQuantPart(
  source: Uint8Array,
  block: number,
  index: number,
): {scale: number; minimum: number} {
  const bytes = block + 4;
  const [scale, minimum] =
    index < 4
      ? [source[bytes + index] & 63, source[bytes + index + 4] & 63]
      : [
          (source[bytes + index + 4] & 15) | ((source[bytes + index - 4] >> 6) << 4),
          (source[bytes + index + 4] >> 4) | ((source[bytes + index] >> 6) << 4),
        ];
  return {scale: float16At(source, block) * scale, minimum: float16At(source, block + 2) * minimum};
}
