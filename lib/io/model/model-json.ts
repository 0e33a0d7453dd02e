/**
 * @file The `model.json` of a TensorFlow.js LayersModel, parsed and checked before anything acts on it. The
 * format is `ModelJSON` in @tensorflow/tfjs-core 4.22 (`io/types.ts`). What the layers' configs say is not
 * checked here: TensorFlow.js does that while it builds them.
 */

import type {io} from '@tensorflow/tfjs';

import {FileError} from '../../errors.js';
import {isObject} from '../../plain-object.js';

/** Far above any topology with its metadata, and below V8's longest string (512 MiB). */
export const MAX_MODEL_JSON_BYTES = 256 * 1024 ** 2;
/** TensorFlow.js walks the topology recursively; real ones nest less than 40 deep. */
const MAX_DEPTH = 256;
/** Keys that would reach an object's prototype once copied by name. */
const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** Bytes of one value as stored; a string's length is only known from its data. */
const BYTES_PER_VALUE: Readonly<Record<string, number>> = {float32: 4, int32: 4, bool: 1, complex64: 8};
const BYTES_PER_QUANTIZED_VALUE: Readonly<Record<string, number>> = {float16: 2, uint8: 1, uint16: 2};

/** Weights that lie together in some shards: an entry of the manifest. */
export type WeightsGroup = io.WeightsManifestConfig[number] & {
  /** SHA-256 of each of `paths`, 64 hex digits; ours, other readers pass over it. Absent: not checked. */
  readonly sha256?: readonly string[];
};

/** How many bytes a group of weights takes in its shards. */
export interface WeightsSize {
  readonly bytes: number;
  /** False if the group has strings: then `bytes` is the least that it can take. */
  readonly exact: boolean;
}

/**
 * Parses the text of a `model.json`.
 *
 * @param text The file's content.
 * @param source Its path or URL, for the errors.
 * @returns The parsed file: a LayersModel with a weights manifest whose entries and shard paths are sound.
 * @throws FileError `malformed-json`, `forbidden-key`, `graph-model`, `not-a-model`, `malformed-manifest` or
 *     `unsafe-path`.
 */
export function parseModelJson(text: string, source: string): io.ModelJSON {
  const json = parseJson(text, source);
  if (!isObject(json) || !isObject(json['modelTopology'])) {
    throw new FileError(
      'not-a-model',
      `${source} has no "modelTopology": give the model.json that \`model.save\` or tensorflowjs_converter wrote`,
      {source},
    );
  }
  if (json['format'] === 'graph-model' || 'node' in json['modelTopology']) {
    throw new FileError(
      'graph-model',
      `${source} is a GraphModel; only LayersModels have layers to work on: convert the original again with ` +
        '`tensorflowjs_converter --output_format=tfjs_layers_model`',
      {source},
    );
  }
  const metadata = json['userDefinedMetadata'];
  if (metadata !== undefined && metadata !== null && !isObject(metadata)) {
    throw new FileError('not-a-model', `"userDefinedMetadata" of ${source} is not an object`, {source});
  }
  checkManifest(json['weightsManifest'], source);
  return json as unknown as io.ModelJSON;
}

/**
 * The bytes that the shards of a group must hold together.
 *
 * @param weights The group's entries, already checked by `parseModelJson`.
 */
export function weightsSize(weights: readonly io.WeightsManifestEntry[]): WeightsSize {
  let bytes = 0;
  let exact = true;
  for (const {shape, dtype, quantization} of weights) {
    const values = shape.reduce((product, dimension) => product * dimension, 1);
    if (quantization !== undefined) bytes += values * BYTES_PER_QUANTIZED_VALUE[quantization.dtype];
    else if (dtype === 'string') {
      exact = false;
      bytes += values * 4;
    } else bytes += values * BYTES_PER_VALUE[dtype];
  }
  return {bytes, exact};
}

/**
 * Fails unless the shards of a group hold what the manifest says.
 *
 * @param group The group of the manifest.
 * @param found Bytes of its shards together.
 * @param source Path or URL of the model.json.
 * @throws FileError `weights-mismatch`.
 */
export function checkWeightsSize(group: WeightsGroup, found: number, source: string): void {
  const {bytes, exact} = weightsSize(group.weights);
  if (found === bytes || (!exact && found > bytes)) return;
  throw new FileError(
    'weights-mismatch',
    `the weights in ${group.paths.join(', ')} are ${found} bytes; the manifest in ${source} needs ` +
      `${exact ? '' : 'at least '}${bytes}: copy the weight files again, from the folder where this model.json was written`,
    {source, paths: group.paths, found, expected: bytes},
  );
}

