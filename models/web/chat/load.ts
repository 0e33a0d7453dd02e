/** @file Loading a language model, with its progress in bytes and a button that ends it. */
import {loadLanguageModel, type LanguageModelSource, type PageLanguageModel} from 'tfjs-sparsify/language';
import {element} from '../shell/elements.js';

/**
 * Loads a model; the panel's progress bar shows how far it is.
 *
 * @throws {DOMException} `AbortError` after the button; what the package says of the model.
 */
export async function loadWithProgress(source: LanguageModelSource): Promise<PageLanguageModel> {
  const place = element('chat-loading', HTMLElement);
  const bar = element('chat-progress', HTMLProgressElement);
  const text = element('chat-progress-text', HTMLElement);
  const cancel = element('cancel-chat', HTMLButtonElement);
  const abort = new AbortController();
  const stop = () => abort.abort();
  cancel.addEventListener('click', stop);
  bar.removeAttribute('value');
  text.textContent = 'Starting…';
  place.hidden = false;
  try {
    return await loadLanguageModel(source, {signal: abort.signal});
  } finally {
    cancel.removeEventListener('click', stop);
    place.hidden = true;
  }
}
