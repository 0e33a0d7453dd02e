import type {io} from '@tensorflow/tfjs';
import {expect} from 'chai';
import {checkWeightsSize, parseModelJson, weightsSize} from '../../../lib/io/model/model-json.js';
import {failure} from '../../support/io/files.js';

const ENTRY = {name: 'w', shape: [2, 2], dtype: 'float32'};

/** The text of a model.json whose fields are replaced. */
function text(change: Record<string, unknown> = {}): string {
  return JSON.stringify({
    modelTopology: {},
    weightsManifest: [{paths: ['w.bin'], weights: [ENTRY]}],
    ...change,
  });
}

/** One with a group, or with an entry, that is changed. */
const withGroup = (change: object) =>
  text({weightsManifest: [{paths: ['w.bin'], weights: [ENTRY], ...change}]});
const withEntry = (change: object) => withGroup({weights: [{...ENTRY, ...change}]});

/** What is wrong, and what is said of it. */
const REFUSED: readonly (readonly [what: string, text: string, code: string, message: string])[] = [
  [
    'no topology',
    text({modelTopology: []}),
    'not-a-model',
    'm.json has no "modelTopology": give the model.json that `model.save` or tensorflowjs_converter wrote',
  ],
  [
    'a GraphModel',
    text({format: 'graph-model'}),
    'graph-model',
    'm.json is a GraphModel; only LayersModels have layers to work on: convert the original again with ' +
      '`tensorflowjs_converter --output_format=tfjs_layers_model`',
  ],
  [
    'metadata that is a list',
    text({userDefinedMetadata: []}),
    'not-a-model',
    '"userDefinedMetadata" of m.json is not an object',
  ],
  [
    'a key that changes objects',
    text().replace('{}', '{"prototype":1}'),
    'forbidden-key',
    'm.json has a key "prototype", which no model has and which can change JavaScript objects: do not use this file',
  ],
  [
    'a number beyond doubles',
    text().replace('{}', '{"a":[-1e400]}'),
    'malformed-json',
    'm.json has a number beyond 1.8e308: no model has',
  ],
  ...(
    [
      ['no manifest', text({weightsManifest: {}}), 'is missing or no array, so the model has no weights'],
      ['a group that is null', text({weightsManifest: [null]}), 'has a group without "paths" and "weights"'],
      ['paths that are text', withGroup({paths: 'w.bin'}), 'has a group without "paths" and "weights"'],
      ['weights that are an object', withGroup({weights: {}}), 'has a group without "paths" and "weights"'],
      ['a path that is a number', withGroup({paths: [7]}), 'has a path that is no string'],
      [
        'a checksum in capitals',
        withGroup({sha256: ['A'.repeat(64)]}),
        'has a group whose "sha256" is not one checksum of 64 hex digits for each path',
      ],
      [
        'a checksum of 65 digits',
        withGroup({sha256: ['a'.repeat(65)]}),
        'has a group whose "sha256" is not one checksum of 64 hex digits for each path',
      ],
      [
        'one checksum too many',
        withGroup({sha256: ['a'.repeat(64), 'b'.repeat(64)]}),
        'has a group whose "sha256" is not one checksum of 64 hex digits for each path',
      ],
      [
        'one of two checksums wrong',
        withGroup({paths: ['a', 'b'], sha256: ['a'.repeat(64), 'b']}),
        'has a group whose "sha256" is not one checksum of 64 hex digits for each path',
      ],
      ['an entry that is null', withGroup({weights: [null]}), 'has a weight without a name'],
      ['a name that is a number', withEntry({name: 7}), 'has a weight without a name'],
      ['a name that comes twice', withGroup({weights: [ENTRY, ENTRY]}), 'lists the weight "w" twice'],
      ['a shape that is a number', withEntry({shape: 4}), 'gives the weight "w" no valid shape'],
      ['a shape of text', withEntry({shape: ['4']}), 'gives the weight "w" no valid shape'],
      [
        'a negative dimension beside a right one',
        withEntry({shape: [4, -1]}),
        'gives the weight "w" no valid shape',
      ],
      ['values beyond counting', withEntry({shape: [2 ** 50]}), 'gives the weight "w" no valid shape'],
      ['a dtype that is no text', withEntry({dtype: 4}), 'gives the weight "w" an unknown dtype'],
      ['a dtype of another library', withEntry({dtype: 'float64'}), 'gives the weight "w" an unknown dtype'],
      [
        'a quantization that is null',
        withEntry({quantization: null}),
        'gives the weight "w" an unknown dtype',
      ],
      [
        'a quantization without a dtype',
        withEntry({quantization: {}}),
        'gives the weight "w" an unknown dtype',
      ],
      [
        'a quantization to a dtype of the prototype',
        withEntry({quantization: {dtype: 'toString'}}),
        'gives the weight "w" an unknown dtype',
      ],
    ] as const
  ).map(
    ([what, json, said]) =>
      [
        what,
        json,
        'malformed-manifest',
        `"weightsManifest" of m.json ${said}: save the model again`,
      ] as const,
  ),
  ...['C:/w.bin', 'file:w.bin', 'a\\b', '/w.bin', 'a/', '..', 'a/..', 'https://host/w.bin'].map(
    (path) =>
      [
        `a shard at ${path}`,
        withGroup({paths: [path]}),
        'unsafe-path',
        `m.json wants weights from ${JSON.stringify(path)}; they must lie in the model's own folder, by relative path`,
      ] as const,
  ),
];

