/** @file What of language models is kept in this browser, and a button that deletes it. */
import {deleteCachedModel, listCachedModels} from 'tfjs-sparsify/language';
import {element} from '../shell/elements.js';
import type {Attempt} from '../shell/failure.js';
import {bytesInWords} from '../shell/words.js';

/** Connects the button. Gives what shows the present state. */
export function keptModels(attempt: Attempt): () => Promise<void> {
  const place = element('kept', HTMLElement);
  const show = async () => {
    const models = await listCachedModels();
    const bytes = models.reduce((sum, model) => sum + model.bytes, 0);
    place.hidden = bytes === 0;
    element('kept-bytes', HTMLElement).textContent =
      `${bytesInWords(bytes)} of language models are kept in this browser.`;
  };
  element('delete-kept', HTMLButtonElement).addEventListener('click', () => {
    void attempt(async () => {
      await deleteCachedModel();
      await show();
    });
  });
  return show;
}
