/** @file The table of a model's Dense layers. */
import type {DenseReport} from 'tfjs-sparsify';
import {make} from '../shell/elements.js';
import {bytesInWords, percent} from '../shell/words.js';

/** Shows what `inspect` or `retarget` reports. */
export function showLayers(body: HTMLElement, layers: readonly DenseReport[]): void {
  body.replaceChildren(
    ...layers.map((layer) => {
      const row = make('tr');
      const name = make('th', {text: layer.path});
      name.scope = 'row';
      row.append(name, ...cellsOf(layer).map((text) => make('td', {text})));
      return row;
    }),
  );
}

function cellsOf({inputSize, units, weightShare, format, bytes, reached, threshold}: DenseReport): string[] {
  return [
    inputSize.toLocaleString('en'),
    units.toLocaleString('en'),
    percent(weightShare, 1),
    format,
    bytesInWords(bytes),
    reached === null ? '-' : percent(reached, 1),
    threshold === null || !Number.isFinite(threshold) ? '-' : threshold.toPrecision(3),
  ];
}
