/**
 * @file Quantizing a matrix that lies transposed, as checkpoints hold kernels: the bytes are turned, not the float32
 * values, which takes a quarter of the memory.
 */
import {quantizeInt8, strideOf, type Int8Mode, type Int8Values} from './int8.js';

/** Rows and columns of a block: its lines of source and target fit into the first-level cache together. */
const BLOCK = 64;

/**
 * Quantizes a kernel [inputs, units] per unit: the same as `quantizeInt8` of it with a scale a column.
 *
 * @param weights float32 [units, inputs], row-major, finite.
 */
export function quantizeTransposed(
  weights: Float32Array,
  inputs: number,
  units: number,
  mode: Int8Mode,
): Int8Values {
  const turned = quantizeInt8(weights, {rows: units, columns: inputs, channels: 'rows'}, mode);
  const stride = strideOf(units);
  const values = new Int8Array(inputs * stride);
  for (let unit0 = 0; unit0 < units; unit0 += BLOCK) {
    const unitEnd = Math.min(unit0 + BLOCK, units);
    for (let input0 = 0; input0 < inputs; input0 += BLOCK) {
      const inputEnd = Math.min(input0 + BLOCK, inputs);
      for (let input = input0; input < inputEnd; input++) {
        let from = unit0 * turned.stride + input;
        let to = input * stride + unit0;
        for (let unit = unit0; unit < unitEnd; unit++, from += turned.stride) {
          values[to++] = turned.values[from];
        }
      }
    }
  }
  return {...turned, rows: inputs, columns: units, channels: 'columns', values, stride};
}
