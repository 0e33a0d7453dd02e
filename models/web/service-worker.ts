/**
 * @file Keeps the page's own files: all of them before the first visit ends, and of one build only. Models of language are
 * not among them, the package keeps those itself. A page that is open is left alone until it is loaded anew: claimed by a
 * new service worker, it loses answers of its own workers in Firefox. It also adds the headers for threads, which static hosts cannot send.
 */

/** As much of a service worker's surroundings as is used here; the types of a page and of a worker exclude each other. */
interface ServiceWorkerScope {
  readonly caches: CacheStorage;
  readonly location: Location;
  addEventListener(type: 'install' | 'activate', listener: (event: LastingEvent) => void): void;
  addEventListener(type: 'fetch', listener: (event: FetchEvent) => void): void;
}
interface LastingEvent {
  waitUntil(work: Promise<unknown>): void;
}
interface FetchEvent {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

/** The build writes them here: addresses relative to this file, and a hash of what they hold. */
const FILES: readonly string[] = JSON.parse('%FILES%') as string[];
const CACHE = 'page-%HASH%';

const worker = self as unknown as ServiceWorkerScope;
const base = new URL('./', worker.location.href);
const known = new Set(FILES.map((file) => new URL(file, base).href));

worker.addEventListener('install', (event) => {
  event.waitUntil(keepAll());
});

worker.addEventListener('activate', (event) => {
  event.waitUntil(removeOthers());
});

worker.addEventListener('fetch', (event) => {
  const {request} = event;
  const url = new URL(request.url);
  url.search = '';
  url.hash = '';
  if (url.href === base.href) url.pathname += 'index.html';
  if (request.method !== 'GET' || !known.has(url.href)) return;
  event.respondWith(answer(url.href));
});

/** All or nothing; past the browser's own cache, which may hold files of an older build. */
async function keepAll(): Promise<void> {
  const cache = await worker.caches.open(CACHE);
  await cache.addAll([...known].map((url) => new Request(url, {cache: 'reload'})));
}

async function removeOthers(): Promise<void> {
  const names = await worker.caches.keys();
  await Promise.all(
    names
      .filter((name) => name.startsWith('page-') && name !== CACHE)
      .map((name) => worker.caches.delete(name)),
  );
}

/** From the cache; from the host where the browser has thrown the cache away. */
async function answer(url: string): Promise<Response> {
  const kept = await (await worker.caches.open(CACHE)).match(url);
  return isolated(kept ?? (await fetch(url)));
}

function isolated(response: Response): Response {
  const headers = new Headers(response.headers);
  headers.set('Cross-Origin-Opener-Policy', 'same-origin');
  headers.set('Cross-Origin-Embedder-Policy', 'require-corp');
  headers.set('Cross-Origin-Resource-Policy', 'same-origin');
  const {status, statusText} = response;
  return new Response(response.body, {status, statusText, headers});
}
