/** @file Pieces in the Cache API, for browsers without a file system: each is an answer of its own, under a made-up URL. */
import {freeStorage} from './opfs-store.js';
import type {PieceStore} from './piece-store.js';

const NAME = 'tfjs-sparsify-models';
/** Nothing is ever requested from it: keys of a cache must be URLs. */
const BASE = 'https://models.invalid/';

export class CacheStore implements PieceStore {
  readonly kind = 'cache-api';

  private constructor(private readonly cache: Cache) {}

  /** The cache of this origin; null where the browser has none, as on pages without https. */
  static async open(): Promise<CacheStore | null> {
    try {
      return new CacheStore(await caches.open(NAME));
    } catch {
      return null;
    }
  }

  async entries(): Promise<readonly string[]> {
    return [...new Set((await this.places()).map(({entry}) => entry))];
  }

  async names(entry: string): Promise<readonly string[]> {
    return (await this.places()).filter((place) => place.entry === entry).map(({name}) => name);
  }

  async read(entry: string, name: string): Promise<Uint8Array<ArrayBuffer> | null> {
    const answer = await this.cache.match(urlOf(entry, name));
    return answer === undefined ? null : new Uint8Array(await answer.arrayBuffer());
  }

  write(entry: string, name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    return this.cache.put(urlOf(entry, name), new Response(bytes));
  }

  async remove(entry: string, name?: string): Promise<void> {
    const names = name === undefined ? await this.names(entry) : [name];
    for (const each of names) await this.cache.delete(urlOf(entry, each));
  }

  async freeBytes(): Promise<number | null> {
    return typeof navigator.storage?.estimate === 'function' ? freeStorage() : null;
  }

  private async places(): Promise<{entry: string; name: string}[]> {
    return (await this.cache.keys()).map(({url}) => {
      const [entry, name] = url.slice(BASE.length).split('/');
      return {entry, name};
    });
  }
}

function urlOf(entry: string, name: string): string {
  return `${BASE}${entry}/${name}`;
}
