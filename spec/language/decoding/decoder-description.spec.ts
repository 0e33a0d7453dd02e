import {expect} from 'chai';
import * as tf from '@tensorflow/tfjs';
import {compressWeights} from '../../../lib/index.js';
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';
import {nativeLayout, type NativeLayout} from '../../../lib/language/decoding/decoder-description.js';
import {buildModel} from '../../../lib/language/graph/build-model.js';
import {disposeModels, withoutLeaks} from '../../support/backends.js';
import {sparsifyEverything} from '../../support/language/loaded-models.js';
import {SMALL_CONFIGS, smallConfigs} from '../../support/language/random-checkpoint.js';

const one = (title: string): LlamaConfig => ({...smallConfigs().get(title)!, layers: 1});
const dense = (path: string, bias: boolean) => [`${path}/kernel`, bias ? `${path}/bias` : null];

/** Names of the weights of one block in the order of the op, as the C++ side takes them. */
function blockOf(config: LlamaConfig): (string | null)[] {
  const path = 'model.layers.0';
  const {bias} = config;
  const attention = `${path}.self_attn`;
  const norms = config.queryKeyNorm ? [`${attention}/q_norm`, `${attention}/k_norm`] : [null, null];
  return [
    `${path}.input_layernorm/weight`,
    ...(config.fusedProjections ? ['qkv'] : ['q', 'k', 'v']).flatMap((name) =>
      dense(`${attention}.${name}_proj`, bias.qkv),
    ),
    ...norms,
    ...dense(`${attention}.o_proj`, bias.output),
    `${path}.post_attention_layernorm/weight`,
    ...feedForward(config).flatMap((name) => dense(`${path}.${name}`, bias.mlp)),
  ];
}

function feedForward({experts, fusedProjections}: LlamaConfig): string[] {
  if (experts !== null) {
    const inner = [0, 1, 2, 3, 4].flatMap((e) => ['w1', 'w3', 'w2'].map((name) => `experts.${e}.${name}`));
    return ['gate', ...inner].map((name) => `block_sparse_moe/${name}`);
  }
  return fusedProjections
    ? ['mlp.gate_up_proj', 'mlp.down_proj']
    : ['mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj'];
}

