import {expect} from 'chai';
import * as tf from '@tensorflow/tfjs';
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';
import {attachMetadata, isLanguageModel, metadataOf} from '../../../lib/language/config/saved-metadata.js';
import {SMALL_CONFIGS, smallConfigs} from '../../support/language/random-checkpoint.js';
import {rejection} from '../../support/rejection.js';

const TOKENIZER = {tokenizer: {model: {vocab: {constructor: 0}}}, config: {}};
const KEY = 'tfjs-sparsify-llama';

/** A field of the configuration, a value that a file may wrongly have there, and how the error shows it. */
const WRONG: readonly (readonly [field: string, values: readonly unknown[]])[] = [
  ...[
    'vocabularySize',
    'hiddenSize',
    'intermediateSize',
    'layers',
    'heads',
    'keyHeads',
    'headSize',
    'contextLength',
  ].map((field) => [field, [0, 1.5, -1, '8', null, 2 ** 53]] as const),
  ...['normEpsilon', 'ropeTheta', 'embeddingScale'].map((field) => [field, ['1', null]] as const),
  ...['tiedEmbedding', 'queryKeyNorm', 'fusedProjections'].map(
    (field) => [field, [1, 'true', null]] as const,
  ),
  ['architecture', ['llama4', 'toString', null]],
  ['activation', ['relu', null]],
  ['slidingWindow', [0, 0.5, '7', false]],
  ['headSize', [7]],
  ['keyHeads', [3]],
  ['ropeScaling', [null, [], 'none', {kind: 1}, {}]],
  ['bias', [null, true, []]],
  [
    'experts',
    [
      [],
      true,
      {},
      {count: 0, perToken: 1},
      {count: 4, perToken: 0},
      {count: 4, perToken: 1.5},
      {count: 4},
      {perToken: 1},
    ],
  ],
  ['bosTokenId', [-1, 0.5, '1', [1]]],
  ['eosTokenIds', [null, 2, [-1], [1, null], [0.5]]],
];

describe('the metadata of a language model', () => {
  let model: tf.LayersModel;
  beforeEach(() => {
    model = tf.sequential({layers: [tf.layers.dense({units: 1, inputShape: [1]})]});
  });
  afterEach(() => void model.dispose());

  /** Attaches what a file may hold, as it comes out of JSON. */
  const holding = (entry: unknown) =>
    model.setUserDefinedMetadata(JSON.parse(JSON.stringify({[KEY]: entry})) as object);
  const entryOf = (config: object, tokenizer: unknown = null) => ({version: 1, config, tokenizer});
  const config = (): LlamaConfig => smallConfigs().get('mixtral')!;

  for (const title of Object.keys(SMALL_CONFIGS)) {
    it(`keep configuration and tokenizer in JSON: ${title}`, () => {
      const config = smallConfigs().get(title)!;
      attachMetadata(model, {config, tokenizer: TOKENIZER});
      const saved = JSON.stringify(model.getUserDefinedMetadata());
      const other = tf.sequential({layers: [tf.layers.dense({units: 1, inputShape: [1]})]});
      other.setUserDefinedMetadata(JSON.parse(saved) as object);
      expect(isLanguageModel(other)).to.equal(true);
      expect(metadataOf(other)).to.deep.equal({config, tokenizer: TOKENIZER});
      other.dispose();
    });
  }

  it('lie beside what else is there, with the vocabulary as text and not as keys', () => {
    model.setUserDefinedMetadata({mine: [1]});
    attachMetadata(model, {config: config(), tokenizer: TOKENIZER});
    expect(model.getUserDefinedMetadata()).to.deep.equal({
      mine: [1],
      [KEY]: {version: 1, config: config(), tokenizer: JSON.stringify(TOKENIZER)},
    });
  });

  it('may have no tokenizer', () => {
    attachMetadata(model, {config: config(), tokenizer: null});
    expect(metadataOf(model).tokenizer).to.equal(null);
  });

  it('are not in every model', async () => {
    for (const metadata of [undefined, {}, {[KEY]: null}, {[KEY]: 'text'}, {other: {version: 1}}]) {
      if (metadata !== undefined) model.setUserDefinedMetadata(metadata);
      expect(isLanguageModel(model)).to.equal(false);
      const error = await rejection(() => metadataOf(model), 'not-a-language-model');
      expect(error.message).to.equal(
        'the model has no configuration of a language model: load a checkpoint with loadLanguageModel, or a folder ' +
          'that save() or `tfjs-sparsify import` wrote',
      );
    }
  });

  async function expectMalformed(what: string): Promise<void> {
    const error = await rejection(() => metadataOf(model), 'malformed-metadata');
    expect(error.message).to.equal(
      `the model's metadata of a language model are malformed: ${what}; import the checkpoint again`,
    );
  }

  it('are read by the release that knows their version', async () => {
    for (const version of [0, 2, '1', undefined]) {
      holding({...entryOf(config()), version});
      await expectMalformed(`version is ${version}, this release reads 1`);
    }
  });

  for (const [what, tokenizer, said] of [
    ['a number', 7, 'the tokenizer is no text'],
    ['missing', undefined, 'the tokenizer is no text'],
    ['an object', TOKENIZER, 'the tokenizer is no text'],
    ['no JSON', '{', 'the tokenizer is no JSON object with "tokenizer" and "config"'],
    ['null as text', 'null', 'the tokenizer is no JSON object with "tokenizer" and "config"'],
    [
      'without a config',
      '{"tokenizer": {}}',
      'the tokenizer is no JSON object with "tokenizer" and "config"',
    ],
    [
      'without a tokenizer',
      '{"config": {}}',
      'the tokenizer is no JSON object with "tokenizer" and "config"',
    ],
    [
      'with a list',
      '{"tokenizer": [], "config": {}}',
      'the tokenizer is no JSON object with "tokenizer" and "config"',
    ],
  ] as const) {
    it(`are refused with a tokenizer that is ${what}`, async () => {
      const entry = entryOf(config(), tokenizer);
      if (tokenizer === undefined) Reflect.deleteProperty(entry, 'tokenizer');
      holding(entry);
      await expectMalformed(said);
    });
  }

  it('are refused without a configuration', async () => {
    for (const missing of [undefined, null, [], 'llama', 3]) {
      holding({version: 1, config: missing, tokenizer: null});
      await expectMalformed('the configuration is missing');
    }
  });

  for (const [field, values] of WRONG) {
    it(`are refused with a wrong or missing ${field}`, async () => {
      for (const value of values) {
        holding(entryOf({...config(), [field]: value}));
        await expectMalformed(`"${field}" of the configuration is ${JSON.stringify(value)}`);
      }
      const {[field as keyof LlamaConfig]: _, ...rest} = config();
      holding(entryOf(rest));
      await expectMalformed(`"${field}" of the configuration is undefined`);
    });
  }

  it('take every value that a configuration may have', () => {
    for (const change of [
      ...(['silu', 'gelu', 'gelu_tanh'] as const).map((activation) => ({activation})),
      {slidingWindow: null},
      {slidingWindow: 1},
      {experts: null},
      {experts: {count: 1, perToken: 1}},
      {bosTokenId: null},
      {bosTokenId: 0},
      {eosTokenIds: []},
      {eosTokenIds: [0, 7]},
      {heads: 4, keyHeads: 4},
      {contextLength: 1},
    ]) {
      holding(entryOf({...config(), ...change}));
      expect(metadataOf(model).config).to.deep.equal({...config(), ...change});
    }
  });
});
