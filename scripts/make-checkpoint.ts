/**
 * @file Makes a checkpoint of a published shape with random weights, as Hugging Face publishes them: config.json and
 * safetensors in shards, written piece by piece in little memory. For measuring what no real weights are needed for.
 *
 * Usage: node --import tsx scripts/make-checkpoint.ts --shape llama-2-7b --out FOLDER [--layers 32]
 */
import {parseArgs} from 'node:util';
import {SHAPES, makeCheckpoint} from './checkpoint/random-checkpoint.js';

const HELP = `Usage: node --import tsx scripts/make-checkpoint.ts --shape NAME --out FOLDER [--layers N] [--shard-gigabytes 4]

NAME: llama-2-7b (13.5 GB in bfloat16), llama-3-8b (16 GB), mixtral-8x7b (93 GB), or small, which takes a second.
--layers makes fewer decoder layers than published: one of llama-2-7b is 0.4 GB.`;

const {values: options} = parseArgs({
  options: {
    shape: {type: 'string'},
    layers: {type: 'string'},
    out: {type: 'string'},
    'shard-gigabytes': {type: 'string', default: '4'},
    help: {type: 'boolean', short: 'h', default: false},
  },
});
const {shape, out} = options;
if (options.help) console.log(HELP);
else if (shape === undefined || !Object.hasOwn(SHAPES, shape) || out === undefined) {
  console.error(`--shape is ${shape}, of ${Object.keys(SHAPES).join(', ')}; --out is ${out}\n\n${HELP}`);
  process.exitCode = 2;
} else {
  const layers = options.layers === undefined ? {} : {num_hidden_layers: Number(options.layers)};
  await makeCheckpoint(out, {...SHAPES[shape], ...layers}, Number(options['shard-gigabytes']) * 1e9);
}
