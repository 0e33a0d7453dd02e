/** @file A small llama as a GGUF file whose matrices are in 4 bits of several kinds, and in more, with seeded weights. */
import {BLOCK_FORMATS} from '../../../lib/language/import/dequantize.js';
import {float16Bits} from '../../../lib/quantization/float16.js';
import {seededRandom} from '../../../lib/stats/seeded-random.js';
import {metadataOf} from './gguf-files.js';
import {GGML_TYPE, writeGguf, type GgufTensorSpec} from './gguf-writer.js';

export type Dtype = keyof typeof GGML_TYPE;

/** The vocabulary: a token a letter. */
const LETTERS = [...'abcdefghijklmnopqrst'];

/** What the weights of its layers become where they stay what they are in the file. */
export const KEPT_FORMATS = {
  'model.embed_tokens': 'int8_asym',
  'self_attn.q_proj': 'int4_minimum',
  'self_attn.k_proj': 'int4_sym',
  'self_attn.v_proj': 'int8_asym',
  'self_attn.o_proj': 'int4_minimum',
  'mlp.gate_proj': 'int4_minimum',
  'mlp.up_proj': 'int4_sym',
  'mlp.down_proj': 'int4_minimum',
  lm_head: 'int4_minimum',
};

/** Seeded text of the vocabulary's letters, a token each. */
export function fourBitText(tokens: number, seed: number): string {
  const random = seededRandom(seed);
  return Array.from({length: tokens}, () => LETTERS[Math.floor(random() * LETTERS.length)]).join('');
}

/** Seeded blocks of weights below 1, or ones of a norm. */
function tensor(name: string, shape: readonly number[], dtype: Dtype, seed: number): GgufTensorSpec {
  const count = shape.reduce((product, size) => product * size, 1);
  const {values, bytes} = BLOCK_FORMATS[dtype];
  if (dtype === 'F32') {
    return {name, shape, type: GGML_TYPE.F32, data: new Uint8Array(new Float32Array(count).fill(1).buffer)};
  }
  const random = seededRandom(seed);
  const data = Uint8Array.from({length: (count / values) * bytes}, () => Math.floor(random() * 256));
  const view = new DataView(data.buffer);
  for (let block = 0; block < data.length; block += bytes) {
    view.setUint16(block, float16Bits(dtype === 'Q8_0' ? 0.002 : 0.02), true);
    if (dtype.endsWith('_1')) view.setUint16(block + 2, float16Bits(-0.15), true);
  }
  return {name, shape, type: GGML_TYPE[dtype], data};
}

/** A llama of hidden size 64 with an own head and a tokenizer. `formatOf` may give its matrices other formats. */
export function fourBitGguf(formatOf = (dtype: Dtype): Dtype => dtype): Uint8Array {
  const metadata = metadataOf('llama', {
    ...{'llama.embedding_length': 64, 'llama.feed_forward_length': 96, 'llama.attention.key_length': 32},
    ...{
      'tokenizer.ggml.model': 'gpt2',
      'tokenizer.ggml.tokens': LETTERS,
      'tokenizer.ggml.merges': [],
      'tokenizer.ggml.bos_token_id': 0,
    },
  });
  const matrices: readonly (readonly [string, readonly number[], Dtype])[] = [
    ['token_embd.weight', [20, 64], 'Q8_0'],
    ['blk.0.attn_norm.weight', [64], 'F32'],
    ['blk.0.attn_q.weight', [64, 64], 'Q4_1'],
    ['blk.0.attn_k.weight', [32, 64], 'Q4_0'],
    ['blk.0.attn_v.weight', [32, 64], 'Q5_1'],
    ['blk.0.attn_output.weight', [64, 64], 'Q4_1'],
    ['blk.0.ffn_norm.weight', [64], 'F32'],
    ['blk.0.ffn_gate.weight', [96, 64], 'Q4_1'],
    ['blk.0.ffn_up.weight', [96, 64], 'Q4_0'],
    ['blk.0.ffn_down.weight', [64, 96], 'Q4_1'],
    ['output_norm.weight', [64], 'F32'],
    ['output.weight', [20, 64], 'Q4_1'],
  ];
  return writeGguf(
    metadata,
    matrices.map(([name, shape, dtype], i) =>
      tensor(name, shape, dtype === 'F32' ? dtype : formatOf(dtype), i + 1),
    ),
  );
}
