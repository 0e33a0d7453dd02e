/** @file The small JSON files of a checkpoint: configuration and tokenizer. */
import {readFile, stat} from 'node:fs/promises';

import {FileError} from '../../errors.js';
import {decodeText} from '../../io/files/decode-text.js';
import {fileFailure} from '../../io/files/file-failure.js';

/** The largest `tokenizer.json` of these families (gemma, 256,000 tokens with merges) is 35 MB. */
const MAX_JSON_BYTES = 256 * 1024 ** 2;

/** An object of JSON, its values not looked at yet. */
export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Reads a JSON file that holds an object.
 *
 * @throws {FileError} `missing-file`, `too-large`, `malformed-json`, or what the operating system says.
 */
export async function readJsonFile(path: string): Promise<JsonObject> {
  const text = await readTextFile(path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'unreadable';
    throw new FileError(
      'malformed-json',
      `${path} is not JSON (${reason}): download it again`,
      {path},
      {cause},
    );
  }
  if (isJsonObject(value)) return value;
  throw new FileError('malformed-json', `${path} is no JSON object: download it again`, {path});
}

/** Like `readJsonFile`; null if there is no such file. */
export async function readOptionalJsonFile(path: string): Promise<JsonObject | null> {
  try {
    return await readJsonFile(path);
  } catch (error) {
    if (error instanceof FileError && error.code === 'missing-file') return null;
    throw error;
  }
}

/** Reads a text file of bounded size. @throws {FileError} */
export async function readTextFile(path: string): Promise<string> {
  try {
    const {size} = await stat(path);
    if (size <= MAX_JSON_BYTES) return decodeText(await readFile(path), path);
    throw new FileError(
      'too-large',
      `${path} is ${size} bytes; at most ${MAX_JSON_BYTES} are read: it holds no weights`,
      {path, size},
    );
  } catch (cause) {
    throw fileFailure(path, cause);
  }
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
