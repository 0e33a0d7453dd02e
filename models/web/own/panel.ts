/** @file The panel that sparsifies a visitor's own model: load, inspect, sparsify, measure, download. */
import type * as tf from '@tensorflow/tfjs';
import {
  compressWeights,
  inspect,
  inspectWeights,
  measureLatency,
  registerLayers,
  retarget,
  sparsifyActivations,
} from 'tfjs-sparsify';
import {element, shareSlider} from '../shell/elements.js';
import {attempts} from '../shell/failure.js';
import {bytesInWords, milliseconds, speedInWords} from '../shell/words.js';
import {withData, withSample, type ChosenData} from './data.js';
import {showLayers} from './layers-table.js';
import {modelFromFiles, modelFromUrl} from './model-files.js';

/** Every Dense layer. */
const LAYERS = '.*';
/** What a visitor waits for two models to be timed. */
const TIMING_MS = 1500;
/** A clock may tick only every 0.1 ms: what is timed as one lasts this long at least. */
const TIMED_TOGETHER_MS = 2;

/** Connects the panel's controls. */
export function startOwnPanel(): void {
  registerLayers(); // a model that was sparsified and saved is loaded too
  new OwnPanel().start();
}

class OwnPanel {
  private readonly attempt = attempts('own-error');
  private readonly status = element('own-status', HTMLElement);
  private readonly result = element('own-result', HTMLElement);
  private readonly body = element('own-layers', HTMLElement);
  private readonly buttons = ['own-sparsify', 'own-bench', 'own-download'].map((id) =>
    element(id, HTMLButtonElement),
  );
  private dense: tf.LayersModel | null = null;
  private sparse: tf.LayersModel | null = null;
  private share = () => 0;

  start(): void {
    const drop = element('drop', HTMLElement);
    const files = element('model-files', HTMLInputElement);
    const loadChosen = () => this.load(() => modelFromFiles([...(files.files ?? [])]));
    files.addEventListener('change', loadChosen);
    drop.addEventListener('dragover', (event) => {
      event.preventDefault();
      drop.classList.add('over');
    });
    drop.addEventListener('dragleave', () => drop.classList.remove('over'));
    drop.addEventListener('drop', (event) => {
      event.preventDefault();
      drop.classList.remove('over');
      this.load(() => modelFromFiles([...(event.dataTransfer?.files ?? [])]));
    });
    element('from-url', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      this.load(() => modelFromUrl(element('model-url', HTMLInputElement).value.trim()));
    });
    this.share = shareSlider('own-sparsity', (share) => {
      if (this.sparse !== null) showLayers(this.body, retarget(this.sparse, {[LAYERS]: share}));
    });
    element('sparsify', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      this.busily(() => this.sparsify());
    });
    const [, bench, download] = this.buttons;
    bench.addEventListener('click', () => this.busily(() => this.measure()));
    download.addEventListener('click', () => this.busily(() => this.download()));
    if (files.files?.length) loadChosen(); // before this program was there
  }

  private load(read: () => Promise<tf.LayersModel>): void {
    this.busily(async () => {
      this.status.textContent = 'Loading…';
      const model = await read().catch((error: unknown) => {
        this.status.textContent = '';
        throw error;
      });
      for (const old of [this.sparse, this.dense]) old?.dispose();
      this.sparse = null;
      this.dense = null;
      element('own-ready', HTMLElement).hidden = true;
      this.status.textContent = '';
      this.result.textContent = '';
      const layers = inspect(model);
      this.dense = model;
      showLayers(this.body, layers);
      const bytes = inspectWeights(model).reduce((sum, weight) => sum + weight.bytes, 0);
      element('own-caption', HTMLElement).textContent =
        `${layers.length} Dense layers; ${model.countParams().toLocaleString('en')} weights, ${bytesInWords(bytes)} of them in layers that can be INT8`;
      element('own-ready', HTMLElement).hidden = false;
      this.status.textContent = layers.some(({sparsified}) => sparsified)
        ? 'The model is loaded. It is sparsified already: what is measured as dense is the model as it was loaded.'
        : 'The model is loaded.';
    });
  }

  private async sparsify(): Promise<void> {
    const {dense} = this;
    if (dense === null) return;
    this.result.textContent = 'Finding thresholds…';
    const data = this.data();
    const warnings: string[] = [];
    const made = await withData(dense, data, (source) =>
      sparsifyActivations(dense, source, {
        targetSparsityByScope: {[LAYERS]: this.share()},
        saveStatistics: true,
        onProgress: ({done}) => {
          this.result.textContent = `Finding thresholds: ${done} batches…`;
        },
        onWarning: ({message}) => warnings.push(message),
      }),
    ).catch((error: unknown) => {
      this.result.textContent = '';
      throw error;
    });
    const sparse = element('own-int8', HTMLInputElement).checked ? await compressed(made) : made;
    this.sparse?.dispose();
    this.sparse = sparse;
    showLayers(this.body, inspect(sparse));
    this.result.textContent = [
      data === null
        ? 'Sparsified on random numbers: that shows speed; for accuracy give data like those that the model will see.'
        : `Sparsified on ${data.file.name}.`,
      'The slider changes the thresholds at once.',
      ...warnings,
    ].join('\n');
  }

  private async measure(): Promise<void> {
    const {dense, sparse} = this;
    if (dense === null || sparse === null) return;
    this.result.textContent = 'Measuring…';
    await new Promise((painted) => setTimeout(painted, 50));
    const {times, rounds, together} = await withSample(dense, this.data(), (inputs) =>
      timeInTurns([dense, sparse], inputs),
    );
    const [denseMs, sparseMs] = times;
    this.result.textContent =
      `Dense ${milliseconds(denseMs)}, sparse ${milliseconds(sparseMs)} a sample: medians of ${rounds} turns of ${together}. ` +
      speedInWords(denseMs, sparseMs);
  }

  private async download(): Promise<void> {
    if (this.sparse === null) return;
    await this.sparse.save('downloads://model');
    this.result.textContent =
      'Downloaded: model.json and model.weights.bin. Load them with tf.loadLayersModel, after registerLayers() of tfjs-sparsify.';
  }

  private data(): ChosenData {
    const file = element('data-file', HTMLInputElement).files?.[0];
    if (file === undefined) return null;
    return {file, scale: element('data-scale', HTMLSelectElement).value === '1' ? 1 : 1 / 255};
  }

  /** One thing at a time. */
  private busily(action: () => Promise<void>): void {
    for (const button of this.buttons) button.disabled = true;
    void this.attempt(action).finally(() => {
      const [sparsify, ...others] = this.buttons;
      sparsify.disabled = this.dense === null;
      for (const button of others) button.disabled = this.sparse === null;
    });
  }
}

async function compressed(model: tf.LayersModel): Promise<tf.LayersModel> {
  try {
    return await compressWeights(model);
  } finally {
    model.dispose();
  }
}

async function timeInTurns(models: tf.LayersModel[], inputs: tf.Tensor[]) {
  const first = await measureLatency(models, inputs, {rounds: 3, warmUp: 2});
  const together = Math.max(1, Math.ceil(TIMED_TOGETHER_MS / Math.min(...first)));
  const round = together * first.reduce((sum, ms) => sum + ms, 0);
  const rounds = Math.min(60, Math.max(5, Math.round(TIMING_MS / round)));
  return {times: await measureLatency(models, inputs, {rounds, warmUp: 1, together}), rounds, together};
}
