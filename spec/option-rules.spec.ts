import * as tf from '@tensorflow/tfjs';
import {expect} from 'chai';
import * as main from '../lib/index.js';
import * as node from '../lib/node.js';
import {
  CHECKED_LATER,
  FLAG,
  checkOptions,
  count,
  listOf,
  nested,
  oneOf,
  required,
} from '../lib/option-rules.js';
import type {ReportContents} from '../lib/report/report-contents.js';
import * as serve from '../lib/serve/index.js';
import * as llama from '../lib/language/index.js';
import {rejection} from './support/rejection.js';
import {loadTiny} from './support/language/tiny-language-models.js';

/** What the types of no function refuse. */
type Nothing = never;

/** Options as someone without types gives them. */
type Given = Readonly<Record<string, unknown>>;

interface Call {
  /** Calls the function with these options and others that are right. */
  readonly call: (options: never) => unknown;
  /** Names of its options, as far as `bad` does not hold them. */
  readonly names?: readonly string[];
  /** Values that no option of these names may hold. */
  readonly bad?: Given;
}

const model = null as unknown as tf.LayersModel; // options are looked at before anything else
const lm = null as unknown as llama.LanguageModel;
const RUN: Given = {tokenMask: [[1]], skipLeadingTokens: -1, onProgress: 'log', signal: {aborted: false}};
const ALLOCATION: Given = {
  labels: [0, 1],
  loss: () => 0,
  speed: {ms: 3},
  ignoredScope: 'head',
  calibration: 5,
  probeRows: 0,
  probes: {},
  onProgress: true,
  signal: 'stop',
};
const FORMATS: Given = {formats: ['fp8'], sparsities: [0], kept: 1};
const DECODER: Given = {cache: 'float16', weights: 8};
const SAMPLING = ['temperature', 'topP', 'topK', 'minP', 'seed'];
const WINDOWS: Given = {protocol: 'words', onProgress: 1, signal: 1};

