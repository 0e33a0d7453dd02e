/**
 * @file A server with the digits model: it is asked over HTTP for the digits of three images, and stopped.
 *
 * Usage: npm run build && node scripts/examples/serving.mjs
 */
import {fileURLToPath} from 'node:url';
import {loadBackend, openDataFile, readLabels} from 'tfjs-sparsify/node';
import {createServer} from 'tfjs-sparsify/serve';

const digits = (name) => fileURLToPath(new URL(`../../models/digits/${name}`, import.meta.url));

await loadBackend();
const server = await createServer({models: [{name: 'digits', path: digits('')}]});
try {
  const url = await server.listen({port: 0}); // any that is free
  await server.ready();

  const file = openDataFile(digits('test-images.npy'), {batchSize: 3, scale: 1 / 255});
  const [images] = await firstBatch(file);
  const response = await fetch(`${url}/v1/models/digits:predict`, {
    method: 'POST',
    headers: {'content-type': 'application/json'},
    body: JSON.stringify({instances: images}),
  });
  const {predictions, error} = await response.json();
  if (error !== undefined) throw new Error(error);
  const read = predictions.map((shares) => shares.indexOf(Math.max(...shares)));
  const {values: labels} = await readLabels(digits('test-labels.npy'));
  console.log(`read: ${read.join(' ')}, right: ${[...labels.slice(0, read.length)].join(' ')}`);
} finally {
  await server.close();
}

/** The images of the first batch of a file, as nested arrays. */
async function firstBatch(file) {
  for await (const tensor of file) {
    const images = tensor.arraySync();
    tensor.dispose();
    return [images];
  }
  return [];
}
