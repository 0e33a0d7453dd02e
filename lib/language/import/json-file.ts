/** @file The small JSON files of a checkpoint: configuration and tokenizer. */
import {FileError} from '../../errors.js';
import {decodeText} from '../../io/files/decode-text.js';
import type {FileFolder} from '../../io/files/file-folder.js';

/** The largest `tokenizer.json` of these families (gemma, 256,000 tokens with merges) is 35 MB. */
const MAX_JSON_BYTES = 256 * 1024 ** 2;

/** An object of JSON, its values not looked at yet. */
export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Reads a JSON file of a folder that holds an object.
 *
 * @throws {FileError} `missing-file`, `too-large`, `malformed-json`, or what opening it throws.
 */
export async function readJsonFile(folder: FileFolder, file: string): Promise<JsonObject> {
  const path = folder.pathOf(file);
  const text = await readTextFile(folder, file);
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
export async function readOptionalJsonFile(folder: FileFolder, file: string): Promise<JsonObject | null> {
  try {
    return await readJsonFile(folder, file);
  } catch (error) {
    if (error instanceof FileError && error.code === 'missing-file') return null;
    throw error;
  }
}

/** Reads a text file of bounded size. @throws {FileError} */
export async function readTextFile(folder: FileFolder, name: string): Promise<string> {
  const file = await folder.open(name);
  try {
    if (file.size <= MAX_JSON_BYTES) return decodeText(await file.read(0, file.size, 'the text'), file.name);
    throw new FileError(
      'too-large',
      `${file.name} is ${file.size} bytes; at most ${MAX_JSON_BYTES} are read: it holds no weights`,
      {path: file.name, size: file.size},
    );
  } finally {
    await file.close();
  }
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