/** By name of the exported function, or of what it makes: how it takes its options. */
const CALLS: Readonly<Record<string, Call>> = {
  sparsifyActivations: {
    call: (options: object) =>
      main.sparsifyActivations(model, [], {targetSparsityByScope: {'.*': 0.5}, ...options}),
    names: ['targetSparsityByScope'],
    bad: {
      ignoredScope: {names: ['a']},
      calibration: null,
      inPlace: 'yes',
      saveStatistics: 1,
      onProgress: {},
      signal: {},
    },
  },
  retarget: {
    call: (options: object) => main.retarget(model, {targetSparsityByScope: {'.*': 0.5}, ...options}),
    bad: {ignoredScope: {names: ['a']}},
  },
  allocateSparsity: {
    call: (options: object) => main.allocateSparsity(model, null, {target: 0.5, ...options}),
    names: ['target', 'method', 'scopes', 'weighting', 'heldOut', 'probeData'],
    bad: ALLOCATION,
  },
  compareFormats: {
    call: (options: object) => main.compareFormats(model, [], options),
    names: ['method', 'scopes', 'weighting', 'heldOut', 'probeData'],
    bad: {...ALLOCATION, ...FORMATS, toBfloat16: 1, maxLoss: 0},
  },
  allocateFormats: {
    call: (options: object) => main.allocateFormats(model, [], {target: {maxLoss: 0.1}, ...options}),
    names: ['target', 'method', 'scopes', 'weighting', 'heldOut', 'probeData'],
    bad: {...ALLOCATION, ...FORMATS, toBfloat16: 1},
  },
  modelInFormat: {
    call: (options: object) => main.modelInFormat(model, 'int8', options),
    bad: {kept: 1, toBfloat16: 1, signal: 1},
  },
  compressWeights: {
    call: (options: object) => main.compressWeights(model, options),
    names: ['mode', 'dataset'],
    bad: {
      ...{ignoredScope: ['a'], inPlace: 0, onProgress: 1, signal: true},
      ...{groupSize: 0, ratio: 1.1, allLayers: 1, backupMode: 'int4_sym', groupSizeFallback: 'pad'},
      ...{minAdjustedGroupSize: 0, sensitivityMetric: 'max', dataAware: 1},
    },
  },
  decompressWeights: {
    call: (options: object) => main.decompressWeights(model, options),
    bad: {inPlace: 'no'},
  },
  quantizeInt8: {
    call: (options: object) =>
      main.quantizeInt8(new Float32Array(1), {rows: 1, columns: 1, channels: 'rows', ...options}, 'int8_sym'),
    bad: {rows: -1, columns: 0.5, channels: 'row'},
  },
  quantizeInt4: {
    call: (options: object) =>
      main.quantizeInt4(new Float32Array(1), {rows: 1, columns: 1, groupSize: 1, ...options}, 'int4_sym'),
    bad: {rows: -1, columns: 0.5, groupSize: -1, isTransposed: 1},
  },
  measureLatency: {
    call: (options: object) => main.measureLatency([], [], options),
    bad: {rounds: 0, warmUp: -1, together: 0.5},
  },
  openDataBlob: {
    call: (options: object) => main.openDataBlob(new Blob(), 'x.npy', options),
    names: ['batchSize'],
    bad: {scale: '1/255', dtype: 'float64'},
  },
  measureSparsity: {call: (options: object) => main.measureSparsity(model, [], options), bad: RUN},
  Dataset: {
    call: (options: object) => new main.Dataset([], null, options),
    names: ['length', 'batchSize'],
    bad: {disposeItems: 'yes'},
  },
  TargetScope: {
    call: (options: object) => new main.TargetScope(options),
    names: ['names', 'patterns', 'types', 'subgraphs', 'validate'],
  },
  IgnoredScope: {call: (options: object) => new main.IgnoredScope(options), names: ['names', 'validate']},
  sparsifiedMatMul: {
    call: (options: object) =>
      tf.tidy(() => main.sparsifiedMatMul(tf.ones([1, 1]), tf.ones([1, 1]), tf.scalar(0), options)),
    names: ['bias'],
    bad: {activation: 'rely'},
  },
  fileSystem: {call: (options: object) => node.fileSystem('x', options), bad: {maxShardBytes: '1 GiB'}},
  loadBackend: {call: (options: object) => node.loadBackend(options), names: ['name']},
  measureOutputErrors: {
    call: (options: object) => node.measureOutputErrors(model, [], options),
    bad: {...RUN, maxRows: 0},
  },
  openDataFile: {
    call: (options: object) => node.openDataFile('x.npy', options),
    names: ['batchSize'],
    bad: {scale: '1/255', dtype: 'float64', inputNames: 'x'},
  },
  provision: {
    call: (options: object) => node.provision(options),
    bad: {packageFolder: 1, log: 'x', force: 1},
  },
  provisionGpu: {call: (options: object) => node.provisionGpu(options), bad: {cache: 1}},
  renderModelCard: {
    call: (options: object) =>
      node.renderModelCard(null as unknown as ReportContents, {isLanguageModel: false, ...options}),
    bad: {isLanguageModel: 'no', maxLayers: 0},
  },
  saveLayersModel: {
    call: (options: object) => node.saveLayersModel(model, 'x', options),
    bad: {maxShardBytes: 0, signal: 1},
  },
  fetchModel: {
    call: (options: object) => llama.fetchModel('no-model', options),
    bad: {onProgress: 1, signal: 1, cache: null},
  },
  languageModelOf: {
    call: (options: object) => llama.languageModelOf(model, options),
    bad: {decoder: 'bfloat16'},
  },
  loadLanguageModel: {
    call: (options: object) => llama.loadLanguageModel('x', options),
    bad: {onProgress: 1, signal: 1, decoder: 1},
  },
  sparsifyStreamed: {
    call: (options: object) => llama.sparsifyStreamed('x', 'y', options),
    names: ['targetSparsityByScope', 'data'],
    bad: {
      ...{
        sequenceLength: 0,
        sequences: 0.5,
        batchSize: '2',
        maxShardBytes: 0,
        signal: 1,
        ignoredScope: 'head',
      },
      ...{compressOptions: {groupSize: 0}},
      ...{compressIgnoredScope: 'head', calibration: 1, saveStatistics: 1, onProgress: 1},
    },
  },
  LanguageModel: {
    call: (options: object) => new llama.LanguageModel(model, options),
    bad: {saveModel: 1, decoder: 1},
  },
  allocateLanguageModel: {
    call: (options: object) => llama.allocateLanguageModel(lm, [], {target: 0.5, ...options}),
    names: ['target', 'method', 'scopes'],
    bad: {
      ...{sequences: 0, sequenceLength: 0, heldOutTokens: 10},
      ...Object.fromEntries(Object.entries(ALLOCATION).filter(([name]) => name !== 'labels')),
    },
  },
  compareLanguageModelFormats: {
    call: (options: object) => llama.compareLanguageModelFormats(lm, [], options),
    names: ['method', 'scopes', 'weighting', 'probeData'],
    bad: {
      ...{sequences: 0, sequenceLength: 0, heldOutTokens: 10, maxLoss: 0, ...FORMATS},
      ...Object.fromEntries(Object.entries(ALLOCATION).filter(([name]) => name !== 'labels')),
    },
  },
  allocateLanguageModelFormats: {
    call: (options: object) =>
      llama.allocateLanguageModelFormats(lm, [], {target: {maxLoss: 0.1}, ...options}),
    names: ['target', 'method', 'scopes', 'weighting', 'probeData'],
    bad: {
      ...{sequences: 0, sequenceLength: 0, heldOutTokens: 10, ...FORMATS},
      ...Object.fromEntries(Object.entries(ALLOCATION).filter(([name]) => name !== 'labels')),
    },
  },
  languageModelInFormat: {
    call: (options: object) => llama.languageModelInFormat(lm, 'int8', options),
    bad: {kept: 1, signal: 1},
  },
  memoryNeed: {
    call: (options: object) => llama.memoryNeed({} as Nothing, options),
    bad: {compress: 'int8_asym', contextLength: 0},
  },
  openLanguageModel: {
    call: (options: object) => llama.openLanguageModel('x', options),
    names: ['compress', 'compressIgnoredScope', 'compressOptions'],
    bad: {
      ...{
        sha256: 'abc',
        store: 1,
        memoryLimit: 0,
        contextLength: 0.5,
        refresh: 1,
        silenceMs: -1,
      },
      ...{onProgress: 'log', onNotice: 1, signal: 'stop'},
    },
  },
  sparsifyLanguageModel: {
    call: (options: object) =>
      llama.sparsifyLanguageModel(lm, '', {targetSparsityByScope: {'.*': 0.5}, ...options}),
    bad: {sequences: 0, sequenceLength: 0, onProgress: 'log', signal: 'stop'},
  },
  applyChatTemplate: {
    call: (options: object) => llama.applyChatTemplate({tokenizer: {}, config: {}}, [], options),
    bad: {addGenerationPrompt: 1, template: 1, variables: []},
  },
  compareWithDense: {
    call: (options: object) => llama.compareWithDense(lm, '', options),
    names: ['contextLength', 'windows'],
    bad: {...WINDOWS, baseline: {}},
  },
  createDecoder: {
    call: (options: object) => llama.createDecoder(model, null as unknown as llama.LlamaConfig, options),
    bad: DECODER,
  },
  createSampler: {call: (options: object) => llama.createSampler(options), names: SAMPLING},
  loadWeights: {
    call: (options: object) => llama.loadWeights(model, null as unknown as llama.Checkpoint, options),
    bad: {onProgress: 1, signal: 1},
  },
  measureDecodeLatency: {
    call: (options: object) => llama.measureDecodeLatency([], options),
    bad: {tokens: 0, seconds: 0, signal: 1},
  },
  parseConfig: {call: (options: object) => llama.parseConfig({}, options), bad: {contextLength: 'all'}},
  perplexityLoss: {
    call: (options: object) => llama.perplexityLoss(lm, []).measure(model, options),
    bad: {onProgress: 1, signal: 1, isClear: true},
  },
  decodingSpeed: {
    call: (options: object) => llama.decodingSpeed(lm).measure(model, options),
    bad: {onProgress: 1, signal: 1},
  },
  textDataset: {
    call: (options: object) => llama.textDataset([], options),
    bad: {sequenceLength: 0, sequences: 0, batchSize: 0},
  },
  createServer: {
    call: (options: object) => serve.createServer({models: [{name: 'a', path: 'b'}], ...options}),
    bad: {models: {}, queue: 1, pool: [], http: 'tls', pollMs: 0},
  },
};

