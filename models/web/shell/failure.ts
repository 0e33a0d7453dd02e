/** @file Where a panel says what went wrong: an alert that is empty and hidden until then. */
import {element} from './elements.js';
import {failureInWords} from './words.js';

/** Runs what a visitor asked for and shows its failure in the panel; an earlier one goes away. */
export type Attempt = (action: () => unknown) => Promise<void>;

/** @param id Of the panel's alert. */
export function attempts(id: string): Attempt {
  const alert = element(id, HTMLElement);
  return async (action) => {
    alert.hidden = true;
    alert.textContent = '';
    try {
      await action();
    } catch (error) {
      alert.textContent = failureInWords(error);
      alert.hidden = false;
      console.error(error);
    }
  };
}
