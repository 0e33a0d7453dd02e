/** @file Elements of index.html by their id, with their type checked, and new ones. */

/**
 * The element of an id.
 *
 * @throws {Error} if index.html has none, or one of another type.
 */
export function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof type) return found;
  throw new Error(`index.html has no ${type.name} with the id "${id}"`);
}

/** A new element with a class and a text. */
export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  {className = '', text = ''}: {readonly className?: string; readonly text?: string} = {},
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  if (className !== '') made.className = className;
  made.textContent = text;
  return made;
}

/** A slider and the percentage beside it. Gives its value, a share in [0, 1], now and whenever it is moved. */
export function shareSlider(id: string, onShare: (share: number) => void): () => number {
  const input = element(id, HTMLInputElement);
  const output = element(`${id}-value`, HTMLOutputElement);
  const share = () => Number(input.value) / 100;
  const show = () => {
    output.value = `${input.value} %`;
    input.setAttribute('aria-valuetext', `${input.value} percent`);
  };
  input.addEventListener('input', () => {
    show();
    onShare(share());
  });
  show(); // a browser may keep the value of an earlier visit
  return share;
}