describe('nativeLayout', () => {
  withoutLeaks(() => {
    const models: tf.LayersModel[] = [];
    afterEach(() => disposeModels(...models.splice(0)));
    const built = (config: LlamaConfig): tf.LayersModel => {
      const model = buildModel(config);
      models.push(model);
      return model;
    };
    const names = ({weights}: NativeLayout) =>
      weights.map(
        (weight) =>
          weight &&
          weight.originalName.replace(/^.*moe\/(?=experts|gate)/, 'model.layers.0.block_sparse_moe/'),
      );

    for (const title of Object.keys(SMALL_CONFIGS)) {
      it(`has the weights in the order of the op: ${title}`, () => {
        const config = one(title);
        const layout = nativeLayout(built(config), config)!;
        const embedding = config.tiedEmbedding ? null : 'model.embed_tokens/embeddings';
        expect(names(layout)).to.deep.equal([
          embedding,
          'model.norm/weight',
          ...blockOf(config),
          ...dense('lm_head', false),
        ]);
        expect(layout.words).to.deep.equal([]);
        const attention = config.fusedProjections ? ['qkv'] : ['q', 'k', 'v'];
        expect(layout.denses.map(({path}) => path)).to.deep.equal([
          ...[...attention, 'o'].map((name) => `model.layers.0.self_attn.${name}_proj`),
          ...feedForward(config).map((name) => `model.layers.0.${name}`),
          'lm_head',
        ]);
      });
    }

    it('has the numbers in the order of the op', () => {
      const mistral = {...smallConfigs().get('mistral')!, layers: 3};
      expect(nativeLayout(built(mistral), mistral)!.numbers).to.deep.equal([
        ...[32, 3, 4, 2, 12, 96, 56, 7, 0, mistral.normEpsilon, 1, 1, 0, 0, 0, 0],
      ]);
      const mixtral = one('mixtral');
      expect(nativeLayout(built(mixtral), mixtral)!.numbers.slice(-4)).to.deep.equal([0, 0, 5, 3]);
      const gemma = one('gemma');
      const numbers = nativeLayout(built(gemma), gemma)!.numbers;
      expect(numbers[7], 'no window').to.equal(0);
      expect(numbers.slice(10)).to.deep.equal([Math.sqrt(32), 1, 1, 0, 0, 0]);
      const phi3 = one('phi3 with short factors');
      const ofPhi3 = nativeLayout(built(phi3), phi3)!;
      expect(ofPhi3.numbers[13]).to.equal(1);
      // Longrope: sqrt(1 + ln(512 / 64) / ln(64)).
      expect(ofPhi3.numbers[11]).to.be.closeTo(Math.sqrt(1 + Math.log(8) / Math.log(64)), 1e-6);
      for (const [activation, number] of [
        ['silu', 0],
        ['gelu', 1],
        ['gelu_tanh', 2],
      ] as const) {
        const config = {...one('llama'), activation};
        expect(nativeLayout(built(config), config)!.numbers[8]).to.equal(number);
      }
    });

    it('has radians a position', () => {
      const config = one('llama'); // every frequency is divided by 4
      const {frequencies} = nativeLayout(built(config), config)!;
      const wanted = [0, 1, 2, 3].map((i) => config.ropeTheta ** (-i / 4) / 4);
      expect(frequencies).to.have.length(4);
      wanted.forEach((value, i) => expect(frequencies[i] / value).to.be.closeTo(1, 1e-6));
    });

    it('has of INT8 matrices scale and zero point behind, and their numbers apart', async () => {
      const config = one('llama');
      const model = built(config);
      await compressWeights(model, {inPlace: true});
      sparsifyEverything(model);
      const {weights, words, denses} = nativeLayout(model, config)!;
      const found = weights.map((weight) => weight && weight.originalName.replace(/^.*\//, ''));
      const int8 = ['kernel_scale', 'kernel_zero_point'];
      expect(found.slice(0, 5)).to.deep.equal([
        null,
        'embeddings_scale',
        'embeddings_zero_point',
        'weight',
        'weight',
      ]);
      expect(found.slice(5, 9)).to.deep.equal([null, null, ...int8]);
      expect(found.slice(-4)).to.deep.equal([null, null, ...int8]);
      expect(words).to.have.length(1 + denses.length);
      expect(words.every((word) => word?.read().dtype === 'int32')).to.equal(true);
    });

    it('is none for a model that lacks a layer, or has another in its place', () => {
      const config = one('llama');
      for (const [what, other] of [
        ['a block more', {...config, layers: 2}],
        ['another epsilon', {...config, normEpsilon: config.normEpsilon * 2}],
        ['a tied embedding', {...config, tiedEmbedding: true}],
        ['fused projections', {...config, fusedProjections: true}],
        ['experts', {...config, experts: {count: 2, perToken: 1}}],
      ] as const) {
        expect(nativeLayout(built(config), other), what).to.equal(null);
      }
      const tied = {...config, tiedEmbedding: true};
      expect(nativeLayout(built(tied), config), 'an embedding of its own').to.equal(null);
      const small = tf.sequential({layers: [tf.layers.dense({units: 1, inputShape: [1]})]});
      models.push(small);
      expect(nativeLayout(small, config)).to.equal(null);
    });

    it('is none where a Dense layer has an activation', () => {
      const config = one('llama');
      const model = built(config);
      const layer = model.getLayer('model.layers.0.mlp.up_proj') as unknown as {activation: unknown};
      layer.activation = (
        tf.layers.dense({units: 1, activation: 'relu'}) as unknown as {activation: unknown}
      ).activation;
      expect(nativeLayout(model, config)).to.equal(null);
    });
  });
});
