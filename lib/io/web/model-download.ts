/**
 * @file All files of one model behind a URL: opened as they are needed, downloaded together once it is known what they take,
 * with one count of bytes.
 */
import {FileError} from '../../errors.js';
import type {FileFolder} from '../files/file-folder.js';
import {fileUrl} from '../files/file-url.js';
import {bareUrl, takeCredentials, withoutCredentials, type PlainUrl} from '../files/url-credentials.js';
import {entryName, rememberAbsent} from './cached-entry.js';
import type {PieceStore} from './piece-store.js';
import {WebFile, storageFull, type WebFileOptions} from './web-file.js';

/** How far a download is. */
export interface DownloadProgress {
  /** URL of the file that bytes came of, without its query. */
  readonly file: string;
  /** Of all files together, those that were stored already included. */
  readonly receivedBytes: number;
  /** How many of these were stored already. */
  readonly cachedBytes: number;
  /** Of all files together; null as long as their number is not known. */
  readonly totalBytes: number | null;
}

export interface ModelDownloadOptions extends Pick<
  WebFileOptions,
  'refresh' | 'onNotice' | 'signal' | 'silenceMs' | 'retryMs'
> {
  readonly onProgress?: (progress: DownloadProgress) => void;
}

/** Files that list no folder, of which a Hugging Face checkpoint has some. */
const PROBED = ['config.json', 'model.safetensors', 'model.safetensors.index.json'];

export class ModelDownload {
  /** Without user and password. */
  readonly url: string;
  private readonly authorization: string | null;
  private readonly files = new Map<string, WebFile>();
  /** What the server does not have. */
  private readonly absent = new Set<string>();
  private receivedBytes = 0;
  private cachedBytes = 0;
  private totalBytes: number | null = null;

  /**
   * @param address As `plainAddress`; its query goes with the requests for all files.
   * @throws {FileError} as `plainAddress`.
   */
  constructor(
    address: string,
    private readonly store: PieceStore,
    private readonly options: ModelDownloadOptions,
  ) {
    const {url, authorization} = plainAddress(address);
    this.url = url;
    this.authorization = authorization;
  }

  /**
   * Opens a file of the model.
   *
   * @param url In the model's folder.
   * @param sha256 What it must be.
   * @returns The file; closed by `close` at the latest.
   */
  async open(url: string, sha256: string | null = null): Promise<WebFile> {
    const known = this.files.get(url);
    if (known !== undefined) return known;
    const {refresh, onNotice, signal, silenceMs, retryMs} = this.options;
    try {
      const file = await WebFile.open(url, {
        ...{store: this.store, model: modelOf(this.url), authorization: this.authorization, sha256},
        ...{refresh, onNotice, signal, silenceMs, retryMs},
        onBytes: (count, isFromCache) => this.count(url, count, isFromCache),
      });
      this.files.set(url, file);
      return file;
    } catch (error) {
      if (error instanceof FileError && error.code === 'missing-file') this.absent.add(url);
      throw error;
    }
  }

  /** Downloads a small file at once, and gives it. */
  async fetch(url: string): Promise<WebFile> {
    const file = await this.open(url);
    await file.complete();
    return file;
  }

  /**
   * Downloads all files that are open, after looking whether the storage has room for them.
   *
   * @throws {FileError} `storage-full` before anything is downloaded; as `WebFile.complete`.
   */
  async complete(): Promise<void> {
    const files = [...this.files.values()];
    this.totalBytes = files.reduce((sum, {size}) => sum + size, 0);
    let missing = 0;
    for (const {missingBytes} of files) missing += missingBytes;
    if (missing > 0) this.count(this.url, 0, false); // its size is known, and the first piece may take its time
    const free = await this.store.freeBytes();
    if (free !== null && missing > free) throw storageFull(modelOf(this.url), missing, free);
    for (const file of files) await file.complete();
    // Remembered once the model is whole, so that it can be opened again without its server.
    for (const url of this.absent) await rememberAbsent(this.store, url, modelOf(this.url));
  }

  /** The model's folder: that of its address, as a checkpoint's. */
  folder(): FileFolder {
    const pathOf = (file: string) => bareUrl(fileUrl(file, this.url));
    const open = (file: string) => this.open(fileUrl(file, this.url));
    return {
      name: bareUrl(this.url),
      pathOf,
      list: async () => {
        const there: string[] = [];
        for (const name of PROBED) if (await this.has(name)) there.push(name);
        return there;
      },
      open: async (file) => (/\.(json|jinja)$/.test(file) ? this.fetch(fileUrl(file, this.url)) : open(file)),
    };
  }

  /** Whether the folder of the address has a file; what is found is open then. */
  async has(name: string): Promise<boolean> {
    try {
      await this.open(fileUrl(name, this.url));
      return true;
    } catch (error) {
      if (error instanceof FileError && error.code === 'missing-file') return false;
      throw error;
    }
  }

  private count(url: string, count: number, isFromCache: boolean): void {
    this.receivedBytes += count;
    if (isFromCache) this.cachedBytes += count;
    const {receivedBytes, cachedBytes, totalBytes} = this;
    this.options.onProgress?.({file: bareUrl(url), receivedBytes, cachedBytes, totalBytes});
  }

  /** Deletes what is stored of the files that are open, which cannot be read any more. */
  async forget(): Promise<void> {
    for (const url of [...this.files.keys(), ...this.absent]) await this.store.remove(await entryName(url));
  }

  /** Closes all files. */
  async close(): Promise<void> {
    for (const file of this.files.values()) await file.close();
    this.files.clear();
  }
}

/** What is listed and deleted together: the file, or the folder that a `model.json` lies in. */
export function modelOf(url: string): string {
  return bareUrl(url).replace(/[^/]*\.json$/, '');
}

/**
 * The address of a model without user and password.
 *
 * @param address http or https URL of a `.gguf` file, a `model.json` or a folder; in a page also relative to it.
 * @throws {FileError} `bad-option` for what is no such URL.
 */
export function plainAddress(address: string): PlainUrl {
  const {location} = globalThis as {readonly location?: {readonly href: string}};
  const base = location?.href;
  if (!URL.canParse(address, base) || !/^https?:$/.test(new URL(address, base).protocol)) {
    const name = withoutCredentials(address);
    throw new FileError('bad-option', `${name} is no http or https URL: check it`, {url: name});
  }
  const {url, authorization} = takeCredentials(new URL(address, base).href);
  const plain = new URL(url);
  plain.hash = '';
  if (!/\.(gguf|json)$/i.test(plain.pathname) && !plain.pathname.endsWith('/')) plain.pathname += '/';
  return {url: plain.href, authorization};
}
