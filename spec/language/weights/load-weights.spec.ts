import {expect} from 'chai';
import * as fc from 'fast-check';
import type * as tf from '@tensorflow/tfjs';
import {ModelError} from '../../../lib/errors.js';
import {walkModel} from '../../../lib/model/walk.js';
import {asContainer} from '../../../lib/tfjs.js';
import type {Checkpoint} from '../../../lib/language/weights/checkpoint.js';
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';
import {buildModel} from '../../../lib/language/graph/build-model.js';
import {
  loadWeights,
  type LoadWeightsOptions,
  type WeightsProgress,
} from '../../../lib/language/weights/load-weights.js';
import {transpose} from '../../../lib/language/weights/transpose.js';
import {weightPlan} from '../../../lib/language/weights/weight-plan.js';
import {disposeModels, withoutLeaks} from '../../support/backends.js';
import {normals} from '../../support/normals.js';
import {
  checkpointOf,
  randomWeights,
  smallConfigs,
  tensorShapes,
} from '../../support/language/random-checkpoint.js';

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
      expect(error.data['nearest'])
        .to.have.length(3)
        .and.satisfy((near: string[]) =>
          near.every((each) => /^model\.layers\.\d\.self_attn\.[kqvo]_proj\.weight$/.test(each)),
        );
      expect(error.message).to.equal(
        `the checkpoint of ${tensors.size} tensors has none named "${name}": is it complete?; the nearest it has: ` +
          (error.data['nearest'] as string[]).join(', '),
      );
      expect(error.data['tensor']).to.equal(name);
    });

    it('names no nearest where all are far', async () => {
      tensors = new Map([['x', {name: 'x', shape: [1], dtype: 'F32'}]]);
      const error = await failure(model, withTensors());
      expect(error.message).to.match(
        /^the checkpoint of 1 tensors has none named "model\.[^"]*": is it complete\?$/,
      );
      expect(error.data['nearest']).to.deep.equal([]);
    });

    it('does not tell of a shared head where another tensor is missing', async () => {
      const untied = smallConfigs().get('llama')!;
      const other = buildModel(untied);
      const whole = checkpointOf(untied, new Map());
      const rest = new Map([...whole.tensors].filter(([name]) => name !== 'model.norm.weight'));
      const error = await failure(other, {...whole, tensors: rest});
      expect(error.data['tensor']).to.equal('model.norm.weight');
      expect(error.message).to.not.include('tie_word_embeddings');
      disposeModels(other);
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
        const tensor = 'model.layers.0.mlp.down_proj.weight';
        expect(error.message).to.equal(
          `tensor "${tensor}" has shape [${shape}]; the configuration says [32,56]: use the config.json and the weights ` +
            'of one checkpoint',
        );
        expect(error.data).to.deep.equal({tensor, got: shape, expected: [32, 56]});
      });
    }

    it('refuses tensors that the model would leave out', async () => {
      const name = 'model.layers.0.self_attn.q_norm.weight';
      tensors.set(name, {name, shape: [8], dtype: 'F32'});
      const error = await failure(model, withTensors());
      expect(error.code).to.equal('unexpected-tensor');
      expect(error.data).to.deep.equal({tensor: name, architecture: 'llama'});
      expect(error.message).to.equal(
        `the checkpoint has a tensor "${name}" that a llama model of its configuration does not use: leaving it out ` +
          'would change the results; use the config.json and the weights of one checkpoint',
      );
    });

    it('takes a head beside the embedding that it shares, and refuses it where it shares none', async () => {
      const head = {name: 'lm_head.weight', shape: [96, 32], dtype: 'F32'};
      tensors.set(head.name, head);
      await loadWeights(model, {...checkpoint, tensors});
      const untied = smallConfigs().get('llama')!;
      const other = buildModel(untied);
      const whole = checkpointOf(untied, new Map());
      const renamed = new Map([...whole.tensors, ['lm_head.bias', {...head, name: 'lm_head.bias'}]]);
      expect((await failure(other, {...whole, tensors: renamed})).code).to.equal('unexpected-tensor');
      disposeModels(other);
    });

    it('reads the tensors in the order of the file', async () => {
      const names = [...tensors.keys()].sort();
      const read: string[] = [];
      await loadWeights(model, {
        ...checkpoint,
        tensors: new Map(names.map((name) => [name, tensors.get(name)!])),
        read: (name) => {
          read.push(name);
          return checkpoint.read(name);
        },
      });
      expect(read).to.deep.equal(names);
    });

    it('refuses a read of another length', async () => {
      const error = await failure(model, {...checkpoint, read: () => Promise.resolve(new Float32Array(7))});
      expect(error.code).to.equal('wrong-shape');
      const [first, {shape}] = [...checkpoint.tensors][0];
      expect(error.message).to.equal(
        `tensor "${first}" has 7 values; it must have ${shape[0] * shape[1]} for its shape [${shape}]: the file is ` +
          'damaged, get it again',
      );
      expect(error.data).to.deep.equal({tensor: first, got: 7, expected: shape});
    });

    it('calls itself by its name where it is called wrongly', async () => {
      const wrong = {onprogress: () => undefined} as LoadWeightsOptions;
      const error: unknown = await loadWeights(model, checkpoint, wrong).catch((caught: unknown) => caught);
      expect(error).to.have.property('message').that.includes('loadWeights').and.includes('onprogress');
    });

    it('refuses a model of another configuration', async () => {
      const wider: LlamaConfig = {...config, intermediateSize: config.intermediateSize + 2};
      const error = await failure(model, checkpointOf(wider, new Map()));
      expect(error.code).to.equal('wrong-model');
      const path = 'model.layers.0.mlp.gate_proj'; // the first in the file
      const wanted = [32, wider.intermediateSize];
      expect(error.message).to.equal(
        `the model's "${path}" has no weight "kernel" of shape [${wanted}]: build it with buildModel(checkpoint.config)`,
      );
      expect(error.data).to.deep.equal({
        path,
        weight: 'kernel',
        expected: wanted,
        got: [32, config.intermediateSize],
      });
    });

    it('refuses a model that lacks a layer of the configuration', async () => {
      const deeper: LlamaConfig = {...config, layers: config.layers + 1};
      const error = await failure(model, checkpointOf(deeper, new Map()));
      expect(error.code).to.equal('wrong-model');
      expect(error.data['path']).to.match(/^model\.layers\.2\./);
      expect(error.data['got']).to.equal(null);
    });
  });
});