/** What has no options: other arguments, or data that it reads. */
const WITHOUT = new Set([
  ...['AbsHistogram', 'BackendError', 'CalibrationStatistics', 'DatasetError', 'FileError', 'ModelError'],
  ...['ScopeError', 'ServeError', 'SparsifyError', 'SparsifyingDense', 'allocationOf', 'attachStatistics'],
  ...[
    'dequantizeInt4',
    'dequantizeInt8',
    'inspect',
    'inspectWeights',
    'randomInputs',
    'registerLayers',
    'registerSparsifiedMatMul',
    'statisticsOf',
  ],
  ...[
    'withLayers',
    'doctor',
    'loadLayersModel',
    'measuredLayers',
    'parametersOf',
    'readLabels',
    'renderReport',
  ],
  ...['isCheckpoint', 'openCheckpoint', 'attachMetadata', 'buildModel', 'countWords', 'createTokenizer'],
  ...['detokenize', 'documentsOf', 'groupOf', 'isLanguageModel', 'isWikiText', 'metadataOf'],
  ...['registerLlamaLayers', 'splitArticles'],
  ...['MemoryStore', 'deleteCachedModel', 'deviceMemory', 'deviceStore', 'listCachedModels'],
]);

/** Without its second letter. */
const misspelt = (name: string) => name.slice(0, 1) + name.slice(2);

