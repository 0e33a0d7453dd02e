import {expect} from 'chai';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import type {Checkpoint} from '../../../lib/language/weights/checkpoint.js';
import {openHuggingFaceFolder} from '../../../lib/language/import/local-checkpoints.js';
import {EMBEDDING, counting, ggufFiles, metadataOf, using} from '../../support/language/gguf-files.js';
import {GGML_TYPE} from '../../support/language/gguf-writer.js';

const TINY = fileURLToPath(new URL('../../fixtures/tiny/', import.meta.url));

describe('gguf', () => {
  const write = ggufFiles();

  for (const name of ['llama3-gqa-rope', 'qwen2-bias']) {
    it(`reads the weights of ${name} bit for bit as in its safetensors`, async () => {
      const wanted = await openHuggingFaceFolder(join(TINY, name));
      await using(join(TINY, name, 'model-f32.gguf'), async (got) => {
        expect([...got.tensors.keys()]).to.have.members([...wanted.tensors.keys()]);
        for (const [tensor, {shape}] of wanted.tensors) {
          expect(got.tensors.get(tensor)?.shape).to.deep.equal(shape);
          const bits = async (checkpoint: Checkpoint) =>
            new Uint32Array((await checkpoint.read(tensor)).buffer);
          expect(await bits(got), tensor).to.deep.equal(await bits(wanted));
        }
      });
      await wanted.close();
    });

    it(`reads the configuration of ${name} as in its config.json, but for the rope scaling`, async () => {
      const wanted = await openHuggingFaceFolder(join(TINY, name));
      await using(join(TINY, name, 'model-f32.gguf'), ({config}) => {
        const {ropeScaling, normEpsilon, ...rest} = config;
        const {ropeScaling: _, normEpsilon: epsilon, ...wantedRest} = wanted.config;
        expect(rest).to.deep.equal(wantedRest);
        expect(normEpsilon).to.equal(Math.fround(epsilon)); // the format stores a float32
        expect(ropeScaling.kind).to.equal(name === 'qwen2-bias' ? 'none' : 'factors');
      });
      await wanted.close();
    });

    it(`dequantizes Q8_0 of ${name} to the nearest step of each block`, async () => {
      const exact = await openHuggingFaceFolder(join(TINY, name));
      await using(join(TINY, name, 'model-q8_0.gguf'), async (got) => {
        for (const [tensor, {dtype}] of got.tensors) {
          const values = await got.read(tensor);
          const wanted = await exact.read(tensor);
          for (let start = 0; start < values.length; start += 32) {
            const block = wanted.subarray(start, start + 32);
            // Half a step of scale = largest / 127; the scale itself is rounded to 11 bits, 127 steps of it add up.
            const step = dtype === 'Q8_0' ? Math.max(...block.map(Math.abs)) / 127 : 0;
            const tolerance = step * (0.5 + 127 * 2 ** -11) * (1 + 2 ** -20);
            const error = Math.max(...block.map((value, i) => Math.abs(values[start + i] - value)));
            if (!(error <= tolerance)) expect(error, `${tensor} at ${start}`).to.be.at.most(tolerance);
          }
        }
      });
      await exact.close();
    });
  }

  it('takes the factors of the rotation from rope_freqs.weight: those of Llama 3 with its parameters', async () => {
    await using(join(TINY, 'llama3-gqa-rope', 'model-f32.gguf'), ({config}) => {
      // Llama 3's rule for theta 500,000, head size 16, factor 8, low 1, high 4, original length 32.
      const wanted = Array.from({length: 8}, (_, i) => {
        const wavelength = 2 * Math.PI * 500_000 ** (i / 8);
        if (wavelength < 32 / 4) return 1;
        if (wavelength > 32) return 8;
        const smooth = (32 / wavelength - 1) / (4 - 1);
        return 1 / ((1 - smooth) / 8 + smooth);
      });
      if (config.ropeScaling.kind !== 'factors') throw new Error(config.ropeScaling.kind);
      config.ropeScaling.factors.forEach((factor, i) => expect(factor).to.be.closeTo(wanted[i], 1e-5));
      expect(config.ropeScaling.attentionFactor).to.equal(1);
    });
  });

  it('puts the rows of q and k of architecture llama back in order, and those of their biases', async () => {
    const tensors = [
      ...[EMBEDDING, counting('blk.0.attn_q.weight', [8, 6]), counting('blk.0.attn_k.weight', [4, 6])],
      ...[counting('blk.0.attn_q.bias', [8]), counting('blk.0.attn_v.weight', [4, 6])],
    ];
    const rowsOf = (values: Float32Array) =>
      [...values].filter((_, i) => i % 6 === 0).map((value) => value / 6);
    await using(write(metadataOf('llama'), tensors), async (checkpoint) => {
      const order = [0, 2, 1, 3, 4, 6, 5, 7]; // per head: rows 0 and 2 are the first half
      expect(rowsOf(await checkpoint.read('model.layers.0.self_attn.q_proj.weight'))).to.deep.equal(order);
      expect([...(await checkpoint.read('model.layers.0.self_attn.q_proj.bias'))]).to.deep.equal(order);
      expect(rowsOf(await checkpoint.read('model.layers.0.self_attn.k_proj.weight'))).to.deep.equal([
        0, 2, 1, 3,
      ]);
      expect(rowsOf(await checkpoint.read('model.layers.0.self_attn.v_proj.weight'))).to.deep.equal([
        0, 1, 2, 3,
      ]);
      expect(checkpoint.config.bias.qkv).to.equal(true);
    });
    await using(write(metadataOf('qwen2'), tensors), async (checkpoint) => {
      expect([...(await checkpoint.read('model.layers.0.self_attn.q_proj.bias'))]).to.deep.equal([
        0, 1, 2, 3, 4, 5, 6, 7,
      ]);
    });
  });

  it('reads every dtype through the file, across the pieces in which it is read', async () => {
    // 9 MB of Q8_0: more than one piece of 8 MiB. Scale 1, quants by position.
    const blocks = 270_000;
    const data = new Uint8Array(blocks * 34);
    for (let block = 0; block < blocks; block++) {
      data[block * 34 + 1] = 0x3c;
      for (let i = 0; i < 32; i++) data[block * 34 + 2 + i] = (block * 7 + i) & 127;
    }
    const big = {name: 'output.weight', shape: [blocks, 32], type: GGML_TYPE.Q8_0, data};
    await using(write(metadataOf('llama'), [EMBEDDING, big]), async (checkpoint) => {
      const values = await checkpoint.read('lm_head.weight');
      for (let i = 0; i < values.length; i++) {
        const wanted = (Math.floor(i / 32) * 7 + (i % 32)) & 127;
        if (values[i] !== wanted) expect(values[i], `value ${i}`).to.equal(wanted);
      }
      expect(checkpoint.config.tiedEmbedding).to.equal(false);
    });
  });

  it('keeps a byte order mark at the start of a token', async () => {
    const tokens = ['<unk>', '\ufeffusing', 'using', '\ufeff'];
    const metadata = metadataOf('llama', {
      'tokenizer.ggml.model': 'llama',
      'tokenizer.ggml.tokens': tokens,
      'tokenizer.ggml.scores': [0, -1, -2, -3],
      'tokenizer.ggml.token_type': [2, 1, 1, 1],
    });
    const path = write(metadata, [EMBEDDING]);
    await using(path, (checkpoint) => {
      const {vocab} = checkpoint.tokenizer?.tokenizer['model'] as {vocab: Record<string, number>};
      expect({...vocab}).to.deep.equal({'<unk>': 0, '\ufeffusing': 1, using: 2, '\ufeff': 3});
    });
  });
});
