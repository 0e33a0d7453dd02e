/**
 * @file Models behind a URL, with the same checks as models on the disk: TensorFlow.js's own `tf.io.http`
 * takes whatever the server sends.
 */

import {io} from '@tensorflow/tfjs';

import {FileError} from '../errors.js';
import {checkWeightsSize, MAX_MODEL_JSON_BYTES, parseModelJson, weightsSize} from './model-json.js';

/**
 * A handler that loads a LayersModel from a web server.
 *
 * @param url http or https URL of a `model.json`; a query string is sent with the weights' requests too.
 * @returns What `tf.loadLayersModel` takes. `load` rejects with `FileError`: `unreachable`, `http-status`, and
 *     the codes of `parseModelJson` and `checkWeightsSize`.
 */
export function httpModel(url: string): Required<Pick<io.IOHandler, 'load'>> {
  return {load: () => download(url)};
}

async function download(url: string): Promise<io.ModelArtifacts> {
  const text = new TextDecoder().decode(await fetchBytes(url, MAX_MODEL_JSON_BYTES));
  const json = parseModelJson(text, url);
  return io.getModelArtifactsForJSON(json, async (manifest) => {
    const weightData: ArrayBuffer[] = [];
    for (const group of manifest) {
      const {bytes, exact} = weightsSize(group.weights);
      let found = 0;
      for (const path of group.paths) {
        const shard = await fetchBytes(shardUrl(path, url), exact ? bytes - found : Infinity);
        found += shard.byteLength;
        weightData.push(shard);
      }
      checkWeightsSize(group, found, url);
    }
    return [manifest.flatMap(({weights}) => weights), weightData];
  });
}

/** The URL of a shard beside the model.json; its path has been checked as text, here as URL. */
function shardUrl(path: string, modelUrl: string): string {
  const base = new URL(modelUrl);
  const shard = new URL(path, base);
  shard.search = base.search;
  const folder = new URL('.', base);
  // '%2e%2e/' is '..' to a URL.
  if (shard.origin !== folder.origin || !shard.pathname.startsWith(folder.pathname)) {
    throw new FileError('unsafe-path', `${modelUrl} wants weights from ${path}, outside its own folder`, {
      source: modelUrl,
      path,
    });
  }
  return shard.href;
}

/** Fetches at most `limit` bytes; more is an error, so that a server cannot fill the memory. */
async function fetchBytes(url: string, limit: number): Promise<ArrayBuffer> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch (cause) {
    throw new FileError(
      'unreachable',
      `${url} cannot be reached: check the address and the network`,
      {url},
      {cause},
    );
  }
  if (!response.ok) {
    throw new FileError(
      'http-status',
      `${url} answered ${response.status} ${response.statusText}: check the address`,
      {
        url,
        status: response.status,
      },
    );
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  const reader = response.body?.getReader();
  for (let next = await reader?.read(); next?.value !== undefined; next = await reader?.read()) {
    size += next.value.byteLength;
    if (size > limit) {
      await reader?.cancel();
      throw new FileError('too-large', `${url} is larger than the ${limit} bytes that it may have`, {
        url,
        limit,
      });
    }
    chunks.push(next.value);
  }
  return joined(chunks, size);
}

function joined(chunks: readonly Uint8Array[], size: number): ArrayBuffer {
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return bytes.buffer;
}