/** Misspells each option, and gives each a value that it cannot hold. */
function itChecks(what: string, {call, names = [], bad = {}}: Call): void {
  const given = call as (options: unknown) => unknown;
  it(`${what}: each of its options, misspelt, with its right name`, async () => {
    for (const name of [...names, ...Object.keys(bad)]) {
      const error = await rejection(() => given({[misspelt(name)]: 1}), 'unknown-option');
      expect(error.message)
        .to.include(`"${misspelt(name)}"`)
        .and.match(new RegExp(`write .*"${name}"`));
    }
  });

  for (const [name, value] of Object.entries(bad)) {
    it(`${what}: ${name} that is ${typeof value === 'function' ? 'a function' : JSON.stringify(value)}`, async () => {
      const error = await rejection(() => given({[name]: value}), 'bad-option');
      expect(error.message).to.include(name).and.include('it must be');
    });
  }
}

describe('options of every public function', () => {
  it('are told of here', () => {
    const exported = [main, node, llama, serve].flatMap((door) =>
      Object.entries(door).flatMap(([name, value]) => (typeof value === 'function' ? [name] : [])),
    );
    expect([...exported].sort()).to.deep.equal([...Object.keys(CALLS), ...WITHOUT].sort());
  });

  describe('are refused', () => {
    for (const [name, call] of Object.entries(CALLS)) itChecks(name, call);

    const within: Readonly<Record<string, Call>> = {
      'calibration of sparsifyActivations': {
        call: (calibration: object) =>
          main.sparsifyActivations(model, [], {targetSparsityByScope: {'.*': 0.5}, calibration}),
        names: ['method', 'alpha'],
        bad: {tokenMask: 1, skipLeadingTokens: 0.5},
      },
      'calibration of allocateSparsity': {
        call: (calibration: object) => main.allocateSparsity(model, null, {target: 0.5, calibration}),
        names: ['method', 'alpha', 'tokenMask', 'skipLeadingTokens'],
      },
      'calibration of sparsifyStreamed': {
        call: (calibration: object) => llama.sparsifyStreamed('x', 'y', {calibration}),
        names: ['method', 'alpha', 'tokenMask', 'skipLeadingTokens'],
      },
      'warnings of retarget': {
        call: (options: object) => main.retarget(model, {'.*': 0.5}, options),
        bad: {onWarning: 'none'},
      },
      'subgraphs of a TargetScope': {
        call: (subgraph: object) =>
          new main.TargetScope({subgraphs: [{inputs: ['a'], outputs: ['b'], ...subgraph}]}),
        names: ['inputs', 'outputs'],
      },
      'decoder of loadLanguageModel': {
        call: (decoder: object) => llama.loadLanguageModel('x', {decoder}),
        bad: DECODER,
      },
      'decoder of LanguageModel': {
        call: (decoder: object) => new llama.LanguageModel(model, {decoder}),
        bad: DECODER,
      },
      'models of createServer': {
        call: (served: object) => serve.createServer({models: [{name: 'a', path: 'b', ...served}]}),
        bad: {name: 1, path: null, versions: 'newest', labels: 'stable'},
      },
      'queue of createServer': {
        call: (queue: object) => serve.createServer({models: [{name: 'a', path: 'b'}], queue}),
        bad: {maxBatch: '8', maxDelayMs: '1', maxQueue: null, timeoutMs: '1 min'},
      },
      'pool of createServer': {
        call: (pool: object) => serve.createServer({models: [{name: 'a', path: 'b'}], pool}),
        bad: {workers: '2', backend: 1, hangMs: '1', maxSequences: '1', cacheBytes: '1 GiB'},
      },
      'http of createServer': {
        call: (http: object) => serve.createServer({models: [{name: 'a', path: 'b'}], http}),
        names: ['noKey'],
        bad: {
          allowedHosts: 'a',
          apiKeys: 'secret',
          bodyLimit: '1',
          headersTimeoutMs: '1',
          cors: '*',
          tls: true,
          log: 'all',
        },
      },
    };
    for (const [name, call] of Object.entries(within)) itChecks(name, call);

    describe('by a language model', () => {
      let tiny: llama.LanguageModel;
      before(async () => void (tiny = await loadTiny()));
      after(() => tiny.dispose());
      const decode = async (options: object) => {
        const decoder = tiny.decoder();
        try {
          await decoder.append([1], options);
        } finally {
          decoder.dispose();
        }
      };
      const methods: Readonly<Record<string, Call>> = {
        generate: {
          call: (options: object) => tiny.generate([1], {maxTokens: 1, ...options}),
          names: [...SAMPLING, 'maxTokens', 'prefill'],
          bad: {signal: 1, onToken: 1, stop: [3]},
        },
        perplexity: {call: (options: object) => tiny.perplexity('', options), bad: {...WINDOWS, dense: 1}},
        windows: {call: (options: object) => tiny.windows('', options), bad: WINDOWS},
        dataset: {call: (options: object) => tiny.dataset([1, 2], options), bad: {sequences: 0}},
        save: {call: (options: object) => tiny.save('x', options), bad: {signal: 1}},
        encode: {call: (options: object) => tiny.tokenizer!.encode('', options), bad: {addSpecialTokens: 1}},
        decode: {call: (options: object) => tiny.tokenizer!.decode([], options), bad: {skipSpecialTokens: 1}},
        'append of a decoder': {call: decode, bad: {dense: 'no'}},
      };
      for (const [name, call] of Object.entries(methods)) itChecks(name, call);
    });
  });

  it('that are no object are refused', async () => {
    for (const none of ['x', 3, null, [1], new Map([['inPlace', true]])] as unknown as Nothing[]) {
      for (const call of [
        () => main.compressWeights(model, none),
        () => main.sparsifyActivations(model, [], none),
        () => main.allocateSparsity(model, [], none),
        () => llama.createSampler(none),
        () => serve.createServer(none),
      ]) {
        expect((await rejection(call, 'bad-option')).message).to.include('they must be an object');
      }
    }
  });

  it('that are missing are named, with how to write them', async () => {
    const none = {} as unknown as Nothing;
    for (const [action, hint] of [
      [() => main.sparsifyActivations(model, [], none), "targetSparsityByScope: {'.*': 0.5}"],
      [() => main.allocateSparsity(model, [], none), '{target: 0.5}'],
      [() => main.allocateSparsity(model, [], undefined as unknown as Nothing), '{target: 0.5}'],
      [() => llama.allocateLanguageModel(lm, [], none), '{target: 0.5}'],
      [() => serve.createServer(none), "models: [{name: 'digits'"],
      [() => serve.createServer({models: [{name: 'a'}]} as unknown as Nothing), "{path: 'models/digits'}"],
      [
        () => main.quantizeInt8(new Float32Array(1), {rows: 1, columns: 1} as unknown as Nothing, 'int8_sym'),
        'channels',
      ],
    ] as const) {
      expect((await rejection(action, 'missing-option')).message).to.include(hint);
    }
  });
});

