/** @file The table of the ten probabilities, dense and sparse beside each other. */
import {make} from '../shell/elements.js';
import {percent} from '../shell/words.js';

const DIGITS = 10;

/** A table body with a row a digit. */
export class Probabilities {
  private readonly rows: {readonly dense: HTMLElement; readonly sparse: HTMLElement}[];

  constructor(body: HTMLElement) {
    this.rows = Array.from({length: DIGITS}, (_, digit) => {
      const row = make('tr');
      const name = make('th', {text: String(digit)});
      name.scope = 'row';
      const [dense, sparse] = [make('td', {className: 'dense'}), make('td', {className: 'sparse'})];
      for (const cell of [dense, sparse]) {
        const bar = make('span', {className: 'bar'});
        bar.append(make('i'), make('span'));
        cell.append(bar);
      }
      row.append(name, dense, sparse);
      body.append(row);
      return {dense, sparse};
    });
  }

  /** @param dense, sparse [10] each. */
  show(dense: ArrayLike<number>, sparse: ArrayLike<number>): void {
    for (const [digit, row] of this.rows.entries()) {
      showShare(row.dense, dense[digit]);
      showShare(row.sparse, sparse[digit]);
    }
  }
}

function showShare(cell: HTMLElement, share: number): void {
  cell.querySelector('i')!.style.width = `${100 * share}%`;
  cell.querySelector<HTMLElement>('.bar span')!.textContent = percent(share, 1);
}
