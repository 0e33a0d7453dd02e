import {expect} from 'chai';
import {INT8_MODES, quantizeInt8} from '../../lib/quantization/int8.js';
import {quantizeTransposed} from '../../lib/quantization/transposed-int8.js';
import {normals} from '../support/normals.js';

/** [inputs, units] around the sizes of words and blocks. */
const SHAPES = [
  [1, 1],
  [3, 5],
  [64, 64],
  [65, 130],
  [200, 63],
] as const;

describe('quantizing a transposed kernel', () => {
  for (const mode of INT8_MODES) {
    for (const [inputs, units] of SHAPES) {
      it(`gives what quantizing the kernel gives: ${inputs} x ${units}, ${mode}`, () => {
        const transposed = normals(inputs * units, 11 * inputs + units); // [units, inputs]
        const kernel = new Float32Array(inputs * units);
        for (let i = 0; i < inputs; i++) {
          for (let j = 0; j < units; j++) kernel[i * units + j] = transposed[j * inputs + i];
        }
        expect(quantizeTransposed(transposed, inputs, units, mode)).to.deep.equal(
          quantizeInt8(kernel, {rows: inputs, columns: units, channels: 'columns'}, mode),
        );
      });
    }
  }
});
