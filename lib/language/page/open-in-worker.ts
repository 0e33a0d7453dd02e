/** @file Loading a language model where a page asks for it, with what only a browser has: models that it keeps itself. */
import * as tf from '@tensorflow/tfjs';
import {registerLayers} from '../../layers/registry.js';
import {registerLlamaLayers} from '../graph/layers/register-llama-layers.js';
import {LanguageModel} from '../language-model.js';
import type {LanguageModelSource, OpenOptions} from './model-source.js';
import {readFromBrowser} from './saved-files.js';

export async function openInWorker(
  source: LanguageModelSource,
  {decoder}: OpenOptions,
): Promise<LanguageModel> {
  registerLayers();
  registerLlamaLayers();
  const name = typeof source === 'string' ? /^opfs:\/\/(.*)$/s.exec(source)?.[1] : undefined;
  const model = await tf.loadLayersModel(
    name !== undefined
      ? tf.io.browserFiles(modelJsonFirst(await readFromBrowser(decodeURIComponent(name))))
      : Array.isArray(source)
        ? tf.io.browserFiles(modelJsonFirst(source as File[]))
        : modelJsonUrl(String(source)),
  );
  try {
    return new LanguageModel(model, {decoder});
  } catch (error) {
    model.dispose();
    throw error;
  }
}

function modelJsonFirst(files: readonly File[]): File[] {
  return [...files].sort((a, b) => Number(b.name.endsWith('.json')) - Number(a.name.endsWith('.json')));
}

function modelJsonUrl(url: string): string {
  if (!/^https?:/i.test(url) || /\.json$/i.test(new URL(url).pathname)) return url;
  return `${url.replace(/\/$/, '')}/model.json`;
}
