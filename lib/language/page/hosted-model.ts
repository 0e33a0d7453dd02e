/** @file The language model in the worker, and what each call of the page does with it. */
import * as tf from '@tensorflow/tfjs';
import {compressWeights, inspectWeights} from '../../compress.js';
import {ModelError, SparsifyError} from '../../errors.js';
import {registeredWasmDecoding} from '../../kernels/register-wasm-kernels.js';
import {inspect} from '../../model/inspect.js';
import {checkOptions, SIGNAL, type OptionRules} from '../../option-rules.js';
import {retarget} from '../../sparsify.js';
import {allocateLanguageModel} from '../allocate-language-model.js';
import {bytesPerToken} from '../evaluation/bytes-per-token.js';
import type {LanguageModel} from '../language-model.js';
import {sparsifyLanguageModel} from '../sparsify-language-model.js';
import type {LlamaTokenizer} from '../tokenizer/tokenizer.js';
import type {Handlers} from './answer-calls.js';
import type {AbortOptions, OpenInPageOptions, PageBackend, PageModelSource, WorkerStart} from './messages.js';
import {savedFiles, writeToBrowser} from './saved-files.js';
import {Turns} from './turns.js';

const SAVE_RULES: OptionRules<AbortOptions> = {signal: SIGNAL};

/** What differs between a browser and the specs in Node. */
export interface Surroundings {
  /** Chooses what computes; called once. */
  readonly startBackend: (options: Pick<WorkerStart, 'threads'>) => Promise<PageBackend>;
  readonly open: (source: PageModelSource, options: OpenInPageOptions) => Promise<LanguageModel>;
}

/** What answers a page's calls, with one model. */
export function hostLanguageModel({startBackend, open}: Surroundings): Handlers {
  const turns = new Turns();
  let loaded: LanguageModel | null = null;

  const model = (): LanguageModel => {
    if (loaded !== null) return loaded;
    throw new SparsifyError('not-loaded', 'the worker has no model yet: call loadLanguageModel first');
  };
  const tokenizer = (what: string): LlamaTokenizer => {
    const {tokenizer} = model();
    if (tokenizer !== null) return tokenizer;
    throw new SparsifyError(
      'no-tokenizer',
      `${what} needs a tokenizer, and the checkpoint had none: give token ids, or load a folder with tokenizer.json`,
    );
  };
  const reading = <T>(work: (lm: LanguageModel) => T | Promise<T>) => turns.shared(() => work(model()));
  const changing = <T>(work: (lm: LanguageModel) => T | Promise<T>) => turns.alone(() => work(model()));

  return {
    load: (source, {threads, ...options}) =>
      turns.alone(async () => {
        if (loaded !== null) {
          throw new ModelError(
            'already-loaded',
            'the worker holds a model already: each has a worker of its own',
          );
        }
        const backend = await startBackend({threads});
        const lm = await withoutSecondCopy(() => open(source, options));
        loaded = lm;
        return {config: lm.config, hasTokenizer: lm.tokenizer !== null, backend};
      }),
    generate: (prompt, options) => reading((lm) => lm.generate(prompt, options)),
    score: (ids) => reading((lm) => lm.score(ids)),
    perplexity: (text, options) => reading((lm) => lm.perplexity(text, options)),
    encode: (text, options) => tokenizer('encoding of text').encode(text, options),
    decode: (ids, options) => tokenizer('decoding of ids').decode(ids, options),
    encodePrompt: (prompt) => model().encodePrompt(prompt),
    sparsify: (text, options) => changing((lm) => sparsifyLanguageModel(lm, text, options)),
    allocate: (text, options) => reading((lm) => allocateLanguageModel(lm, text, options)),
    // Between two tokens: a generation that runs goes on with the new thresholds.
    retarget: (scopes, options) => reading((lm) => retarget(lm.model, scopes, options)),
    compress: (options) =>
      changing(async (lm) => {
        await compressWeights(lm.model, {...options, inPlace: true});
        return inspectWeights(lm.model);
      }),
    inspect: () => reading((lm) => inspect(lm.model)),
    inspectWeights: () => reading((lm) => inspectWeights(lm.model)),
    bytesPerToken: () => reading((lm) => bytesPerToken(lm.model, lm.config, lm.sparsity())),
    sparsity: () => reading((lm) => lm.sparsity()),
    memory: () => {
      const {numBytes, numTensors} = tf.memory();
      return {
        ...{tensorBytes: numBytes, tensors: numTensors},
        ...{decoderBytes: registeredWasmDecoding()?.memoryBytes ?? 0, backendBytes: backendBytes()},
      };
    },
    save: (target, options) =>
      reading(async (lm) => {
        checkOptions('save', options, SAVE_RULES);
        const name = /^opfs:\/\/(.*)$/s.exec(target)?.[1];
        if (name !== undefined) await writeToBrowser(lm.model, name, options.signal);
        else {
          await lm.save(target, options);
          if (target.startsWith('indexeddb://')) await indexedDbWritten();
        }
        return null;
      }),
    files: (options) =>
      reading(async (lm) => {
        checkOptions('files', options, SAVE_RULES);
        const files: File[] = [];
        for await (const file of savedFiles(lm.model, options.signal)) files.push(file);
        return files;
      }),
  };
}

/**
 * Opens a model for the decoder in WebAssembly, whose memory takes the weights over. Backend wasm would take them before, into
 * memory that it never gives back: so backend cpu has them until then, in arrays, one at a time.
 */
async function withoutSecondCopy(open: () => Promise<LanguageModel>): Promise<LanguageModel> {
  const backend = tf.getBackend();
  if (backend !== 'wasm') return open();
  await tf.setBackend('cpu');
  try {
    const lm = await open();
    lm.decoder().dispose();
    return lm;
  } finally {
    await tf.setBackend(backend);
  }
}

/**
 * Ends once what TensorFlow.js has put into the browser's database is written. It says so earlier, and a worker that ends
 * before that loses it.
 */
function indexedDbWritten(): Promise<void> {
  const stores = ['models_store', 'model_info_store'];
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open('tensorflowjs', 1);
    opening.onerror = () =>
      reject(opening.error ?? new Error('the database of the browser cannot be opened'));
    opening.onsuccess = () => {
      const database = opening.result;
      const reading = database.transaction(stores, 'readonly'); // has its turn after all that writes to these
      for (const store of stores) reading.objectStore(store).count();
      reading.oncomplete = () => {
        database.close();
        resolve();
      };
    };
  });
}

function backendBytes(): number {
  const backend = tf.backend() as unknown as {readonly wasm?: {readonly HEAPU8?: Uint8Array}};
  return backend.wasm?.HEAPU8?.byteLength ?? 0;
}
