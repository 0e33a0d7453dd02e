import {readFileSync, readdirSync} from 'node:fs';
import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import {fileSystem} from '../../../lib/io/model/file-system.js';
import {loadLayersModel, saveLayersModel} from '../../../lib/io/model/model-files.js';
import {disposeModels} from '../../support/backends.js';
import {failure, temporaryFolder, write} from '../../support/io/files.js';

/** A model as Keras 3 wrote it and tensorflowjs_converter converted it, with Keras's own answers. */
interface Converted {
  readonly inputs: readonly {name: string; shape: number[]; dtype: 'float32' | 'int32'; values: number[]}[];
  readonly outputs: readonly {shape: number[]; values: number[]}[];
  readonly files: Readonly<Record<string, {json: ModelJson; weights: string}>>;
}

type Json = Record<string, unknown>;
interface Spec {
  name: string;
  shape: number[];
  dtype: string;
}
interface ModelJson extends Json {
  modelTopology: {
    keras_version?: string;
    model_config: {class_name: string; config: {name: string; layers: LayerJson[]}};
  };
  weightsManifest: {paths: string[]; weights: Spec[]}[];
}
interface LayerJson {
  class_name: string;
  name?: string;
  config: Json;
  inbound_nodes?: Json[];
}

const FOLDER = new URL('../../fixtures/keras3/', import.meta.url);
const NAMES = readdirSync(FOLDER).flatMap((name) => (name.endsWith('.json') ? [name.slice(0, -5)] : []));

function converted(name: string): Converted {
  return JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8')) as Converted;
}

/** TensorFlow.js warns of states that were inputs; they are saved as inputs. */
async function quietly(work: () => Promise<unknown>): Promise<void> {
  const {warn} = console;
  console.warn = () => undefined;
  try {
    await work();
  } finally {
    console.warn = warn;
  }
}

/** float32 sums in another order than Keras's; the outputs are of order 1. */
const TOLERANCE = 2e-6;

