import {expect} from 'chai';
import type * as tf from '@tensorflow/tfjs';
import {buildModel, buildParts} from '../../../lib/language/graph/build-model.js';
import {disposeModels, withoutLeaks} from '../../support/backends.js';
import {SMALL_CONFIGS, smallConfigs} from '../../support/language/random-checkpoint.js';

const namesOf = (model: tf.LayersModel) =>
  model.layers.filter((layer) => layer.getClassName() !== 'InputLayer').map(({name}) => name);

describe('the layers of a language model', () => {
  withoutLeaks(() => {
    it('carry the paths of Hugging Face, in the order in which they run', () => {
      const model = buildModel({...smallConfigs().get('llama')!, layers: 1});
      const block = 'model.layers.0';
      expect(model.name).to.equal('llama');
      expect(model.inputs[0].name).to.match(/^input_ids(_\d+)?$/); // counted in a process
      expect(model.inputs[0].dtype).to.equal('int32');
      expect(model.inputs[0].shape).to.deep.equal([null, null]);
      expect(model.outputs[0].shape).to.deep.equal([null, null, 96]);
      const names = namesOf(model);
      expect(names).to.have.members([
        'model.embed_tokens',
        `${block}.input_layernorm`,
        ...['q', 'k', 'v'].map((name) => `${block}.self_attn.${name}_proj`),
        `${block}.self_attn`,
        `${block}.self_attn.o_proj`,
        `${block}.self_attn.add`,
        `${block}.post_attention_layernorm`,
        ...['gate', 'up'].map((name) => `${block}.mlp.${name}_proj`),
        `${block}.mlp`,
        `${block}.mlp.down_proj`,
        `${block}.mlp.add`,
        'model.norm',
        'lm_head',
      ]);
      expect(names[0]).to.equal('model.embed_tokens');
      expect(names.slice(-2)).to.deep.equal(['model.norm', 'lm_head']);
      disposeModels(model);
    });

    for (const title of Object.keys(SMALL_CONFIGS)) {
      it(`are those of its parts, one after the other: ${title}`, () => {
        const config = smallConfigs().get(title)!;
        const whole = buildModel(config);
        const parts: string[][] = [];
        for (const part of buildParts(config)) {
          parts.push(namesOf(part));
          if (parts.length > 1) expect(part.inputs[0].shape).to.deep.equal([null, null, config.hiddenSize]);
          const isLast = parts.length === config.layers + 2;
          expect(part.outputs[0].shape[2]).to.equal(isLast ? config.vocabularySize : config.hiddenSize);
          expect(part.outputs).to.have.length(parts.length === 1 && config.tiedEmbedding ? 2 : 1);
          disposeModels(part);
        }
        expect(parts).to.have.length(config.layers + 2);
        if (config.tiedEmbedding) expect(parts[0].pop()).to.equal('lm_head');
        expect(parts.flat().sort()).to.deep.equal(namesOf(whole).sort());
        for (let i = 0; i < config.layers; i++)
          expect(parts[i + 1].every((name) => name.startsWith(`model.layers.${i}.`))).to.equal(true);
        disposeModels(whole);
      });
    }

    it('start as zeros, and norms as ones', () => {
      const model = buildModel(smallConfigs().get('qwen3')!);
      for (const variable of model.weights) {
        const {originalName} = variable;
        const expected = /norm/.test(originalName) ? 1 : 0;
        expect(new Set(variable.read().dataSync()), originalName).to.deep.equal(new Set([expected]));
      }
      disposeModels(model);
    });

    it('scale the embedding where the family does', () => {
      const model = buildModel(smallConfigs().get('gemma')!);
      expect(namesOf(model).slice(0, 2)).to.deep.equal(['model.embed_tokens', 'model.embed_tokens.scale']);
      expect(model.getLayer('model.embed_tokens.scale').getConfig()['factor']).to.equal(Math.sqrt(32));
      disposeModels(model);
    });

    it('say how they attend', () => {
      const attentionOf = (title: string) => {
        const model = buildModel(smallConfigs().get(title)!);
        const config = model.getLayer('model.layers.1.self_attn').getConfig();
        disposeModels(model);
        return config;
      };
      expect(attentionOf('mistral')).to.include({heads: 4, keyHeads: 2, headSize: 12, slidingWindow: 7});
      expect(attentionOf('llama')).to.include({slidingWindow: 0, normEpsilon: 0, attentionFactor: 1});
      expect(attentionOf('qwen3')['normEpsilon']).to.equal(smallConfigs().get('qwen3')!.normEpsilon);
    });
  });
});
