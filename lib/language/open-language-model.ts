/**
 * @file A language model from an address or from files that a page was given, in the calling thread, without a module of
 * Node. What it takes is said, and held against what the device has, before its weights are downloaded; they are stored
 * for the next time, and read one at a time.
 */
import * as tf from '@tensorflow/tfjs';
import type {io} from '@tensorflow/tfjs';
import {FileError} from '../errors.js';
import {
  readStoredModel,
  removeStoredModel,
  writeStoredModel,
  type StoredModelPlace,
} from '../io/model/stored-model.js';
import {streamedModel, type StoreTensor} from '../io/model/streamed-model.js';
import {deviceStore} from '../io/web/device-store.js';
import {
  modelOf,
  plainAddress,
  type DownloadProgress,
  type ModelDownloadOptions,
} from '../io/web/model-download.js';
import type {PieceStore} from '../io/web/piece-store.js';
import {registeredWasmDecoding} from '../kernels/register-wasm-kernels.js';
import {forgetVariables} from '../model/training-state.js';
import {
  CALLBACK,
  FLAG,
  OBJECT,
  POSITIVE,
  SIGNAL,
  checkOptions,
  count,
  nested,
  optional,
  type OptionRules,
} from '../option-rules.js';
import {sizeOf} from '../tensor-values.js';
import {makeUnfilledTensor, withWeightsStartingAs, type Initializer} from '../tfjs.js';
import {attachMetadata, savedConfig} from './config/saved-metadata.js';
import {NATIVE_DECODER_RULES, type NativeDecoderOptions} from './decoding/native-decoder.js';
import {buildModel} from './graph/build-model.js';
import {registerLlamaLayers} from './graph/layers/register-llama-layers.js';
import {openSource, type LanguageModelSource, type OpenedSource} from './import/opened-source.js';
import {LanguageModel} from './language-model.js';
import {
  checkFits,
  deviceMemory,
  int8Bytes,
  memoryNeed,
  needOf,
  type MemoryNeed,
  type SmallerForm,
} from './memory-need.js';
import type {Checkpoint} from './weights/checkpoint.js';
import {
  PackedWeights,
  WEIGHTS_AS_READ_RULES,
  keptFormats,
  checkOneFormat,
  planAsRead,
  type WeightsAsRead,
} from './weights/packed-weights.js';
import {checkedPlan, loadPlanned, type WeightsProgress} from './weights/load-weights.js';

/** What weights start as: none of a language model's layers reads one before it has values. */
const UNFILLED: Initializer = {apply: makeUnfilledTensor};

/** Numbers of a weight that the decoder takes over at once. */
const LARGE_WEIGHT = 2 ** 16;

/** Of what is stored in the place of a download: another release may make other weights of it. */
const STORED_VERSION = 1;

/** How far opening a model is. */
export type OpenProgress =
  /** Once, before the weights are downloaded: what the model takes, and what the device may give. */
  | ({readonly stage: 'memory'; readonly limitBytes: number} & MemoryNeed)
  | ({readonly stage: 'download'} & DownloadProgress)
  | ({readonly stage: 'weights'} & WeightsProgress);

/** With `compress`, what was made of a download is stored in its place, so that the next load is fast. */
export interface OpenLanguageModelOptions
  extends WeightsAsRead, Pick<ModelDownloadOptions, 'refresh' | 'onNotice' | 'signal' | 'silenceMs'> {
  /** Of the file, if the source is the address of a `.gguf`: 64 hexadecimal digits. */
  readonly sha256?: string;
  /** Where files are stored: by default `deviceStore()`. */
  readonly store?: PieceStore;
  /** Bytes that the model may take; by default `deviceMemory()`. */
  readonly memoryLimit?: number;
  /** Tokens that the cache is counted for when the memory is. */
  readonly contextLength?: number;
  /** How weights and cache are stored while decoding; float32 by default. */
  readonly decoder?: NativeDecoderOptions;
  readonly onProgress?: (progress: OpenProgress) => void;
}

const RULES: OptionRules<OpenLanguageModelOptions> = {
  ...WEIGHTS_AS_READ_RULES,
  sha256: optional('64 hexadecimal digits', (value) => /^[0-9a-f]{64}$/.test(String(value))),
  store: OBJECT,
  memoryLimit: POSITIVE,
  contextLength: count(),
  decoder: nested(NATIVE_DECODER_RULES),
  refresh: FLAG,
  silenceMs: POSITIVE,
  onProgress: CALLBACK,
  onNotice: CALLBACK,
  signal: SIGNAL,
};

