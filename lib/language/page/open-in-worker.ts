/** @file Loading a language model where a page asks for it: also what `save` has put into the browser. */
import * as tf from '@tensorflow/tfjs';
import {registerLayers} from '../../layers/registry.js';
import {registerLlamaLayers} from '../graph/layers/register-llama-layers.js';
import {LanguageModel} from '../language-model.js';
import {openLanguageModel} from '../open-language-model.js';
import type {OpenInPageOptions, PageModelSource} from './messages.js';
import {readFromBrowser} from './saved-files.js';

/** What the browser keeps, and its name. */
const KEPT = /^(opfs|indexeddb):\/\/(.*)$/s;

/** @throws As `openLanguageModel`; {FileError} `missing-file` for a model that `save` has not put there. */
export async function openInWorker(
  source: PageModelSource,
  options: OpenInPageOptions,
): Promise<LanguageModel> {
  registerLayers();
  const [, scheme, name] = (typeof source === 'string' && KEPT.exec(source)) || [];
  if (scheme === 'opfs') return openLanguageModel(await readFromBrowser(name), options);
  if (scheme === undefined) return openLanguageModel(source, options);
  registerLlamaLayers();
  const model = await tf.loadLayersModel(`indexeddb://${name}`);
  try {
    return new LanguageModel(model, {decoder: options.decoder});
  } catch (error) {
    model.dispose();
    throw error;
  }
}
