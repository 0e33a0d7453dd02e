import {expect} from 'chai';
import * as fc from 'fast-check';
import type * as tf from '@tensorflow/tfjs';
import {ModelError} from '../../../lib/errors.js';
import type {Checkpoint} from '../../../lib/language/weights/checkpoint.js';
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';
import {buildModel} from '../../../lib/language/graph/build-model.js';
import {loadWeights, type WeightsProgress} from '../../../lib/language/weights/load-weights.js';
import {transpose} from '../../../lib/language/weights/transpose.js';
import {disposeModels, withoutLeaks} from '../../support/backends.js';
import {normals} from '../../support/normals.js';
import {checkpointOf, randomWeights, smallConfigs} from '../../support/language/random-checkpoint.js';

/** What `loadWeights` fails with; nothing is read before. */
async function failure(model: tf.LayersModel, checkpoint: Checkpoint): Promise<ModelError> {
  try {
    await loadWeights(model, checkpoint);
  } catch (error) {
    expect(error).to.be.instanceOf(ModelError);
    return error as ModelError;
  }
  throw new Error('it did not fail');
}

describe('loadWeights', () => {
  withoutLeaks(() => {
    const config = smallConfigs().get('llama with llama3 scaling')!;
    let model: tf.LayersModel;
    let checkpoint: Checkpoint;
    let tensors: Map<string, {name: string; shape: number[]; dtype: string}>;
    beforeEach(() => {
      model = buildModel(config);
      checkpoint = checkpointOf(config, randomWeights(config, 1));
      tensors = new Map(
        [...checkpoint.tensors].map(([name, tensor]) => [name, {...tensor, shape: [...tensor.shape]}]),
      );
    });
    afterEach(() => disposeModels(model));

    const withTensors = (): Checkpoint => ({
      ...checkpoint,
      tensors,
      read: () => Promise.reject(new Error('nothing should be read')),
    });

    it('transposes kernels and fills biases and norms', async () => {
      const weights = randomWeights(config, 1);
      await loadWeights(model, checkpoint);
      const layer = (name: string) => model.getLayer(name).weights.map((weight) => weight.read());
      const [kernel, bias] = layer('model.layers.1.mlp.up_proj');
      const stored = weights.get('model.layers.1.mlp.up_proj.weight')!;
      expect(kernel.shape).to.deep.equal([config.hiddenSize, config.intermediateSize]);
      const values = kernel.dataSync();
      for (const [input, output] of [
        [0, 0],
        [3, 17],
        [31, 55],
      ]) {
        expect(values[input * config.intermediateSize + output]).to.equal(
          stored[output * config.hiddenSize + input],
        );
      }
      expect([...bias.dataSync()]).to.deep.equal([...weights.get('model.layers.1.mlp.up_proj.bias')!]);
      const [norm] = layer('model.norm');
      expect([...norm.dataSync()]).to.deep.equal([...weights.get('model.norm.weight')!]);
    });

    it('reports progress and stops when asked to', async () => {
      const seen: WeightsProgress[] = [];
      const controller = new AbortController();
      const stopped = loadWeights(model, checkpoint, {
        signal: controller.signal,
        onProgress: (progress) => {
          seen.push(progress);
          if (seen.length === 3) controller.abort(new Error('enough'));
        },
      });
      expect(await stopped.then(String, String)).to.equal('Error: enough');
      expect(seen.length).to.equal(3);
      await loadWeights(model, checkpoint, {onProgress: (progress) => seen.push(progress)});
      const {done, total} = seen[seen.length - 1];
      expect(done).to.equal(total);
      expect(total).to.equal(model.countParams());
    });

    it('takes a tied embedding under the name of the head', async () => {
      const embedding = tensors.get('model.embed_tokens.weight')!;
      tensors.delete('model.embed_tokens.weight');
      tensors.set('lm_head.weight', {...embedding, name: 'lm_head.weight'});
      const values = normals(config.vocabularySize * config.hiddenSize, 5);
      await loadWeights(model, {
        ...checkpoint,
        tensors,
        read: (name) => (name === 'lm_head.weight' ? Promise.resolve(values.slice()) : checkpoint.read(name)),
      });
      const kernel = model.getLayer('lm_head').weights[0].read().dataSync() as Float32Array;
      expect([...transpose(kernel, config.hiddenSize, config.vocabularySize)]).to.deep.equal([...values]);
    });

    it('ignores what published files hold for nothing', async () => {
      const name = 'model.layers.0.self_attn.rotary_emb.inv_freq';
      tensors.set(name, {name, shape: [4], dtype: 'F32'});
      await loadWeights(model, {...checkpoint, tensors});
    });

    it('names a missing tensor and the nearest', async () => {
      const name = 'model.layers.1.self_attn.k_proj.weight';
      tensors.delete(name);
      const error = await failure(model, withTensors());
      expect(error.code).to.equal('missing-tensor');
      expect(error.message).to.include(`"${name}"`);
    });

    it('says how a missing head can be right', async () => {
      const untied = smallConfigs().get('llama')!;
      const other = buildModel(untied);
      const whole = checkpointOf(untied, new Map());
      const headless = new Map([...whole.tensors].filter(([name]) => name !== 'lm_head.weight'));
      const error = await failure(other, {...whole, tensors: headless});
      expect(error.code).to.equal('missing-tensor');
      expect(error.message).to.include('tie_word_embeddings');
      disposeModels(other);
    });

    for (const shape of [[56], [56, 32], [33, 56], [32, 56, 1], [0, 0]]) {
      it(`refuses shape [${shape}] where the configuration says [32,56]`, async () => {
        tensors.get('model.layers.0.mlp.down_proj.weight')!.shape = shape;
        const error = await failure(model, withTensors());
        expect(error.code).to.equal('wrong-shape');
        expect(error.message).to.include('model.layers.0.mlp.down_proj.weight').and.include('[32,56]');
      });
    }

    it('refuses tensors that the model would leave out', async () => {
      const name = 'model.layers.0.self_attn.q_norm.weight';
      tensors.set(name, {name, shape: [8], dtype: 'F32'});
      const error = await failure(model, withTensors());
      expect(error.code).to.equal('unexpected-tensor');
      expect(error.data).to.deep.include({tensor: name});
    });

    it('refuses a read of another length', async () => {
      const error = await failure(model, {...checkpoint, read: () => Promise.resolve(new Float32Array(7))});
      expect(error.code).to.equal('wrong-shape');
      expect(error.message).to.match(/has 7 values/);
    });

    it('refuses a model of another configuration', async () => {
      const wider: LlamaConfig = {...config, intermediateSize: config.intermediateSize + 2};
      const error = await failure(model, checkpointOf(wider, new Map()));
      expect(error.code).to.equal('wrong-model');
    });
  });
});

describe('transpose', () => {
  it('puts element [i, j] at [j, i], whatever the sizes', () => {
    fc.assert(
      fc.property(fc.integer({min: 1, max: 80}), fc.integer({min: 1, max: 80}), (rows, columns) => {
        const values = Float32Array.from({length: rows * columns}, (_, i) => i);
        const result = transpose(values, rows, columns);
        for (let i = 0; i < rows; i++) {
          for (let j = 0; j < columns; j++) {
            if (result[j * rows + i] !== values[i * columns + j]) return false;
          }
        }
        return true;
      }),
    );
  });
});
