/**
 * @file A saved model as `tf.loadLayersModel` takes it: all weights at once. Costs their memory twice while
 * TensorFlow.js copies them into tensors; `streamed-model.ts` does not.
 */

import {io} from '@tensorflow/tfjs';

import {GroupReader} from './group-reader.js';
import {checkWeightsSize, weightsSize, type WeightsGroup} from './model-json.js';
import type {ModelSource} from './model-source.js';

/** Longest single buffer: a typed array ends at 4 GiB in Node 20. */
const BUFFER_BYTES = 1024 ** 3;
/** A group whose size is not known beforehand comes in buffers of this size. */
const UNKNOWN_BUFFER_BYTES = 16 * 1024 ** 2;

/**
 * Reads a model whole.
 *
 * @param source The model.
 * @returns Its artifacts, the weights' data in buffers of at most 1 GiB.
 * @throws FileError as `GroupReader` and `ModelSource.openShard`.
 */
export function modelArtifacts(source: ModelSource): Promise<io.ModelArtifacts> {
  return io.getModelArtifactsForJSON(source.json, async (manifest) => {
    const weightData: ArrayBuffer[] = [];
    for (const group of manifest) {
      const reader = new GroupReader(source, group);
      try {
        weightData.push(...(await groupBuffers(reader, group, source.name)));
      } finally {
        await reader.close();
      }
    }
    return [manifest.flatMap(({weights}) => weights), weightData];
  });
}

async function groupBuffers(
  reader: GroupReader,
  group: WeightsGroup,
  source: string,
): Promise<ArrayBuffer[]> {
  const {bytes, exact} = weightsSize(group.weights);
  const buffers: ArrayBuffer[] = [];
  if (exact) {
    for (let start = 0; start < bytes; start += BUFFER_BYTES) {
      const buffer = new ArrayBuffer(Math.min(BUFFER_BYTES, bytes - start));
      await reader.fill(new Uint8Array(buffer));
      buffers.push(buffer);
    }
    await reader.end();
    return buffers;
  }
  let found = 0;
  for (;;) {
    const buffer = new ArrayBuffer(UNKNOWN_BUFFER_BYTES);
    const read = await reader.read(new Uint8Array(buffer));
    if (read === 0) break;
    found += read;
    buffers.push(buffer.slice(0, read));
  }
  checkWeightsSize(group, found, source);
  return buffers;
}