/**
 * Opens a language model. Where no backend of TensorFlow.js is in use yet, its own choice is taken.
 *
 * @param source An http or https address: of a `.gguf` file, of a folder or `model.json` that was saved, or of a Hugging
 *   Face folder (`https://huggingface.co/OWNER/NAME/resolve/main/`); a `.gguf` `File`; or the `File`s of a folder.
 * @returns The model, owned by the caller.
 * @throws {SparsifyError} `unsupported-option` for both `weights` and `compress`.
 * @throws {ModelError} `too-large-for-device` with what would fit, before weights are downloaded; `not-a-language-model`; as
 *   `loadWeights` and `compressWeights`.
 * @throws {FileError} `storage-full`, `checksum-mismatch`, `changed`, `unreachable`, `server-busy`, `http-status`,
 *   `missing-file` …: what is wrong and what to do; what was downloaded is gone on with the next time.
 * @throws The signal's reason if it is aborted.
 * @example
 * const lm = await openLanguageModel('/models/SmolLM2-135M-Instruct.Q8_0.gguf', {
 *   compress: 'int8_asym',
 *   onProgress: (progress) => progress.stage === 'download' && show(progress.receivedBytes, progress.totalBytes),
 * });
 */
export async function openLanguageModel(
  source: LanguageModelSource,
  options: OpenLanguageModelOptions = {},
): Promise<LanguageModel> {
  checkOptions('openLanguageModel', options, RULES);
  checkOneFormat(options);
  const {onProgress, onNotice, refresh, signal, silenceMs, sha256, decoder} = options;
  signal?.throwIfAborted();
  if (!tf.engine().backendName) await tf.ready();
  registerLlamaLayers();
  const store = options.store ?? (await deviceStore());
  const place = placeOf(source, store, options);
  const stored = place === null ? null : await openStored(place, options);
  if (stored !== null) return stored;
  const opened = await openSource(source, {
    ...{store, sha256, refresh, onNotice, signal, silenceMs},
    onProgress: (progress) => onProgress?.({stage: 'download', ...progress}),
  });
  try {
    checkMemory(opened, options);
    await opened.complete();
    const {content} = opened;
    const {model, isMade} = await ('saved' in content
      ? loadSaved(content.saved, options)
      : load(content.checkpoint, options));
    try {
      if (isMade && place !== null) await keepMade(model, place, opened, options);
      return new LanguageModel(model, {decoder});
    } catch (error) {
      model.dispose();
      throw error;
    }
  } finally {
    await opened.close();
  }
}

/** Whether all weights are packed anew; a file's own 4 bits are not. */
function isCompressed({compress, weights}: WeightsAsRead): boolean {
  return compress !== undefined || weights === 'int8';
}

/** Where the model is stored as it is made of the download; null where it is not. */
function placeOf(
  source: LanguageModelSource,
  store: PieceStore,
  options: OpenLanguageModelOptions,
): StoredModelPlace | null {
  const {compress = 'int8_asym', compressIgnoredScope = null, compressOptions} = options;
  const isAddress = typeof source === 'string' || source instanceof URL;
  if (!isAddress || !isCompressed(options) || store.kind === 'memory') return null;
  const {url} = plainAddress(String(source));
  const how = JSON.stringify({
    version: STORED_VERSION,
    compress,
    ignored: compressIgnoredScope,
    compressOptions,
  });
  return {store, id: `${url}#${how}`, model: modelOf(url)};
}

/** The model as it was made of the download before; null if it has to be made. */
async function openStored(
  place: StoredModelPlace,
  options: OpenLanguageModelOptions,
): Promise<LanguageModel | null> {
  const {refresh = false, sha256, onProgress, onNotice, decoder} = options;
  const stored = refresh ? null : await readStoredModel(place);
  if (stored === null || (sha256 !== undefined && stored.sha256 !== sha256)) return null;
  const {source, bytes} = stored;
  checkMemory({name: source.name, content: {saved: source}}, options);
  onProgress?.({
    ...{stage: 'download', file: source.name},
    ...{receivedBytes: bytes, cachedBytes: bytes, totalBytes: bytes},
  });
  try {
    const {model} = await loadSaved(source, options);
    return new LanguageModel(model, {decoder});
  } catch (error) {
    if (!(error instanceof FileError && error.code === 'damaged-cache')) throw error;
    onNotice?.(`${error.message.replace(/: load it again$/, '')}: it is made anew`);
    await removeStoredModel(place);
    return null;
  }
}

/** Stores the model as it was made of the download, in its place. */
async function keepMade(
  model: tf.LayersModel,
  place: StoredModelPlace,
  opened: OpenedSource,
  {sha256, signal, onNotice}: OpenLanguageModelOptions,
): Promise<void> {
  if (await writeStoredModel(place, model, sha256 ?? null, signal)) await opened.forget();
  else
    onNotice?.(
      `the storage has no room for ${place.model} compressed: the next load makes it of the download again`,
    );
}

