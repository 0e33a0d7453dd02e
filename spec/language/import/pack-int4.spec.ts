import {expect} from 'chai';
import {BLOCK_FORMATS, dequantize} from '../../../lib/language/import/dequantize.js';
import {openGguf} from '../../../lib/language/import/local-checkpoints.js';
import {int4KindOf, packInt4} from '../../../lib/language/import/pack-int4.js';
import {transpose} from '../../../lib/language/weights/transpose.js';
import {float16Bits, roundToFloat16} from '../../../lib/quantization/float16.js';
import {dequantizeInt4, nibbleAt, wordsOf} from '../../../lib/quantization/int4.js';
import {seededRandom} from '../../../lib/stats/seeded-random.js';
import {smollm2} from '../../support/language/smollm2.js';

/** Where the float16 numbers of a block stand. */
const HALVES: Readonly<Record<string, readonly number[]>> = {Q4_0: [0], Q4_1: [0, 2], Q4_K: [0, 2]};

/** Seeded blocks, whose scales and minimums are finite and normal float16 numbers. */
function blocksOf(dtype: string, count: number, seed: number): Uint8Array {
  const {bytes} = BLOCK_FORMATS[dtype];
  const random = seededRandom(seed);
  const source = Uint8Array.from({length: count * bytes}, () => Math.floor(random() * 256));
  const view = new DataView(source.buffer);
  for (let block = 0; block < count; block++) {
    for (const place of HALVES[dtype]) {
      const sign = dtype !== 'Q4_K' && random() < 0.5 ? -1 : 1;
      view.setUint16(block * bytes + place, float16Bits(sign * (0.01 + random())), true);
    }
  }
  return source;
}

const SHAPES: readonly (readonly [units: number, inputs: number])[] = [
  [1, 256],
  [17, 512],
  [65, 256],
  [130, 768],
  [4096, 256], // a row of 2,048 bytes, which is padded
];

describe('packInt4', () => {
  for (const dtype of ['Q4_0', 'Q4_1', 'Q4_K']) {
    for (const [units, inputs] of SHAPES) {
      it(`lays ${dtype} of ${units} units and ${inputs} inputs as the file's definition has them`, () => {
        const source = blocksOf(dtype, (units * inputs) / BLOCK_FORMATS[dtype].values, units + inputs);
        const wanted = transpose(dequantize(dtype, source, units * inputs), units, inputs);
        const matrix = packInt4(dtype, source, [units, inputs], (unit) => unit);
        expect(matrix).to.include({rows: inputs, columns: units, groupSize: 32, kind: int4KindOf(dtype)});
        const got = dequantizeInt4(matrix);
        expect(got.length).to.equal(wanted.length);
        // An assertion a value would take most of the time.
        for (let i = 0; i < got.length; i++) {
          if (dtype === 'Q4_K') {
            // |scale * q| + |minimum| is at most |weight| + 2 |minimum|, and a minimum is below 64 * 1.01.
            const reach = Math.abs(wanted[i]) + 2 * 64 * 1.01;
            if (Math.abs(got[i] - wanted[i]) <= 2 ** -11 * reach) continue;
            expect(got[i], `weight ${i}`).to.be.closeTo(wanted[i], 2 ** -11 * reach);
          } else {
            const exact = dtype === 'Q4_1' ? wanted[i] : roundToFloat16(wanted[i]);
            if (got[i] !== exact) expect(got[i], `weight ${i}`).to.equal(exact);
          }
        }
      });
    }
  }

  it('rounds scale and minimum of Q4_K to float16, and nothing else', () => {
    const source = new Uint8Array(144);
    const view = new DataView(source.buffer);
    view.setUint16(0, float16Bits(1 + 2 ** -10), true);
    view.setUint16(2, float16Bits(1 + 3 * 2 ** -10), true);
    source[4] = 63; // scale of the first group
    source[8] = 61; // minimum of the first group
    source.fill(0x0f, 16, 48);
    const got = dequantizeInt4(packInt4('Q4_K', source, [1, 256], () => 0));
    // 63 (1 + 2^-10) = 63.0615…, where float16 has steps of 2^-5: 63.0625; 61 (1 + 3 * 2^-10) = 61.178…: 61.1875.
    expect([...got.subarray(0, 32)]).to.deep.equal(new Array(32).fill(15 * 63.0625 - 61.1875));
    expect([...got.subarray(32)]).to.deep.equal(new Array(224).fill(0));
  });

  it('takes the rows of the file in the order that it is told', () => {
    const source = blocksOf('Q4_1', 6, 5);
    const given = dequantize('Q4_1', source, 6 * 32);
    const order = [3, 0, 5, 1, 4, 2];
    const got = dequantizeInt4(packInt4('Q4_1', source, [6, 32], (unit) => order[unit]));
    for (const [unit, row] of order.entries()) {
      for (let i = 0; i < 32; i++) expect(got[i * 6 + unit]).to.equal(given[row * 32 + i]);
    }
  });

  it('leaves what is past the last column 0', () => {
    const source = blocksOf('Q4_1', 5, 9).fill(255, 4, 20);
    const {values} = packInt4('Q4_1', source, [5, 32], (unit) => unit);
    const bytes = new Uint8Array(values.buffer);
    for (let row = 0; row < 32; row++) {
      for (let n = 5; n < 16; n++) expect(nibbleAt(bytes, 4 * row * wordsOf(5), n)).to.equal(0);
    }
  });

  it('has no kind for other formats', () => {
    for (const dtype of Object.keys(BLOCK_FORMATS)) {
      if (!(dtype in HALVES)) expect(int4KindOf(dtype)).to.equal(null);
    }
  });
});

describe('the matrices of a real file in 4 bits', () => {
  // Rows of queries are in another order there; a value's are not.
  for (const part of ['self_attn.q_proj', 'self_attn.v_proj', 'mlp.down_proj']) {
    it(`dequantize to what the file's float32 weights are: ${part}`, async () => {
      const checkpoint = await openGguf(smollm2());
      try {
        const name = `model.layers.3.${part}.weight`;
        const {shape, dtype, int4} = checkpoint.tensors.get(name)!;
        expect({dtype, int4}).to.deep.equal({dtype: 'Q4_1', int4: {kind: 'minimum', groupSize: 32}});
        const wanted = transpose(await checkpoint.read(name), shape[0], shape[1]);
        const got = dequantizeInt4(await checkpoint.readInt4!(name));
        expect(got.length).to.equal(wanted.length);
        expect(got.findIndex((value, i) => !Object.is(value, wanted[i]))).to.equal(-1);
      } finally {
        await checkpoint.close();
      }
    });
  }
});
