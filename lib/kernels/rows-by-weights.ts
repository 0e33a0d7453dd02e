/**
 * @file Masking and multiplying by packed weights that are dequantized as they are read, as their definition says it: a few rows of
 * the kernel at a time into a buffer that fits the cache, which is then added to the output of every row of x.
 */

/** Rows of the kernel in one pass over the output, as in cpu-backend.ts. */
export const ROWS_PER_PASS = 4;

/** Writes a row of a kernel as float32 from `offset` on. */
export type DequantizeRow = (row: number, weights: Float32Array, offset: number) => void;

/** x with 0 where it is masked. */
export function maskRows(x: Float32Array, threshold: Float32Array, inputSize: number): Float32Array {
  const masked = new Float32Array(x.length);
  const perInput = threshold.length > 1;
  for (let i = 0; i < x.length; i++) {
    masked[i] = Math.abs(x[i]) <= threshold[perInput ? i % inputSize : 0] ? 0 : x[i];
  }
  return masked;
}

/** output[row, n] += sum over k of x[row, k] * weight[k, n]. */
export function addByWeights(
  x: Float32Array,
  dequantizeRow: DequantizeRow,
  output: Float32Array,
  inputSize: number,
  units: number,
): void {
  const rows = inputSize === 0 ? 0 : x.length / inputSize;
  const kept = keptByAny(x, rows, inputSize);
  const weights = new Float32Array(ROWS_PER_PASS * units);
  for (let i = 0; i < kept.length; i += ROWS_PER_PASS) {
    const pass = kept.subarray(i, i + ROWS_PER_PASS);
    for (let j = 0; j < pass.length; j++) dequantizeRow(pass[j], weights, j * units);
    for (let row = 0; row < rows; row++) {
      addRows(x, row * inputSize, pass, weights, output, row * units, units);
    }
  }
}

/** The inputs that are not 0 in every row, ascending. Packed weights are finite: a 0 may be left out. */
function keptByAny(masked: Float32Array, rows: number, inputSize: number): Int32Array {
  const kept = new Int32Array(inputSize);
  let count = 0;
  for (let k = 0; k < inputSize; k++) {
    let row = 0;
    while (row < rows && masked[row * inputSize + k] === 0) row++;
    kept[count] = k;
    count += row < rows ? 1 : 0;
  }
  return kept.subarray(0, count);
}

/** output[n] += sum over the rows of this pass of their x times their weights [n]. */
function addRows(
  x: Float32Array,
  xOffset: number,
  pass: Int32Array,
  weights: Float32Array,
  output: Float32Array,
  outputOffset: number,
  units: number,
): void {
  if (pass.length === ROWS_PER_PASS) {
    const v0 = x[xOffset + pass[0]];
    const v1 = x[xOffset + pass[1]];
    const v2 = x[xOffset + pass[2]];
    const v3 = x[xOffset + pass[3]];
    if (v0 === 0 && v1 === 0 && v2 === 0 && v3 === 0) return;
    for (let n = 0; n < units; n++) {
      output[outputOffset + n] +=
        v0 * weights[n] + v1 * weights[units + n] + v2 * weights[2 * units + n] + v3 * weights[3 * units + n];
    }
    return;
  }
  for (let j = 0; j < pass.length; j++) {
    const value = x[xOffset + pass[j]];
    for (let n = 0; n < units; n++) output[outputOffset + n] += value * weights[j * units + n];
  }
}