describe('every architecture', () => {
  withoutLeaks(() => {
    for (const [title, config] of smallConfigs()) {
      it(`plans all tensors that a checkpoint has: ${title}`, () => {
        const plan = weightPlan(config);
        const planned = new Map(plan.map(({tensor, shape}) => [tensor, [...shape]]));
        expect(planned).to.deep.equal(tensorShapes(config));
        expect(plan).to.have.length(planned.size);
      });

      it(`has each tensor in its layer: ${title}`, async () => {
        const weights = randomWeights(config, 2);
        const model = buildModel(config);
        await loadWeights(model, checkpointOf(config, weights));
        const found = new Map<string, number[]>();
        for (const {path, layer} of walkModel(asContainer(model)).layers) {
          for (const variable of layer.weights) {
            const name = variable.originalName.split('/').at(-1)!;
            const tensor = tensorName(path, name, config.tiedEmbedding);
            const [inputs, units] = variable.shape as number[];
            const values = variable.read().dataSync() as Float32Array;
            found.set(tensor, [...(name === 'kernel' ? transpose(values, inputs, units) : values)]);
          }
        }
        // Gemma's norms multiply with 1 + weight.
        const offset = (name: string) => (config.architecture === 'gemma' && name.includes('norm') ? 1 : 0);
        for (const [name, values] of weights)
          expect(found.get(name), name).to.deep.equal([...values.map((value) => value + offset(name))]);
        disposeModels(model);
      });
    }
  });
});

/** The tensor that fills the weight of a layer. */
function tensorName(path: string, weight: string, tied: boolean): string {
  if (path === 'lm_head' && tied) return 'model.embed_tokens.weight';
  const layer = path.replace('block_sparse_moe/', 'block_sparse_moe.');
  if (weight === 'q_norm' || weight === 'k_norm') return `${layer}.${weight}.weight`;
  return `${layer}.${weight === 'bias' ? 'bias' : 'weight'}`;
}

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
