/**
 * @file Pieces in the origin-private file system (https://fs.spec.whatwg.org): one folder an entry, one file a piece. A
 * file is written beside its place and put there when it is closed; Safari before 26 writes in place, and in workers only.
 */
import type {PieceStore} from './piece-store.js';

const FOLDER = 'tfjs-sparsify-models';

/** What workers have beyond the types of a page. */
interface SyncFileHandle extends FileSystemFileHandle {
  createSyncAccessHandle(): Promise<{
    truncate(size: number): void;
    write(bytes: Uint8Array, at: {readonly at: number}): number;
    flush(): void;
    close(): void;
  }>;
}

export class OpfsStore implements PieceStore {
  readonly kind = 'opfs';

  private constructor(private readonly root: FileSystemDirectoryHandle) {}

  /** The file system of this origin; null where the browser has none that can be written, as in private windows. */
  static async open(): Promise<OpfsStore | null> {
    try {
      const origin = await navigator.storage.getDirectory();
      const root = await origin.getDirectoryHandle(FOLDER, {create: true});
      const probe = await root.getFileHandle('.probe', {create: true});
      const isWritable = 'createWritable' in probe || 'createSyncAccessHandle' in probe;
      return isWritable ? new OpfsStore(root) : null;
    } catch {
      return null;
    }
  }

  async entries(): Promise<readonly string[]> {
    const names: string[] = [];
    for await (const [name, {kind}] of this.root.entries()) if (kind === 'directory') names.push(name);
    return names;
  }

  async names(entry: string): Promise<readonly string[]> {
    const folder = await found(this.root.getDirectoryHandle(entry));
    if (folder === null) return [];
    const names: string[] = [];
    for await (const name of folder.keys()) names.push(name);
    return names;
  }

  async read(entry: string, name: string): Promise<Uint8Array<ArrayBuffer> | null> {
    const folder = await found(this.root.getDirectoryHandle(entry));
    const handle = folder === null ? null : await found(folder.getFileHandle(name));
    const file = handle === null ? null : await found(handle.getFile());
    const bytes = file === null ? null : await found(file.arrayBuffer());
    return bytes === null ? null : new Uint8Array(bytes);
  }

  async write(entry: string, name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const folder = await this.root.getDirectoryHandle(entry, {create: true});
    const handle = await folder.getFileHandle(name, {create: true});
    if ('createWritable' in handle) {
      const file = await handle.createWritable();
      try {
        await file.write(bytes);
        await file.close();
      } catch (cause) {
        await file.abort().catch(() => undefined); // it is closed already
        throw cause;
      }
      return;
    }
    const file = await (handle as SyncFileHandle).createSyncAccessHandle();
    try {
      file.truncate(0);
      if (file.write(bytes, {at: 0}) < bytes.byteLength) {
        throw new DOMException('the browser gives no more space', 'QuotaExceededError');
      }
      file.flush();
    } finally {
      file.close();
    }
  }

  async remove(entry: string, name?: string): Promise<void> {
    if (name === undefined) {
      await found(this.root.removeEntry(entry, {recursive: true}));
      return;
    }
    const folder = await found(this.root.getDirectoryHandle(entry));
    if (folder !== null) await found(folder.removeEntry(name));
  }

  freeBytes(): Promise<number | null> {
    return freeStorage();
  }
}

/** What the browser still gives this origin. */
export async function freeStorage(): Promise<number | null> {
  const {quota, usage} = await navigator.storage.estimate();
  return quota === undefined || usage === undefined ? null : Math.max(0, quota - usage);
}

/** Null for what is not there, or was deleted by another tab meanwhile. */
async function found<T>(step: Promise<T>): Promise<T | null> {
  try {
    return await step;
  } catch (cause) {
    if (
      cause instanceof DOMException &&
      (cause.name === 'NotFoundError' || cause.name === 'NotReadableError')
    ) {
      return null;
    }
    throw cause;
  }
}
