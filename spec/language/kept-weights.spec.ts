import {join} from 'node:path';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {
  IgnoredScope,
  compressWeights,
  inspectWeights,
  retarget,
  sparsifyActivations,
} from '../../lib/index.js';
import {
  PROJECTIONS,
  loadLanguageModel,
  memoryNeed,
  sparsifyStreamed,
  type LanguageModel,
} from '../../lib/language/index.js';
import {BLOCK_FORMATS} from '../../lib/language/import/dequantize.js';
import {openGguf} from '../../lib/language/import/local-checkpoints.js';
import {keptFormats} from '../../lib/language/weights/packed-weights.js';
import {isMasking, sparsifyingDenseLayers} from '../../lib/model/dense-layers.js';
import {float16Bits} from '../../lib/quantization/float16.js';
import {seededRandom} from '../../lib/stats/seeded-random.js';
import {BACKENDS, disposeModels} from '../support/backends.js';
import {GGML_TYPE, writeGguf, type GgufTensorSpec} from '../support/language/gguf-writer.js';
import {metadataOf} from '../support/language/gguf-files.js';
import {rejection} from '../support/rejection.js';
import {temporaryFolder} from '../support/temporary-folder.js';

type Dtype = keyof typeof GGML_TYPE;

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

/** A llama of hidden size 64 with an own head, its matrices in several formats. */
function gguf(formatOf = (dtype: Dtype): Dtype => dtype): Uint8Array {
  const metadata = metadataOf('llama', {
    ...{'llama.embedding_length': 64, 'llama.feed_forward_length': 96, 'llama.attention.key_length': 32},
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

const IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8];
const TEXT = Array.from({length: 64}, (_, i) => (i * 7 + 3) % 20);

function logits(lm: LanguageModel): Float32Array {
  return tf.tidy(() =>
    (lm.model.predict(tf.tensor2d([IDS], [1, IDS.length], 'int32')) as tf.Tensor).dataSync<'float32'>(),
  );
}

/** The formats of a model's weights by their layers' paths. */
function formats(lm: LanguageModel): Record<string, string> {
  return Object.fromEntries(
    inspectWeights(lm.model).map(({path, format}) => [path.replace('model.layers.0.', ''), format]),
  );
}

const KEPT = {
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

describe("a GGUF file's own 4 bits", () => {
  const folder = temporaryFolder();
  let path: string;
  let float: LanguageModel;
  let kept: LanguageModel;

  before(async () => {
    await tf.setBackend(BACKENDS[BACKENDS.length - 1]);
    path = folder.write('four.gguf', gguf());
    float = await loadLanguageModel(path, {weights: 'float32'});
    kept = await loadLanguageModel(path);
  });
  after(() => {
    float.dispose();
    kept.dispose();
  });

  it('stay, with INT8 for what the file holds in more, and float32 or INT8 if that is asked for', async () => {
    expect(formats(kept)).to.deep.equal(KEPT);
    expect(new Set(Object.values(formats(float)))).to.deep.equal(new Set(['float32']));
    const int8 = await loadLanguageModel(path, {weights: 'int8'});
    expect(new Set(Object.values(formats(int8)))).to.deep.equal(new Set(['int8_asym']));
    const wanted = await compressWeights(float.model);
    expect(logits(int8)).to.deep.equal(logits(float.withModel(wanted)));
    disposeModels(wanted);
    int8.dispose();
  });

  it('compute what the float32 weights of the file do, but for the INT8 ones', async () => {
    // The two INT8 weights of the kept model are made so in the other as well.
    const others = Object.keys(KEPT).filter((name) => !KEPT[name as keyof typeof KEPT].startsWith('int8'));
    const wanted = await compressWeights(float.model, {
      ignoredScope: new IgnoredScope({
        names: others.map((name) => (name === 'lm_head' ? name : `model.layers.0.${name}`)),
      }),
    });
    const [got, expected] = [logits(kept), logits(float.withModel(wanted))];
    const largest = Math.max(...expected.map(Math.abs));
    // Weights of Q4_0 are rounded to float16, 2^-11 of each; the sums of 96 products are float32.
    for (let i = 0; i < got.length; i++) expect(got[i]).to.be.closeTo(expected[i], 2 ** -10 * largest);
    disposeModels(wanted);
  });

  it('are saved and loaded as they are', async () => {
    const out = join(folder.path, 'saved');
    await kept.save(out);
    const loaded = await loadLanguageModel(out);
    expect(formats(loaded)).to.deep.equal(KEPT);
    expect(logits(loaded)).to.deep.equal(logits(kept));
    loaded.dispose();
    const error = await rejection(() => loadLanguageModel(out, {weights: 'float32'}), 'saved-weights');
    expect(error.message).to.contain('decompressWeights(lm.model)');
  });

  it('are counted in the memory that the model needs', async () => {
    const checkpoint = await openGguf(path);
    const need = memoryNeed(checkpoint.config, {formats: keptFormats(checkpoint)});
    await checkpoint.close();
    const stored = kept.model.weights.filter(({shape}) => shape.length > 0); // thresholds are not counted
    expect(need.weightBytes).to.equal(
      stored.reduce((sum, {shape}) => sum + 4 * tf.util.sizeFromShape(shape as number[]), 0),
    );
  });

  it('are sparsified and retargeted, in memory and with one block in memory alike', async () => {
    const targetSparsityByScope = {[PROJECTIONS.all]: 0.5};
    const dataset = kept.dataset(TEXT, {sequenceLength: 16, sequences: 4});
    const sparse = await sparsifyActivations(kept.model, dataset, {
      targetSparsityByScope,
      saveStatistics: true,
    });
    const [whole, streamed] = ['whole', 'streamed'].map((name) => join(folder.path, name));
    await kept.withModel(sparse).save(whole);
    await sparsifyStreamed(path, streamed, {
      ...{targetSparsityByScope, data: TEXT, sequenceLength: 16, sequences: 4},
    });
    const [first, second] = [await loadLanguageModel(whole), await loadLanguageModel(streamed)];
    expect(formats(second)).to.deep.equal(KEPT);
    expect(logits(second)).to.deep.equal(logits(first));
    expect(logits(first)).to.not.deep.equal(logits(kept));
    retarget(first.model, {[PROJECTIONS.all]: 0.3});
    const layers = [...sparsifyingDenseLayers(first.model).values()].filter(isMasking);
    expect(layers).to.have.length(7);
    // 64 tokens of at least 32 inputs, in a histogram whose bins hold a few hundredths of them at most.
    for (const {reachedSparsity} of layers) expect(reachedSparsity).to.be.closeTo(0.3, 0.03);
    expect(logits(first)).to.not.deep.equal(logits(second));
    disposeModels(sparse);
    first.dispose();
    second.dispose();
  });

  it('of a file that has none, nothing is kept', async () => {
    const eights = folder.write(
      'eights.gguf',
      gguf(() => 'Q8_0'),
    );
    const lm = await loadLanguageModel(eights);
    expect(new Set(Object.values(formats(lm)))).to.deep.equal(new Set(['float32']));
    lm.dispose();
  });
});