describe('checkOptions', () => {
  const rules = {
    list: listOf(count()),
    kind: oneOf(['a', 'b']),
    inner: nested<{flag?: boolean}>({flag: FLAG}),
    any: CHECKED_LATER,
  };
  const failure = (options: unknown) => rejection(() => checkOptions('f', options, rules), 'bad-option');

  it('takes what the rules allow, and options that are left out', () => {
    checkOptions('f', undefined, rules);
    checkOptions('f', {list: [1, 2], kind: 'b', inner: {flag: false}, any: null}, rules);
    checkOptions('f', {list: undefined, kind: undefined, inner: {}, any: undefined}, rules);
  });

  it('says whose option it is, what was got and what is allowed', async () => {
    expect((await failure({list: [1, 0]})).message).to.equal(
      'list[1] of f is 0; it must be a whole number of 1 or more',
    );
    expect((await failure({kind: 'c'})).message).to.equal(
      'kind of f is the string "c"; it must be one of "a", "b"',
    );
    expect((await failure({inner: {flag: 1}})).message).to.equal(
      'flag of inner of f is 1; it must be true or false',
    );
    expect((await failure({inner: new Map()})).message)
      .to.include('is an object (Map)')
      .and.include('flag');
    expect((await failure(new Map())).message).to.include('the options of f are an object (Map)');
    await rejection(() => checkOptions('f', {list: [undefined]}, rules), 'missing-option');
    await rejection(() => checkOptions('f', {}, {needed: required('{needed: 1}')}), 'missing-option');
  });

  it('lists all names where none is near', async () => {
    const error = await rejection(() => checkOptions('f', {somethingElse: 1}, rules), 'unknown-option');
    expect(error.message).to.equal(
      'f has no option "somethingElse"; it has list, kind, inner, any: remove it',
    );
    expect(error.data).to.deep.include({option: 'somethingElse', allowed: ['list', 'kind', 'inner', 'any']});
  });
});
