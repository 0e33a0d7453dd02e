/** @file Where the other files of a model behind a URL are. */
import {FileError} from '../../errors.js';

/**
 * The URL of a file beside the model.json; its path has been checked as text, here as URL.
 *
 * @throws {FileError} `unsafe-path` if it lies outside the folder.
 */
export function fileUrl(path: string, modelUrl: string): string {
  const base = new URL(modelUrl);
  const shard = new URL(path, base);
  shard.hash = '';
  shard.search = joinedQuery(shard.search, base.search);
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

/**
 * The query of a shard: its own as it is, since it may be signed, then what the model.json's has beyond that, a key to
 * the whole folder say.
 */
function joinedQuery(own: string, base: string): string {
  if (own.length < 2 || base.length < 2) return own.length < 2 ? base : own;
  const names = new Set(new URLSearchParams(own).keys());
  const further = base
    .slice(1)
    .split('&')
    .filter((part) => ![...new URLSearchParams(part).keys()].some((name) => names.has(name)));
  return [own, ...further].join('&');
}
