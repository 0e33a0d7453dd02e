/** @file Transposing a matrix by blocks: checkpoints hold [out, in], TensorFlow.js [in, out]. */

/** Rows and columns of a block: its lines of source and target fit into the first-level cache together. */
const BLOCK = 32;

/**
 * @param values [rows, columns], row-major.
 * @returns [columns, rows], row-major; a new array.
 */
export function transpose(values: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(values.length);
  for (let row0 = 0; row0 < rows; row0 += BLOCK) {
    const rowEnd = Math.min(row0 + BLOCK, rows);
    for (let column0 = 0; column0 < columns; column0 += BLOCK) {
      const columnEnd = Math.min(column0 + BLOCK, columns);
      for (let column = column0; column < columnEnd; column++) {
        let from = row0 * columns + column;
        let to = column * rows + row0;
        for (let row = row0; row < rowEnd; row++, from += columns) result[to++] = values[from];
      }
    }
  }
  return result;
}
