/** @file What a model gives to whoever saves it. */
import * as tf from '@tensorflow/tfjs';

/** The artifacts of a model, as `model.save` hands them to a handler. */
export async function savedArtifacts(model: tf.LayersModel): Promise<tf.io.ModelArtifacts> {
  let saved!: tf.io.ModelArtifacts;
  await model.save(
    tf.io.withSaveHandler((artifacts) => {
      saved = artifacts;
      return Promise.resolve({modelArtifactsInfo: {dateSaved: new Date(0), modelTopologyType: 'JSON'}});
    }),
  );
  return saved;
}
