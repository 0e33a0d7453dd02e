/** @file The service worker that keeps the page's own files, so that it works without a network after the first visit. */
import {element} from './elements.js';
import {failureInWords} from './words.js';

/** Set once the page was loaded again for the service worker's headers, so that it is not loaded for ever. */
const RELOADED = 'reloaded-for-isolation';

/** Registers the service worker, and says in the foot of the page whether it works offline. */
export async function keepPageFiles(): Promise<void> {
  const status = element('offline', HTMLElement);
  if (!('serviceWorker' in navigator)) {
    status.textContent = 'This browser keeps no pages: a network is needed at every visit.';
    return;
  }
  try {
    await navigator.serviceWorker.register(new URL('service-worker.js', document.baseURI));
    await navigator.serviceWorker.ready;
    status.textContent = 'This page works offline now.';
    isolate();
  } catch (error) {
    status.textContent = `This page does not work offline: ${failureInWords(error)}`;
  }
}

/** On a host that sends no COOP and COEP the service worker adds them: from the next load on there are threads. */
function isolate(): void {
  if (crossOriginIsolated || sessionStorage.getItem(RELOADED) !== null) return;
  sessionStorage.setItem(RELOADED, 'yes');
  location.reload();
}