/** Says what the model takes, and refuses it if that is too much. */
function checkMemory(
  {name, content}: Pick<OpenedSource, 'name' | 'content'>,
  options: OpenLanguageModelOptions,
): void {
  const {weights, contextLength, memoryLimit = deviceMemory(), onProgress} = options;
  const takes = (isInt8: boolean, isKept = false) =>
    'saved' in content
      ? savedNeed(content.saved.json, isInt8, contextLength)
      : memoryNeed(content.checkpoint.config, {
          compress: isInt8,
          contextLength,
          ...(isKept ? {formats: keptFormats(content.checkpoint)} : {}),
        });
  const isKept = !isCompressed(options) && weights !== 'float32';
  const need = takes(isCompressed(options), isKept);
  onProgress?.({stage: 'memory', limitBytes: memoryLimit, ...need});
  const others: SmallerForm[] = [
    {label: 'with the 4 bits of the file', option: "weights: 'keep'", need: takes(false, true)},
    {label: 'as INT8', option: "compress: 'int8_asym'", need: takes(true)},
  ];
  checkFits(
    name,
    need,
    memoryLimit,
    others.filter((other) => other.need.totalBytes < need.totalBytes),
  );
}

/** @throws {ModelError} `not-a-language-model`. */
function savedNeed(json: io.ModelJSON, isInt8: boolean, contextLength: number | undefined): MemoryNeed {
  const config = savedConfig(json.userDefinedMetadata);
  let weightBytes = 0;
  let loadingBytes = 0;
  for (const {shape, dtype} of json.weightsManifest.flatMap(({weights}) => weights)) {
    const full = sizeOf(shape) * (dtype === 'bool' ? 1 : 4);
    const kept = isInt8 && dtype === 'float32' ? int8Bytes([...shape].reverse()) : full;
    weightBytes += kept;
    loadingBytes = Math.max(loadingBytes, kept === full ? 0 : full);
  }
  return needOf(config, weightBytes, loadingBytes, contextLength);
}

interface LoadedModel {
  readonly model: tf.LayersModel;
  /** Whether weights are others than those of the source. */
  readonly isMade: boolean;
}

async function load(checkpoint: Checkpoint, options: OpenLanguageModelOptions): Promise<LoadedModel> {
  const {signal, onProgress} = options;
  const plan = checkedPlan(checkpoint);
  const model = withWeightsStartingAs(
    UNFILLED,
    () => undefined,
    () => buildModel(checkpoint.config),
  );
  try {
    const progress = {
      signal,
      onProgress: (done: WeightsProgress) => onProgress?.({stage: 'weights', ...done}),
    };
    const weights = new PackedWeights(model, planAsRead(model, options, checkpoint));
    await loadPlanned(model, checkpoint, plan, progress, weights);
    attachMetadata(model, checkpoint);
    return {model, isMade: isCompressed(options)};
  } catch (error) {
    model.dispose();
    throw error;
  }
}

async function loadSaved(
  saved: Parameters<typeof streamedModel>[0],
  options: OpenLanguageModelOptions,
): Promise<LoadedModel> {
  const {decoder, signal, onProgress} = options;
  const specs = saved.json.weightsManifest.flatMap(({weights}) => weights);
  const total = specs.reduce((sum, {shape}) => sum + sizeOf(shape), 0);
  let done = 0;
  let weights: PackedWeights | null = null;
  // A decoder of others than these makes its own of all of them.
  const taking =
    decoder?.weights === undefined || decoder.weights === 'float32' ? registeredWasmDecoding() : undefined;
  const storeIn = (unfilled: tf.LayersModel): StoreTensor => {
    if (isCompressed(options)) weights = new PackedWeights(unfilled, planAsRead(unfilled, options, null));
    return async (variable, tensor) => {
      signal?.throwIfAborted();
      const {originalName, shape} = variable;
      if (weights !== null) await weights.storeTensor(variable, tensor);
      else {
        variable.write(tensor);
        tensor.dispose();
        if (tensor.size >= LARGE_WEIGHT) taking?.adopt(variable.read(), 4 * total);
      }
      done += sizeOf(shape as number[]);
      onProgress?.({stage: 'weights', tensor: originalName, done, total});
    };
  };
  const model = await streamedModel(saved, storeIn, UNFILLED);
  const replaced = (weights as PackedWeights | null)?.replaced ?? new Set();
  forgetVariables(model, replaced);
  return {model, isMade: replaced.size > 0};
}