describe('parseModelJson', () => {
  for (const [what, json, code, message] of REFUSED) {
    it(`refuses ${what}, and says so`, async () => {
      const error = await failure(() => parseModelJson(json, 'm.json'));
      expect(error).to.include({name: 'FileError', code, message});
      expect(error.data).to.include({source: 'm.json'});
    });
  }

  it('says where the JSON ends, and what it may be', async () => {
    const error = await failure(() => parseModelJson('{"a": ', 'm.json'));
    expect(error.code).to.equal('malformed-json');
    expect(error.message)
      .to.match(/^m\.json is not JSON \(.*JSON.*\): /)
      .and.include('was it cut off, or is it a web page with an error?');
    expect(error.cause).to.be.instanceOf(SyntaxError);
    expect(error.data).to.deep.equal({source: 'm.json'});
  });

  it('takes 256 levels and no more', async () => {
    const nested = (levels: number) =>
      text({a: 0}).replace('"a":0', `"a":${'['.repeat(levels)}${']'.repeat(levels)}`);
    expect(parseModelJson(nested(256), 'm.json')).to.have.property('modelTopology');
    const error = await failure(() => parseModelJson(nested(257), 'm.json'));
    expect(error).to.include({code: 'malformed-json', message: 'm.json nests more than 256 levels deep'});
  });

  it('takes what a model may have', () => {
    for (const json of [
      text({userDefinedMetadata: null}),
      text({userDefinedMetadata: {a: null}}),
      text({weightsManifest: []}),
      withGroup({paths: [], weights: []}),
      withGroup({sha256: ['0123456789abcdef'.repeat(4)]}),
      withGroup({paths: ['part/of..it/w:1.bin']}),
      withEntry({shape: []}),
      withEntry({shape: [0, 2 ** 40]}),
      withEntry({name: ''}),
      ...['int32', 'bool', 'complex64', 'string'].map((dtype) => withEntry({dtype})),
      ...['float16', 'uint8', 'uint16'].map((dtype) => withEntry({quantization: {dtype, scale: 1, min: 0}})),
    ]) {
      expect(parseModelJson(json, 'm.json'), json).to.deep.equal(JSON.parse(json));
    }
  });
});

describe('the size of weights', () => {
  const entry = (shape: number[], dtype: string, quantized?: string) =>
    ({
      name: 'w',
      shape,
      dtype,
      ...(quantized && {quantization: {dtype: quantized}}),
    }) as io.WeightsManifestEntry;

  for (const [entries, bytes, exact] of [
    [[entry([3, 5], 'float32')], 60, true],
    [[entry([], 'int32')], 4, true],
    [[entry([7], 'bool')], 7, true],
    [[entry([2], 'complex64')], 16, true],
    [[entry([3, 5], 'float32', 'float16')], 30, true],
    [[entry([3, 5], 'float32', 'uint8'), entry([2], 'int32', 'uint16')], 19, true],
    [[entry([3], 'string'), entry([2], 'float32')], 20, false],
    [[], 0, true],
  ] as const) {
    it(`is ${exact ? '' : 'at least '}${bytes} for ${JSON.stringify(entries)}`, async () => {
      expect(weightsSize(entries)).to.deep.equal({bytes, exact});
      const group = {paths: ['a.bin', 'b.bin'], weights: [...entries]};
      checkWeightsSize(group, bytes, 'm.json');
      if (!exact) checkWeightsSize(group, bytes + 1, 'm.json');
      for (const found of exact ? [bytes - 1, bytes + 1] : [bytes - 1]) {
        const error = await failure(() => checkWeightsSize(group, found, 'm.json'));
        expect(error).to.include({
          code: 'weights-mismatch',
          message:
            `the weights in a.bin, b.bin are ${found} bytes; the manifest in m.json needs ${exact ? '' : 'at least '}${bytes}: ` +
            'copy the weight files again, from the folder where this model.json was written',
        });
        expect(error.data).to.deep.equal({source: 'm.json', paths: group.paths, found, expected: bytes});
      }
    });
  }
});
