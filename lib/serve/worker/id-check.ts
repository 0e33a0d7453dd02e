/**
 * @file Ids that a model is asked for and has no embedding of. What becomes of them is the backend's affair otherwise: an
 * error, a row of zeros on a GPU, or the row that is left of 1e38 or NaN once it is cast to 32 bits.
 */
import * as tf from '@tensorflow/tfjs';
import {HEAD_NAME, TiedEmbedding} from '../../language/graph/layers/tied-embedding.js';
import {SparsifyError} from '../../errors.js';
import {walkModel, type PlacedLayer} from '../../model/walk.js';
import {asContainer, stockClass, type DenseLayer, type Layer, type LayerClass} from '../../tfjs.js';

interface EmbeddingLayer extends Layer {
  readonly inputDim: number;
}

const Embedding = stockClass('Embedding', () =>
  tf.layers.embedding({inputDim: 1, outputDim: 1, name: 'stock'}),
) as LayerClass<EmbeddingLayer>;

/**
 * Makes a model refuse ids that its embeddings do not have, wherever they stand in it. Takes the layers' call hooks.
 *
 * @throws From then on, when the model computes: {SparsifyError} `bad-id` with `id`, `layer` and `count`.
 */
export function checkIds(model: tf.LayersModel): void {
  const {layers} = walkModel(asContainer(model));
  for (const {layer, path} of layers) {
    let count: number | undefined;
    if (layer instanceof Embedding) count = layer.inputDim;
    else if (layer instanceof TiedEmbedding) count = headUnits(layers);
    if (count !== undefined) checkCalls(layer, path, count);
  }
}

function headUnits(layers: readonly PlacedLayer[]): number | undefined {
  return (layers.find(({layer}) => layer.name === HEAD_NAME)?.layer as DenseLayer | undefined)?.units;
}

function checkCalls(layer: Layer, path: string, count: number): void {
  layer.setCallHook((inputs) => {
    for (const ids of [inputs].flat()) {
      for (const id of ids.dataSync()) {
        const row = Math.trunc(id); // as the layer casts it
        if (row >= 0 && row < count) continue;
        throw new SparsifyError(
          'bad-id',
          `${id} is no id that "${path}" has an embedding of; it has those of 0 to ${count - 1}`,
          {id, layer: path, count},
        );
      }
    }
  });
}