describe('models of Keras 3', () => {
  const at = temporaryFolder();
  before(() => tf.setBackend('cpu'));

  /** Writes the files of a model, changed, and returns their folder. */
  function files(
    {json, weights}: {json: ModelJson; weights: string},
    change?: (json: ModelJson) => void,
  ): string {
    const own = structuredClone(json);
    change?.(own);
    write(at(own.weightsManifest[0].paths[0]), Buffer.from(weights, 'base64'));
    write(at('model.json'), JSON.stringify(own));
    return at();
  }

  function expectKerasAnswers(model: tf.LayersModel, {inputs, outputs}: Converted): void {
    const named = inputs.map(({values, shape, dtype}) => tf.tensor(values, shape, dtype));
    const order = model.inputNames.map((name) => inputs.findIndex((input) => input.name === name));
    const given = order.length > 1 && !order.includes(-1) ? order.map((index) => named[index]) : named;
    const answers = [model.predict(given.length === 1 ? given[0] : given)].flat();
    expect(answers.map(({shape}) => shape)).to.deep.equal(outputs.map(({shape}) => shape));
    for (const [i, {values}] of outputs.entries()) {
      for (const [k, value] of answers[i].dataSync().entries())
        expect(value).to.be.closeTo(values[k], TOLERANCE * Math.max(1, Math.abs(values[k])));
    }
    tf.dispose([named, answers]);
  }

  for (const name of NAMES) {
    const model = converted(name);
    for (const [kind, own] of Object.entries(model.files)) {
      it(`${name} by ${kind} answers as Keras does, loaded by us and by TensorFlow.js, and saved again`, async () => {
        const loaded = await loadLayersModel(files(own));
        expectKerasAnswers(loaded, model);
        const stock = await tf.loadLayersModel(fileSystem(at()));
        expectKerasAnswers(stock, model);
        await quietly(() => saveLayersModel(loaded, at('again')));
        const again = await loadLayersModel(at('again'));
        expectKerasAnswers(again, model);
        for (const each of [loaded, stock, again]) each.dispose();
      });
    }
  }

  it('leave no tensor of the model that names are found with', async () => {
    const folder = files(converted('seq-dense').files['h5']);
    const before = tf.memory().numTensors;
    const model = await loadLayersModel(folder);
    expect(tf.memory().numTensors - before).to.equal(model.weights.length);
    model.dispose();
    expect(tf.memory().numTensors).to.equal(before);
  });

  const dense = converted('seq-dense');
  const specsOf = (json: ModelJson) => json.weightsManifest[0].weights;

  it('are read where a layer was numbered anew: dense_1_1/kernel of the layer dense_1', async () => {
    const rename = (json: ModelJson) => {
      for (const spec of specsOf(json))
        spec.name = spec.name.replace('sequential/dense_1', 'sequential_3/dense_1_1');
    };
    const model = await loadLayersModel(files(dense.files['h5'], rename));
    expectKerasAnswers(model, dense);
    model.dispose();
  });

  it('are read with the state of random numbers and an optimizer among their weights', async () => {
    const {json, weights} = dense.files['h5'];
    const bytes = Buffer.concat([Buffer.alloc(8), Buffer.from(weights, 'base64'), Buffer.alloc(4)]);
    const extended = {json, weights: bytes.toString('base64')};
    const model = await loadLayersModel(
      files(extended, (own) => {
        specsOf(own).unshift({
          name: 'sequential/dropout/seed_generator/seed_generator_state',
          shape: [2],
          dtype: 'int32',
        });
        specsOf(own).push({name: 'seed_generator_1/seed_generator_state', shape: [1], dtype: 'int32'});
      }),
    );
    expectKerasAnswers(model, dense);
    expect(model.weights).to.have.length(4);
    model.dispose();
  });

  it('are read from paths of Windows and under the older name of their layers', async () => {
    const nested = converted('nested');
    for (const rename of [
      (name: string) => name.replaceAll('/', '\\'),
      (name: string) => name.replaceAll('layers/', '_layer_checkpoint_dependencies/'),
    ]) {
      const change = (json: ModelJson) => {
        for (const spec of specsOf(json)) spec.name = rename(spec.name);
      };
      const model = await loadLayersModel(files(nested.files['v3'], change));
      expectKerasAnswers(model, nested);
      model.dispose();
    }
  });

  it('are known by their form where no version is given', async () => {
    const model = await loadLayersModel(
      files(dense.files['h5'], (json) => {
        delete json.modelTopology.keras_version;
      }),
    );
    expectKerasAnswers(model, dense);
    model.dispose();
  });

  it('keep the names of their layers, of those in wrappers too', async () => {
    const model = await loadLayersModel(files(converted('rnn').files['h5']));
    const bidirectional = model.getLayer('bidirectional') as tf.layers.Layer & {
      forwardLayer: tf.layers.Layer;
    };
    expect(bidirectional.forwardLayer.name).to.equal('forward_lstm');
    model.dispose();
  });

  it('are read without an input layer, by the shape that the model was built with', async () => {
    const model = await loadLayersModel(
      files(dense.files['h5'], (json) => {
        const {config} = json.modelTopology.model_config;
        config.layers.shift();
        Object.assign(config, {build_input_shape: [null, 6]});
      }),
    );
    expectKerasAnswers(model, dense);
    model.dispose();
  });

  it('take integers of any size as int32', async () => {
    const rnn = converted('rnn');
    const model = await loadLayersModel(
      files(rnn.files['h5'], (json) => {
        json.modelTopology.model_config.config.layers[0].config['dtype'] = 'int64';
      }),
    );
    expect(model.inputs[0].dtype).to.equal('int32');
    expectKerasAnswers(model, rnn);
    model.dispose();
  });

  it('keep their regularizers, constraints and what initializes them', async () => {
    const model = await loadLayersModel(files(converted('initializers').files['h5']));
    const config = (name: string) =>
      model.getLayer(name).getConfig() as Record<
        string,
        {className: string; config: Record<string, number>} | null
      >;
    expect(config('dense')['kernelInitializer']?.className).to.equal('Orthogonal');
    expect(config('dense')['biasInitializer']?.config['value']).to.be.closeTo(0.1, 1e-6);
    expect(config('dense_1')['kernelRegularizer']?.config['l2']).to.be.closeTo(0.01, 1e-6);
    expect(config('dense_1')['kernelRegularizer']?.config['l1']).to.equal(0);
    expect(config('dense_1')['kernelConstraint']?.className).to.equal('MaxNorm');
    disposeModels(model);
  });

  it('may be called by the names of arguments', async () => {
    const states = converted('states');
    const model = await loadLayersModel(
      files(states.files['h5'], (json) => {
        for (const [name, argument] of [
          ['dec', 'sequences'],
          ['dense', 'inputs'],
        ]) {
          const {args, kwargs} = call(json, name) as {args: unknown[]; kwargs: Json};
          call(json, name)['kwargs'] = {...kwargs, [argument]: args.pop()};
        }
      }),
    );
    expectKerasAnswers(model, states);
    model.dispose();
  });

  const layer = (json: ModelJson, name: string) =>
    json.modelTopology.model_config.config.layers.find(({config}) => config['name'] === name)!;
  /** The inbound node of a layer of the functional model. */
  const call = (json: ModelJson, name: string) => layer(json, name).inbound_nodes![0];

  for (const [what, name, change, code, words] of [
    [
      'a layer that TensorFlow.js does not have',
      'seq-dense',
      (json: ModelJson) => (layer(json, 'dense').class_name = 'GroupNormalization'),
      'unknown-layer',
      ['GroupNormalization', '"dense"'],
    ],
    [
      'a GRU that resets after the product',
      'rnn',
      (json: ModelJson) => (layer(json, 'gru').config['reset_after'] = true),
      'unsupported-layer',
      ['"gru" (GRU)', 'reset_after true'],
    ],
    [
      'an activation that means something else',
      'seq-dense',
      (json: ModelJson) => (layer(json, 'dense').config['activation'] = 'hard_sigmoid'),
      'unsupported-layer',
      ['hard_sigmoid'],
    ],
    [
      'a layer as an activation',
      'seq-dense',
      (json: ModelJson) =>
        (layer(json, 'dense').config['activation'] = {
          module: 'keras.layers',
          class_name: 'LeakyReLU',
          config: {},
        }),
      'unsupported-layer',
      ['as its activation'],
    ],
    [
      'quantized weights',
      'seq-dense',
      (json: ModelJson) =>
        (layer(json, 'dense').config['dtype'] = {class_name: 'QuantizedDTypePolicy', config: {mode: 'int8'}}),
      'unsupported-layer',
      ['dtype policy'],
    ],
    [
      'a convolution in groups',
      'conv',
      (json: ModelJson) => (layer(json, 'conv2d').config['groups'] = 3),
      'unsupported-layer',
      ['groups 3'],
    ],
    [
      'a ReLU with a slope',
      'conv',
      (json: ModelJson) => (layer(json, 're_lu').config['negative_slope'] = 0.1),
      'unsupported-layer',
      ['negative_slope 0.1'],
    ],
    [
      'an operation with a constant',
      'ops',
      (json: ModelJson) => ((call(json, 'add')['args'] as unknown[])[1] = 2),
      'unsupported-layer',
      ['"add"', 'is called with 2'],
    ],
    [
      'an operation that is no layer',
      'ops',
      (json: ModelJson) => (layer(json, 'add').class_name = 'Reshape'),
      'unsupported-layer',
      ['an operation on tensors'],
    ],
    [
      'a mask by hand',
      'states',
      (json: ModelJson) =>
        ((call(json, 'dec')['kwargs'] as Json)['mask'] = (call(json, 'dec')['args'] as unknown[])[0]),
      'unsupported-layer',
      ['is called with mask'],
    ],
    [
      'a layer that always drops',
      'states',
      (json: ModelJson) => ((call(json, 'enc')['kwargs'] as Json)['training'] = true),
      'unsupported-layer',
      ['is called with training'],
    ],
    [
      'outputs that masks would make zero',
      'masked-functional',
      (json: ModelJson) => (layer(json, 'lstm').config['zero_output_for_mask'] = true),
      'unsupported-layer',
      ['zero_output_for_mask'],
    ],
    [
      'a call of a layer that is not there',
      'ops',
      (json: ModelJson) => (layer(json, 'dense').config['name'] = layer(json, 'dense').name = 'renamed'),
      'malformed-topology',
      ['not there', '"dense"'],
    ],
    [
      'a call with an output that is not there',
      'ops',
      (json: ModelJson) =>
        ((call(json, 'dense')['args'] as {config: {keras_history: unknown[]}}[])[0].config.keras_history[1] =
          1),
      'malformed-topology',
      ['not there'],
    ],
    [
      'a model of a class of its own',
      'seq-dense',
      (json: ModelJson) => (json.modelTopology.model_config.class_name = 'MyModel'),
      'malformed-topology',
      ['"MyModel"'],
    ],
    [
      'weights of another layer',
      'seq-dense',
      (json: ModelJson) => (specsOf(json)[0].name = 'sequential/other/kernel'),
      'weights-mismatch',
      ['sequential/other/kernel', 'dense/kernel'],
    ],
    [
      'a nested model that is called with two arguments',
      'nested',
      (json: ModelJson) => {
        const args = call(json, 'inner')['args'] as unknown[];
        args.push(args[0]);
      },
      'unsupported-layer',
      ['"inner"', 'is called with 2 arguments'],
    ],
    [
      'an operation on tensors of several ranks',
      'ops',
      (json: ModelJson) => {
        const [, second] = call(json, 'add')['args'] as {config: {shape: unknown[]}}[];
        second.config.shape.push(1);
      },
      'unsupported-layer',
      ['several ranks'],
    ],
    [
      'a backward layer of its own',
      'rnn',
      (json: ModelJson) => {
        const {backward_layer: backward} = layer(json, 'bidirectional').config as {backward_layer: LayerJson};
        backward.config['units'] = 5;
      },
      'unsupported-layer',
      ['a backward layer of its own'],
    ],
    [
      'two layers that both go forwards',
      'rnn',
      (json: ModelJson) => {
        const {backward_layer: backward} = layer(json, 'bidirectional').config as {backward_layer: LayerJson};
        backward.config['go_backwards'] = false;
      },
      'unsupported-layer',
      ['a backward layer of its own'],
    ],
    [
      'a mask that is made in a nested model',
      'nested-seq',
      (json: ModelJson) => {
        (layer(json, 'enc').config['layers'] as LayerJson[])[1].config['mask_zero'] = true;
        layer(json, 'dense_3').config['zero_output_for_mask'] = true;
      },
      'unsupported-layer',
      ['zero_output_for_mask'],
    ],
    [
      'a weight that is missing',
      'seq-dense',
      (json: ModelJson) => {
        specsOf(json)[3].name = 'seed_generator_state';
      },
      'weights-mismatch',
      ['no weights for dense_1/bias'],
    ],
    [
      'images that are made larger smoothly',
      'conv',
      (json: ModelJson) => {
        layer(json, 're_lu').class_name = 'UpSampling2D';
        layer(json, 're_lu').config['interpolation'] = 'bilinear';
      },
      'unsupported-layer',
      ['interpolation "bilinear"'],
    ],
    [
      'a mean over steps of which a mask leaves some out',
      'mask-chain',
      (json: ModelJson) => (layer(json, 'layer_normalization').class_name = 'GlobalAveragePooling1D'),
      'unsupported-layer',
      ['"layer_normalization" (GlobalAveragePooling1D)', 'mask'],
    ],
    [
      'a mask that goes on behind a recurrent layer',
      'mask-layer',
      (json: ModelJson) => (layer(json, 'lstm_1').class_name = 'Softmax'),
      'unsupported-layer',
      ['"lstm_1" (Softmax)', 'mask'],
    ],
    [
      'a mask in a functional model',
      'masked-functional',
      (json: ModelJson) => (layer(json, 'lstm').class_name = 'Reshape'),
      'unsupported-layer',
      ['"lstm" (Reshape)', 'mask'],
    ],
    [
      'two layers of one name in nested models',
      'nested-seq',
      (json: ModelJson) => {
        const inner = (name: string) => layer(json, name).config['layers'] as LayerJson[];
        inner('dec')[1].config['name'] = 'dense';
        for (const spec of specsOf(json)) spec.name = spec.name.replace('dec/dense_2', 'dec/dense');
      },
      'duplicate-weight',
      ['"dense/'],
    ],
  ] as const) {
    it(`are refused with the way out: ${what}`, async () => {
      const error = await failure(loadLayersModel(files(converted(name).files['h5'], change)));
      expect(error).to.include({name: 'ModelError', code});
      for (const word of ['Keras 3', ...words]) expect(error.message).to.include(word);
      if (code !== 'duplicate-weight') expect(error.message).to.include('TF_USE_LEGACY_KERAS=1');
    });
  }
});

describe('why a model cannot be built', () => {
  const at = temporaryFolder();
  before(() => tf.setBackend('cpu'));

  it('is not looked for in the words of an error: a first layer without a shape is no wrong weight', async () => {
    const layer = {class_name: 'Dense', config: {name: 'weight', units: 2}};
    const modelTopology = {class_name: 'Sequential', config: {name: 'm', layers: [layer]}};
    write(at('model.json'), JSON.stringify({format: 'layers-model', modelTopology, weightsManifest: []}));
    const error = await failure(loadLayersModel(at()));
    expect(error.code).to.equal('malformed-topology');
    expect(error.message).to.not.include('another model');
  });

  it('names an activation that is not registered', async () => {
    const config = {name: 'd', units: 2, batch_input_shape: [null, 2], activation: 'sparkle'};
    const modelTopology = {
      class_name: 'Sequential',
      config: {name: 'm', layers: [{class_name: 'Dense', config}]},
    };
    write(at('model.json'), JSON.stringify({format: 'layers-model', modelTopology, weightsManifest: []}));
    const error = await failure(loadLayersModel(at()));
    expect(error).to.include({code: 'unknown-layer'});
    expect(error.data).to.include({layer: 'sparkle'});
  });
});
