/**
 * @file Models behind a URL, with the same checks as models on the disk: TensorFlow.js's own `tf.io.http`
 * takes whatever the server sends.
 */

import {FileError} from '../errors.js';
import {fromKeras3} from './keras3/model-json.js';
import {MAX_MODEL_JSON_BYTES, parseModelJson} from './model-json.js';
import type {ModelSource, ShardStream} from './model-source.js';

/**
 * Opens a LayersModel on a web server.
 *
 * @param url http or https URL of a `model.json`; a query string is sent with the weights' requests too.
 * @returns The model; its shards are requested one by one as they are read.
 * @throws FileError `unreachable`, `http-status`, `too-large`, `unsafe-path`, and the codes of `parseModelJson`.
 */
export async function openHttpModel(url: string): Promise<ModelSource> {
  const json = await fromKeras3(parseModelJson(await fetchText(url, MAX_MODEL_JSON_BYTES), url), url);
  return {
    name: url,
    json,
    shardName: (path) => shardUrl(path, url),
    openShard: (path) => openUrl(shardUrl(path, url)),
  };
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

/** Fetches at most `limit` bytes of text; more is an error, so that a server cannot fill the memory. */
async function fetchText(url: string, limit: number): Promise<string> {
  const stream = await openUrl(url);
  const decoder = new TextDecoder();
  const chunk = new Uint8Array(64 * 1024);
  let text = '';
  let size = 0;
  try {
    for (let read = await stream.read(chunk); read > 0; read = await stream.read(chunk)) {
      size += read;
      if (size > limit) {
        throw new FileError('too-large', `${url} is larger than the ${limit} bytes that it may have`, {
          url,
          limit,
        });
      }
      text += decoder.decode(chunk.subarray(0, read), {stream: true});
    }
    return text + decoder.decode();
  } finally {
    await stream.close();
  }
}

async function openUrl(url: string): Promise<ShardStream> {
  let response: Response;
  try {
    response = await fetch(url);
  } catch (cause) {
    throw unreachable(url, cause);
  }
  if (!response.ok) {
    throw new FileError(
      'http-status',
      `${url} answered ${response.status} ${response.statusText}: check the address`,
      {url, status: response.status},
    );
  }
  const body = response.body?.getReader();
  let rest: Uint8Array = new Uint8Array(0);
  return {
    read: async (target) => {
      try {
        while (rest.byteLength === 0) {
          const next = await body?.read();
          if (next?.value === undefined) return 0;
          rest = next.value;
        }
      } catch (cause) {
        throw unreachable(url, cause);
      }
      const taken = rest.subarray(0, target.byteLength);
      target.set(taken);
      rest = rest.subarray(taken.byteLength);
      return taken.byteLength;
    },
    close: async () => {
      await body?.cancel().catch(() => undefined); // a connection that broke is closed already
    },
  };
}

function unreachable(url: string, cause: unknown): FileError {
  return new FileError(
    'unreachable',
    `${url} cannot be reached: check the address and the network`,
    {url},
    {cause},
  );
}
