/**
 * @file Makes a page cross-origin isolated where its host sends no headers, so that it may have threads that share memory. A
 * classic script, copied beside the page as it is, in two roles. In the page it registers itself as a service worker and
 * loads the page anew, once. As the service worker it adds the two headers to documents and workers; all other requests,
 * downloads of models above all, go their own way.
 *
 * <script src="cross-origin-isolation.js"></script>, before other scripts, from the folder of the page or one above.
 */
(() => {
  const HEADERS = {
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Embedder-Policy': 'require-corp',
  };
  /** What the headers are for. */
  const DESTINATIONS = ['document', 'iframe', 'worker', 'sharedworker'];

  /** A browser that does not isolate the page in spite of the headers must not load it for ever. */
  const TRIED = 'tfjs-sparsify: loaded anew to be isolated';

  if (typeof document === 'undefined') serve();
  else if (globalThis.crossOriginIsolated === false) isolate(document.currentScript.src);
  else sessionStorage.removeItem(TRIED);

  function serve() {
    addEventListener('install', () => skipWaiting());
    addEventListener('fetch', (event) => {
      if (DESTINATIONS.includes(event.request.destination)) event.respondWith(withHeaders(event.request));
    });
  }

  /** @param {Request} request */
  async function withHeaders(request) {
    const response = await fetch(request);
    if (response.status === 0) return response; // a redirect, or of another origin: it cannot be changed
    const headers = new Headers(response.headers);
    for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
    const {status, statusText, body} = response;
    return new Response(body, {status, statusText, headers});
  }

  /** @param {string} script Where this file is. */
  async function isolate(script) {
    if (navigator.serviceWorker === undefined) {
      console.warn(
        'tfjs-sparsify: no threads: the page was not loaded over https, or this window is private',
      );
      return;
    }
    await navigator.serviceWorker.register(script);
    await navigator.serviceWorker.ready;
    if (sessionStorage.getItem(TRIED) === location.href) return;
    sessionStorage.setItem(TRIED, location.href);
    location.reload();
  }
})();
