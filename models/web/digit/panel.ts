/** @file The panel that reads a digit with one model, dense and sparse. */
import * as tf from '@tensorflow/tfjs';
import {measureLatency, retarget, sparsifyActivations} from 'tfjs-sparsify';
import {element, shareSlider} from '../shell/elements.js';
import {attempts} from '../shell/failure.js';
import {milliseconds, speedInWords} from '../shell/words.js';
import {Drawing} from './drawing.js';
import {Probabilities} from './probabilities.js';
import {RowsPicture} from './rows-picture.js';
import {RowsReader} from './rows-read.js';
import {imagesAt, loadTestImages, type TestImages} from './test-images.js';

const FOLDER = 'models/digits/';
/** All layers of the model. */
const LAYERS = '.*';
/** How long nothing may change before the models are timed. */
const SETTLED_MS = 250;
/** Together they take a tenth of a second, in which the page does nothing else. */
const TIMING = {rounds: 40, warmUp: 4, together: 5};

/** What the panel computes with. */
interface Models {
  readonly dense: tf.LayersModel;
  readonly sparse: tf.LayersModel;
  readonly reader: RowsReader;
  readonly test: TestImages;
}

/** Loads the model, sparsifies it, and reads a first image. */
export async function startDigitPanel(): Promise<void> {
  const attempt = attempts('digit-error');
  await attempt(async () => {
    const models = await loadModels(Number(element('digit-sparsity', HTMLInputElement).value) / 100);
    new DigitPanel(models).start();
  });
}

async function loadModels(sparsity: number): Promise<Models> {
  const dense = await tf.loadLayersModel(`${FOLDER}model.json`);
  const sparse = await sparsifyActivations(dense, await imagesAt(`${FOLDER}calibration-images.npy`), {
    targetSparsityByScope: {[LAYERS]: sparsity},
  });
  return {dense, sparse, reader: new RowsReader(sparse), test: await loadTestImages(FOLDER)};
}

class DigitPanel {
  private readonly answer = element('digit-answer', HTMLElement);
  private readonly latency = element('digit-latency', HTMLElement);
  private readonly shown = element('shown', HTMLElement);
  private readonly number = element('test-image', HTMLInputElement);
  private readonly probabilities = new Probabilities(element('probabilities', HTMLElement));
  private readonly picture = new RowsPicture(element('layers', HTMLElement));
  private readonly drawing: Drawing;
  /** [784]; null for empty paper. */
  private image: Float32Array | null = null;
  private frame: number | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly models: Models) {
    this.drawing = new Drawing(element('drawing', HTMLCanvasElement), () => {
      this.shown.textContent = '';
      this.later(() => this.read(this.drawing.image()));
    });
    this.number.max = String(models.test.images.length);
  }

  start(): void {
    const {sparse, test} = this.models;
    shareSlider('digit-sparsity', (share) => {
      retarget(sparse, {[LAYERS]: share});
      this.later(() => this.read(this.image));
    });
    element('clear', HTMLButtonElement).addEventListener('click', () => {
      this.drawing.clear();
      this.shown.textContent = '';
      this.read(null);
    });
    element('next-image', HTMLButtonElement).addEventListener('click', () => {
      this.pick((Number(this.number.value) % test.images.length) + 1);
    });
    this.number.addEventListener('change', () => {
      const count = test.images.length;
      this.pick(Math.min(Math.max(1, Math.round(Number(this.number.value)) || 1), count));
    });
    this.pick(1);
  }

  /** @param place From 1. */
  private pick(place: number): void {
    const {images, digits} = this.models.test;
    this.number.value = String(place);
    this.shown.textContent = `It shows a ${digits[place - 1]}; the model has never seen it.`;
    this.drawing.show(images[place - 1]);
    this.read(images[place - 1]);
  }

  /** Once a frame, however often a pointer or a slider moves. */
  private later(action: () => void): void {
    if (this.frame !== null) cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      action();
    });
  }

  private read(image: Float32Array | null): void {
    this.image = image;
    clearTimeout(this.timer);
    if (image === null) {
      this.answer.textContent = 'The paper is empty: draw a digit, or pick a test image.';
      this.latency.textContent = '';
      return;
    }
    const {dense, sparse, reader} = this.models;
    const input = tf.tensor2d(image, [1, image.length]);
    const [ofDense, ofSparse] = [dense, sparse].map((model) => probabilitiesOf(model, input));
    this.probabilities.show(ofDense, ofSparse);
    this.picture.draw(reader.rowsRead(input));
    input.dispose();
    const [one, other] = [likeliest(ofDense), likeliest(ofSparse)];
    this.answer.textContent =
      one === other
        ? `Dense and sparse both read a ${one}.`
        : `Dense reads a ${one}, sparse reads a ${other}.`;
    this.timer = setTimeout(() => void this.time(image), SETTLED_MS);
  }

  private async time(image: Float32Array): Promise<void> {
    const {dense, sparse} = this.models;
    const input = tf.tensor2d(image, [1, image.length]);
    const [denseMs, sparseMs] = await measureLatency([dense, sparse], [input], TIMING);
    input.dispose();
    this.latency.textContent =
      `Dense ${milliseconds(denseMs)}, sparse ${milliseconds(sparseMs)}: medians of ${TIMING.rounds} turns ` +
      `of ${TIMING.together} predictions. ${speedInWords(denseMs, sparseMs)}`;
  }
}

function probabilitiesOf(model: tf.LayersModel, input: tf.Tensor): Float32Array {
  return tf.tidy(() => (model.predict(input) as tf.Tensor).dataSync<'float32'>());
}

function likeliest(probabilities: Float32Array): number {
  return probabilities.indexOf(Math.max(...probabilities));
}
