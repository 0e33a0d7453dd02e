/**
 * @file SmolLM2 as the page chats with it: INT8, with thresholds at 50 % of all projections and the statistics that other
 * targets need. Made once a user, by the package's own import, compression and calibration, and kept in the cache.
 */
import {existsSync, mkdirSync, readFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {loadBackend} from '../../lib/backend/load.js';
import {withProgress} from '../../lib/cli/progress.js';
import {PROJECTIONS, sparsifyStreamed} from '../../lib/language/index.js';
import {cacheFolder, publishFolder} from '../../lib/provision/cache.js';
import {findSmollm2} from '../../lib/provision/wheels/smollm2.js';
import {inRoot} from '../set-up/repository.mjs';
import type {ChatModel} from './build-page.js';

/** Changes when what is made changes, so that nobody keeps an old one. */
const NAME = 'web-smollm2-int8-2';
const SPARSITY = 0.5;
/** Settled thresholds: 2,048 tokens would do. */
const CALIBRATION = {sequences: 16, sequenceLength: 256, batchSize: 4};

/** A page reads a weight file at a time, and one that was cut off goes on where it ended. */
const MAX_SHARD_BYTES = 32 * 1024 ** 2;

/** The folder of the model, made if it is not in the cache; or why there is none. */
export async function smollm2Int8(): Promise<ChatModel> {
  const checkpoint = findSmollm2();
  if (checkpoint === undefined) {
    return {reason: 'SmolLM2 could not be fetched when this page was built: npm run web says why'};
  }
  const folder = join(cacheFolder(), 'models', NAME);
  if (!existsSync(join(folder, 'model.json'))) {
    const {name} = await loadBackend();
    const data = readFileSync(inRoot('models', 'smollm2', 'wikitext-2-calibration.txt'), 'utf8');
    mkdirSync(dirname(folder), {recursive: true});
    await publishFolder(folder, (partial) =>
      withProgress(`making SmolLM2 in INT8 for the page, on ${name}`, 'parts', async (onProgress) => {
        await sparsifyStreamed(checkpoint, partial, {
          compress: 'int8_asym',
          targetSparsityByScope: {[PROJECTIONS.all]: SPARSITY},
          data,
          ...CALIBRATION,
          maxShardBytes: MAX_SHARD_BYTES,
          onProgress,
        });
      }),
    );
  }
  return {name: 'SmolLM2-135M-Instruct', folder};
}
