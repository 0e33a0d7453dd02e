/** @file A program that ends itself in the middle of saving a model into the folder that it is given. */
import {writeModel} from '../../../lib/io/model/model-writer.js';

const specs = [{name: 'w', shape: [1024], dtype: 'float32' as const}];

function* pieces(): Generator<Uint8Array> {
  yield new Uint8Array(2048);
  process.exit(3);
}

await writeModel(`${process.argv[2]}/model.json`, {modelTopology: {}}, {specs, pieces: pieces()});
