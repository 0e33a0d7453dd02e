/** @file Loading a language model, with what it takes, its progress in bytes, and a button that ends it. */
import {
  loadLanguageModel,
  type LanguageModelSource,
  type OpenProgress,
  type PageLanguageModel,
} from 'tfjs-sparsify/language';
import {element} from '../shell/elements.js';
import {bytesInWords, percent} from '../shell/words.js';

/**
 * Loads a model; the panel's progress bar shows how far it is. A model of float32 becomes INT8 while it is read.
 *
 * @throws {DOMException} `AbortError` after the button; what the package says of the model.
 */
export async function loadWithProgress(source: LanguageModelSource): Promise<PageLanguageModel> {
  const place = element('chat-loading', HTMLElement);
  const cancel = element('cancel-chat', HTMLButtonElement);
  const notice = element('chat-notice', HTMLElement);
  const abort = new AbortController();
  const stop = () => abort.abort();
  cancel.addEventListener('click', stop);
  element('chat-progress', HTMLProgressElement).removeAttribute('value');
  element('chat-progress-text', HTMLElement).textContent = 'Starting…';
  notice.textContent = '';
  place.hidden = false;
  try {
    return await loadLanguageModel(source, {
      compress: 'int8_asym',
      signal: abort.signal,
      onProgress: showProgress,
      onNotice: (text) => {
        notice.textContent = text;
      },
    });
  } finally {
    cancel.removeEventListener('click', stop);
    place.hidden = true;
    element('chat-memory', HTMLElement).textContent = '';
  }
}

function showProgress(progress: OpenProgress): void {
  const bar = element('chat-progress', HTMLProgressElement);
  const text = element('chat-progress-text', HTMLElement);
  switch (progress.stage) {
    case 'memory':
      element('chat-memory', HTMLElement).textContent =
        `It takes ${bytesInWords(progress.totalBytes)} of memory: ${bytesInWords(progress.weightBytes)} of weights, ` +
        `${bytesInWords(progress.cacheBytes)} for a conversation; this device may give ${bytesInWords(progress.limitBytes)}.`;
      break;
    case 'download': {
      const {receivedBytes, cachedBytes, totalBytes} = progress;
      if (totalBytes !== null) bar.value = receivedBytes / totalBytes;
      text.textContent =
        `${bytesInWords(receivedBytes)}${totalBytes === null ? '' : ` of ${bytesInWords(totalBytes)}`}` +
        (cachedBytes > 0 ? `, ${bytesInWords(cachedBytes)} of them kept from an earlier visit` : '');
      break;
    }
    case 'weights':
      bar.value = progress.done / progress.total;
      text.textContent = `Reading weights: ${percent(progress.done / progress.total)}`;
      break;
  }
}
