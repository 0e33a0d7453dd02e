/** @file The canvas that a digit is drawn on, with a pointer of any kind. */
import {SIDE, digitImage} from './digit-image.js';

/** Of the pen, as a share of the canvas. */
const PEN_WIDTH = 0.075;

/** A drawing area. */
export class Drawing {
  private readonly context: CanvasRenderingContext2D;
  private pointer: number | null = null;

  /** @param onStroke Called while a visitor draws. */
  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly onStroke: () => void,
  ) {
    const context = canvas.getContext('2d', {willReadFrequently: true});
    if (context === null) throw new Error('this browser gives no canvas to draw on: pick a test image');
    this.context = context;
    this.clear();
    canvas.addEventListener('pointerdown', (event) => this.begin(event));
    canvas.addEventListener('pointermove', (event) => this.go(event));
    for (const end of ['pointerup', 'pointercancel'] as const) {
      canvas.addEventListener(end, () => {
        this.pointer = null;
      });
    }
  }

  /** What was drawn, [784]; null if nothing was. */
  image(): Float32Array | null {
    const {width, height} = this.canvas;
    const {data} = this.context.getImageData(0, 0, width, height);
    const ink = Float32Array.from({length: width * height}, (_, pixel) => 1 - data[4 * pixel] / 255);
    return digitImage(ink, width);
  }

  clear(): void {
    this.context.fillStyle = '#fff';
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Shows an image [784] of the model's own form. */
  show(image: Float32Array): void {
    const {width} = this.canvas;
    const cell = width / SIDE;
    for (const [pixel, value] of image.entries()) {
      const shade = Math.round(255 * (1 - value));
      this.context.fillStyle = `rgb(${shade} ${shade} ${shade})`;
      this.context.fillRect((pixel % SIDE) * cell, Math.floor(pixel / SIDE) * cell, cell, cell);
    }
  }

  private begin(event: PointerEvent): void {
    if (this.pointer !== null) return; // a second finger
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    const {context} = this;
    context.strokeStyle = '#000';
    context.lineWidth = PEN_WIDTH * this.canvas.width;
    context.lineCap = 'round';
    context.lineJoin = 'round';
    context.beginPath();
    context.moveTo(...this.place(event));
    this.go(event);
  }

  private go(event: PointerEvent): void {
    if (event.pointerId !== this.pointer) return;
    this.context.lineTo(...this.place(event));
    this.context.stroke();
    this.onStroke();
  }

  private place({clientX, clientY}: PointerEvent): [number, number] {
    const {left, top, width, height} = this.canvas.getBoundingClientRect();
    return [((clientX - left) / width) * this.canvas.width, ((clientY - top) / height) * this.canvas.height];
  }
}
