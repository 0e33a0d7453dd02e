/** @file What a page has stored in its file system; runs in the page. */

/** Smaller files tell of the others. */
const LEAST_BYTES = 4096;

/** Turns a byte round in the middle of each large file. Gives their number. */
export async function damage(): Promise<number> {
  return damageIn(await navigator.storage.getDirectory());
}

async function damageIn(folder: FileSystemDirectoryHandle): Promise<number> {
  let count = 0;
  for await (const handle of folder.values()) {
    if (handle.kind === 'directory') {
      count += await damageIn(handle);
      continue;
    }
    const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
    if (bytes.length < LEAST_BYTES) continue;
    bytes[bytes.length >> 1] ^= 0xff;
    const writable = await handle.createWritable();
    await writable.write(bytes);
    await writable.close();
    count++;
  }
  return count;
}
