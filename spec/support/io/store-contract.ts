/** @file What every storage of pieces must do, as one list of results: of memory in Node, of a browser's in a page. */
import type {PieceStore} from '../../../lib/io/web/piece-store.js';

/** Uses an empty storage in all ways and leaves it empty; what its calls gave. */
export async function storeContract(store: PieceStore): Promise<Readonly<Record<string, unknown>>> {
  const bytes = (...values: number[]) => Uint8Array.from(values);
  const read = async (entry: string, name: string) => {
    const found = await store.read(entry, name);
    return found === null ? null : [...found];
  };
  const found: Record<string, unknown> = {empty: await store.entries(), missing: await read('none', '0')};
  found.noNames = await store.names('none');
  await store.write('a', '0', bytes(1, 2, 3));
  await store.write('a', '10', bytes());
  await store.write('b', 'entry.json', bytes(4));
  found.entries = [...(await store.entries())].sort();
  found.names = [...(await store.names('a'))].sort();
  found.first = await read('a', '0');
  found.nothing = await read('a', '10');
  await store.write('a', '0', bytes(9)); // shorter than what was there
  found.replaced = await read('a', '0');
  const large = new Uint8Array(5 * 1024 ** 2).fill(7);
  await store.write('a', '1', large);
  found.large = (await store.read('a', '1'))?.every((byte) => byte === 7);
  await store.remove('a', '0');
  await store.remove('a', 'none');
  await store.remove('none', '0');
  await store.remove('none');
  found.removed = [await read('a', '0'), [...(await store.names('a'))].sort()];
  await store.remove('a');
  found.left = await store.entries();
  found.ofRemoved = await store.names('a');
  await store.remove('b');
  found.end = await store.entries();
  return found;
}

/** What it must give. */
export const STORE_CONTRACT = {
  empty: [],
  missing: null,
  noNames: [],
  entries: ['a', 'b'],
  names: ['0', '10'],
  first: [1, 2, 3],
  nothing: [],
  replaced: [9],
  large: true,
  removed: [null, ['1', '10']],
  left: ['b'],
  ofRemoved: [],
  end: [],
};