function parseJson(text: string, source: string): unknown {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new FileError(
      'malformed-json',
      `${source} is not JSON (${cause instanceof Error ? cause.message : 'unreadable'}): was it cut off, or is ` +
        'it a web page with an error?',
      {source},
      {cause},
    );
  }
  checkKeys(json, source, 0);
  return json;
}

function checkKeys(value: unknown, source: string, depth: number): void {
  if (value === Infinity || value === -Infinity) {
    throw new FileError('malformed-json', `${source} has a number beyond 1.8e308: no model has`, {source});
  }
  if (typeof value !== 'object' || value === null) return;
  if (depth > MAX_DEPTH) {
    throw new FileError('malformed-json', `${source} nests more than ${MAX_DEPTH} levels deep`, {source});
  }
  for (const [key, child] of Object.entries(value)) {
    if (FORBIDDEN_KEYS.has(key)) {
      throw new FileError(
        'forbidden-key',
        `${source} has a key "${key}", which no model has and which can change JavaScript objects: do not use this file`,
        {source, key},
      );
    }
    checkKeys(child, source, depth + 1);
  }
}

function checkManifest(manifest: unknown, source: string): void {
  const fail = (what: string): never => {
    throw new FileError(
      'malformed-manifest',
      `"weightsManifest" of ${source} ${what}: save the model again`,
      {
        source,
      },
    );
  };
  if (!Array.isArray(manifest)) return fail('is missing or no array, so the model has no weights');
  const names = new Set<string>();
  for (const group of manifest as unknown[]) {
    if (!isObject(group) || !Array.isArray(group['paths']) || !Array.isArray(group['weights'])) {
      return fail('has a group without "paths" and "weights"');
    }
    for (const path of group['paths'] as unknown[]) {
      if (typeof path !== 'string') return fail('has a path that is no string');
      checkShardPath(path, source);
    }
    if (!areChecksums(group['sha256'], group['paths'].length)) {
      return fail('has a group whose "sha256" is not one checksum of 64 hex digits for each path');
    }
    for (const entry of group['weights'] as unknown[]) {
      if (!isObject(entry) || typeof entry['name'] !== 'string') return fail('has a weight without a name');
      const name = entry['name'];
      if (names.has(name)) return fail(`lists the weight "${name}" twice`);
      names.add(name);
      if (!isShape(entry['shape'])) return fail(`gives the weight "${name}" no valid shape`);
      if (!isStorable(entry)) return fail(`gives the weight "${name}" an unknown dtype`);
    }
  }
}

/** Refuses a shard outside the model's own folder; the check is on the text, before any file is touched. */
function checkShardPath(path: string, source: string): void {
  const segments = path.split('/');
  const inside = path !== '' && segments.every((segment) => segment !== '' && segment !== '..');
  if (inside && !/[\\\0]|^[a-z][a-z0-9+.-]*:/i.test(path)) return;
  throw new FileError(
    'unsafe-path',
    `${source} wants weights from ${JSON.stringify(path)}; they must lie in the model's own folder, by relative path`,
    {source, path},
  );
}

function areChecksums(sha256: unknown, count: number): boolean {
  if (sha256 === undefined) return true;
  if (!Array.isArray(sha256) || sha256.length !== count) return false;
  return sha256.every((each) => typeof each === 'string' && /^[0-9a-f]{64}$/.test(each));
}

function isShape(shape: unknown): shape is number[] {
  return (
    Array.isArray(shape) &&
    shape.every((dimension) => Number.isSafeInteger(dimension) && dimension >= 0) &&
    Number.isSafeInteger(shape.reduce((product: number, dimension: number) => product * dimension, 8))
  );
}

function isStorable({dtype, quantization}: Record<string, unknown>): boolean {
  if (typeof dtype !== 'string' || !(dtype === 'string' || Object.hasOwn(BYTES_PER_VALUE, dtype)))
    return false;
  if (quantization === undefined) return true;
  if (!isObject(quantization) || typeof quantization['dtype'] !== 'string') return false;
  return Object.hasOwn(BYTES_PER_QUANTIZED_VALUE, quantization['dtype']);
}
