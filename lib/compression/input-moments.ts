/**
 * @file How the inputs of a layer vary together on data, H, the mean of x xᵀ: the error that rounding its kernel makes in its outputs
 * is eᵀ H e for a column's errors e. Its factor says what the error at one input asks of the next ones, so that their
 * errors cancel (Frantar et al. 2023, GPTQ; in the form of Chee et al. 2023, QuIP, section 3, which inverts nothing).
 */
import * as tf from '@tensorflow/tfjs';
import {DatasetError} from '../errors.js';
import {floatsOf} from '../tensor-values.js';

/**
 * What is taken off the products of two different inputs. A sample says more of them than is true of other text, so that without
 * it much of what is won on the sample is lost on other text.
 */
const SHRINKAGE = 0.3;

/** Added to each input's mean square, as a share of the mean of all of them: GPTQ's damping. */
const DAMPING = 0.01;

/** Columns that are factored together; what they change in the others is a matrix product. */
const BLOCK = 64;

/** H = (I + U) diag(importance) (I + U)ᵀ with a strictly upper triangular U; K is the number of inputs. */
export interface InputFactor {
  /** What remains of an input's mean square if the later inputs are known: positive. */
  readonly importance: Float64Array;
  /** U, [K, K]: row j holds what the error at input j adds to the targets of later inputs. */
  readonly feedback: Float32Array;
}

/** The sum of x xᵀ over the rows of what a layer reads. */
export class InputMoments {
  private sum: tf.Tensor2D | null = null;

  /** Adds the rows of an input, [..., K]; it is left to the caller. */
  add(input: tf.Tensor): void {
    const before = this.sum;
    this.sum = tf.tidy(() => {
      const x: tf.Tensor2D = tf.reshape(input, [-1, input.shape[input.rank - 1]]); // [rows, K]
      const products: tf.Tensor2D = tf.matMul(x, x, true); // [K, K]
      return tf.keep(before === null ? products : tf.add<tf.Tensor2D>(before, products));
    });
    before?.dispose();
  }

  /**
   * The factor of H. Its scale is of no matter.
   *
   * @param path Of the layer, for errors.
   * @throws {DatasetError} `no-rows` if nothing was added; `not-finite` if an input is not, or its square overflows float32.
   */
  async factor(path: string): Promise<InputFactor> {
    if (this.sum === null) {
      throw new DatasetError('no-rows', `no row of the data reaches the input of layer "${path}"`, {path});
    }
    const [size] = this.sum.shape;
    const moments = Float32Array.from(floatsOf(await this.sum.data()));
    regularize(moments, size, path);
    await factorInPlace(moments, size);
    return split(moments, size);
  }

  dispose(): void {
    this.sum?.dispose();
    this.sum = null;
  }
}

/** Makes the moments those of inputs that vary together somewhat less and each somewhat more: positive definite. */
function regularize(moments: Float32Array, size: number, path: string): void {
  let trace = 0;
  for (let k = 0; k < size; k++) trace += moments[k * size + k];
  if (!Number.isFinite(trace)) {
    throw new DatasetError(
      'not-finite',
      `the data gives NaN, Infinity or numbers above 1e19 at the input of layer "${path}"; nothing was changed: remove or mend ` +
        'the batch that does, or see whether the model overflows on it',
      {path},
    );
  }
  const damping = trace === 0 ? 1 : (DAMPING * trace) / size;
  for (let i = 0; i < moments.length; i++) moments[i] *= 1 - SHRINKAGE;
  for (let k = 0; k < size; k++) {
    const at = k * size + k;
    moments[at] = moments[at] / (1 - SHRINKAGE) + damping;
  }
}

/**
 * Replaces the upper triangle of a symmetric positive definite matrix by R of H = R Rᵀ, from the last column to the first. What
 * is below the diagonal has no meaning afterwards.
 */
async function factorInPlace(matrix: Float32Array, size: number): Promise<void> {
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - BLOCK);
    for (let column = end - 1; column >= start; column--) {
      const own = column * size;
      for (let row = column; row >= 0; row--) {
        const other = row * size;
        let sum = matrix[other + column];
        for (let m = column + 1; m < end; m++) sum -= matrix[other + m] * matrix[own + m];
        matrix[other + column] = row === column ? Math.sqrt(sum) : sum / matrix[own + column];
      }
    }
    if (start > 0) await subtractProducts(matrix, size, start, end);
    end = start;
  }
}

/** Subtracts P Pᵀ from the leading [start, start] part, P being its rows' columns from start to end. */
async function subtractProducts(
  matrix: Float32Array,
  size: number,
  start: number,
  end: number,
): Promise<void> {
  const width = end - start;
  const panel = new Float32Array(start * width);
  for (let row = 0; row < start; row++) {
    panel.set(matrix.subarray(row * size + start, row * size + end), row * width);
  }
  const product = tf.tidy(() => {
    const p = tf.tensor2d(panel, [start, width]);
    return tf.matMul(p, p, false, true); // [start, start]
  });
  const products = await product.data();
  product.dispose();
  for (let row = 0; row < start; row++) {
    for (let column = row; column < start; column++) {
      matrix[row * size + column] -= products[row * start + column];
    }
  }
}

function split(factor: Float32Array, size: number): InputFactor {
  const importance = new Float64Array(size);
  const feedback = new Float32Array(size * size);
  for (let k = 0; k < size; k++) importance[k] = factor[k * size + k] ** 2;
  for (let row = 0; row < size; row++) {
    for (let k = row + 1; k < size; k++)
      feedback[row * size + k] = factor[row * size + k] / factor[k * size + k];
  }
  return {importance, feedback};
}
