/**
 * @file Models behind a URL, with the same checks as models on the disk: TensorFlow.js's own `tf.io.http`
 * takes whatever the server sends.
 */

import {createHash} from 'node:crypto';

import {FileError} from '../../errors.js';
import {fileUrl} from '../files/file-url.js';
import {TextPieces} from '../files/decode-text.js';
import {openHttpFile, type HttpLimits} from './http-file.js';
import {fromKeras3} from './keras3/model-json.js';
import {MAX_MODEL_JSON_BYTES, parseModelJson} from './model-json.js';
import type {ModelSource, ShardStream} from './model-source.js';
import {takeCredentials, withoutCredentials} from '../files/url-credentials.js';

/**
 * Opens a LayersModel on a web server.
 *
 * @param address http or https URL of a `model.json`. Its query string is sent with the weights' requests too, beside what query
 *     a weight's own path has; user and password are sent as basic authentication.
 * @param limits How long to wait for the server.
 * @returns The model; its shards are requested one by one as they are read.
 * @throws FileError `unreachable`, `http-status`, `unsafe-redirect`, `too-large`, `unsafe-path`, and the codes of `parseModelJson`.
 */
export async function openHttpModel(address: string, limits: HttpLimits = {}): Promise<ModelSource> {
  const name = withoutCredentials(address);
  if (!URL.canParse(address)) {
    throw new FileError('bad-option', `${name} is no valid URL: check it`, {url: name});
  }
  const {url, authorization} = takeCredentials(address);
  const open = (file: string) => openHttpFile(file, {...limits, authorization});
  const json = parseModelJson(await readModelJson(await open(url), url, limits.maxJsonBytes), name);
  return {
    name,
    json: await fromKeras3(json, name),
    shardName: (path) => fileUrl(path, url),
    openShard: (path) => open(fileUrl(path, url)),
    createHash: () => createHash('sha256'),
  };
}

/** Reads at most as much text as a model.json may have; more is an error, so that a server cannot fill the memory. */
async function readModelJson(
  stream: ShardStream,
  url: string,
  limit = MAX_MODEL_JSON_BYTES,
): Promise<string> {
  const pieces = new TextPieces(url);
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
      text += pieces.add(chunk.subarray(0, read));
    }
    return text + pieces.end();
  } finally {
    await stream.close();
  }
}
