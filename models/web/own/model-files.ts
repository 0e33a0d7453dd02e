/** @file A model of TensorFlow.js from files that a visitor dropped or chose, or from an address. */
import * as tf from '@tensorflow/tfjs';

/**
 * Loads a model from its files.
 *
 * @param files A model.json and the weight files that it names; others are passed over.
 * @returns The model; the caller disposes it.
 * @throws {Error} that says which file is missing, or what the file is instead.
 */
export async function modelFromFiles(files: readonly File[]): Promise<tf.LayersModel> {
  const manifests = files.filter(({name}) => name.toLowerCase().endsWith('.json'));
  if (manifests.length !== 1) {
    const found = manifests.length === 0 ? 'none' : manifests.map(({name}) => name).join(', ');
    throw new Error(`one model.json is needed, there is ${found}: drop it together with its weight files`);
  }
  const [manifest] = manifests;
  const names = weightFiles(await manifest.text(), manifest.name);
  const weights = names.map((name) => files.find((file) => file.name === name));
  const missing = names.filter((_, i) => weights[i] === undefined);
  if (missing.length > 0) {
    throw new Error(
      `${manifest.name} names ${missing.join(', ')}, which is not among the files: drop all of them at once`,
    );
  }
  return tf.loadLayersModel(tf.io.browserFiles([manifest, ...(weights as File[])]));
}

/**
 * Loads a model from an address.
 *
 * @param url Of a model.json; relative to the page, or absolute on a host that the page may ask.
 */
export async function modelFromUrl(url: string): Promise<tf.LayersModel> {
  const {href, origin, host} = new URL(url, document.baseURI);
  try {
    return await tf.loadLayersModel(href);
  } catch (cause) {
    if (origin === location.origin || !(cause instanceof TypeError)) throw cause;
    throw new Error(
      `${host} did not answer, or this page may not ask it: download the model's files and drop them here, or start the ` +
        `page with \`npm run web -- --allow ${origin}\``,
      {cause},
    );
  }
}

/** The names of the weight files that a model.json lists. */
function weightFiles(text: string, name: string): string[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new Error(`${name} is not JSON: was it cut off?`, {cause});
  }
  const {modelTopology, weightsManifest, format} = (json ?? {}) as Partial<tf.io.ModelJSON>;
  if (format === 'graph-model') {
    throw new Error(
      `${name} is a graph model, whose layers are gone: convert the original with \`--output_format tfjs_layers_model\``,
    );
  }
  if (modelTopology === undefined || !Array.isArray(weightsManifest)) {
    throw new Error(
      `${name} is no model of TensorFlow.js: what \`model.save\` writes has a modelTopology and a weightsManifest`,
    );
  }
  return weightsManifest.flatMap(({paths}) => paths);
}
