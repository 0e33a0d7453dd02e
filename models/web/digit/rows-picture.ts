/** @file A picture of the rows that the layers read: one square an input, drawn in the colours of the theme. */
import {make} from '../shell/elements.js';
import {SIDE} from './digit-image.js';
import type {RowsRead} from './rows-read.js';

/** Pixels of a square. */
const CELL = 8;
/** Columns of a layer whose inputs are no image. */
const COLUMNS = 32;

/** Draws the layers, again whenever the theme changes. */
export class RowsPicture {
  private layers: readonly RowsRead[] = [];

  constructor(private readonly place: HTMLElement) {
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw(this.layers));
  }

  draw(layers: readonly RowsRead[]): void {
    this.layers = layers;
    while (this.place.children.length < layers.length) this.place.append(emptyFigure());
    const style = getComputedStyle(this.place);
    const colours = ['--skipped', '--sparse'].map((name) => style.getPropertyValue(name).trim());
    for (const [i, layer] of layers.entries()) drawLayer(this.place.children[i], layer, colours);
  }
}

function emptyFigure(): HTMLElement {
  const figure = make('figure');
  const canvas = make('canvas');
  canvas.setAttribute('role', 'img');
  figure.append(canvas, make('figcaption'));
  return figure;
}

function drawLayer(figure: Element, {layer, read}: RowsRead, colours: readonly string[]): void {
  const [canvas, caption] = figure.children as unknown as [HTMLCanvasElement, HTMLElement];
  const columns = read.length === SIDE * SIDE ? SIDE : COLUMNS;
  const [width, height] = [columns * CELL, Math.ceil(read.length / columns) * CELL];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
  const context = canvas.getContext('2d')!;
  context.clearRect(0, 0, width, height);
  for (const [row, isRead] of read.entries()) {
    context.fillStyle = colours[isRead];
    context.fillRect((row % columns) * CELL, Math.floor(row / columns) * CELL, CELL - 1, CELL - 1);
  }
  const kept = read.reduce((sum, isRead) => sum + isRead, 0);
  const text = `${layer}: ${kept} of ${read.length} rows read`;
  canvas.setAttribute('aria-label', text);
  caption.textContent = text;
}
