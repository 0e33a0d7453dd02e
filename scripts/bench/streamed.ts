/**
 * @file `npm run bench -- streamed`: a checkpoint is imported, compressed and sparsified with one block in memory at a
 * time, and loaded and decoded in another process; what memory and time each takes.
 *
 * Usage: npm run bench -- streamed --model FOLDER --out FOLDER [--sequences 4] [--sequence-length 128] [--json]
 */
import {spawnSync} from 'node:child_process';
import {readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';
import {parseArgs} from 'node:util';
import {loadBackend} from '../../lib/backend/load.js';
import {inspectWeights} from '../../lib/compress.js';
import type {Int8Mode} from '../../lib/quantization/int8.js';
import type {MaskedCount} from '../../lib/language/decoding/decoder.js';
import {measureDecodeLatency} from '../../lib/language/decode-latency.js';
import {
  PROJECTIONS,
  loadLanguageModel,
  sparsifyStreamed,
  type LanguageModel,
} from '../../lib/language/index.js';
import {peakBytes} from './measure/memory.js';

const HELP = `Usage: npm run bench -- streamed --model FOLDER --out FOLDER [--sequences 4] [--sequence-length 128]
                                  [--target 0.5] [--compress int8_asym|int8_sym|none] [--json]

FOLDER is a checkpoint, one of scripts/make-checkpoint.ts say. Calibrates on pseudo-random ids.

  peak    the most memory of the process, resident, as Linux counts it, with Node and libtensorflow
  base    what it was before anything was read
  decoded tokens a second, one at a time, with the thresholds off and on; masked: the share of inputs that were`;

const {values: options} = parseArgs({
  options: {
    model: {type: 'string'},
    out: {type: 'string'},
    sequences: {type: 'string', default: '4'},
    'sequence-length': {type: 'string', default: '128'},
    target: {type: 'string', default: '0.5'},
    compress: {type: 'string', default: 'int8_asym'},
    json: {type: 'boolean', default: false},
    load: {type: 'boolean', default: false},
    help: {type: 'boolean', short: 'h', default: false},
  },
});

/** What a process took, gigabytes. */
interface Cost {
  readonly seconds: number;
  readonly base: number;
  readonly peak: number;
}

interface Decoded {
  readonly denseTokensPerSecond: number;
  readonly sparseTokensPerSecond: number;
  readonly masked: number;
  /** Of the process, the decoding in it, gigabytes. */
  readonly decodingPeak: number;
}

interface Loaded extends Cost, Decoded {
  /** Of the weights on disk and in memory, gigabytes. */
  readonly weights: number;
}

const DECODING = {tokens: 24, seconds: 60};
const COUNTED_IDS = Array.from({length: 16}, (_, i) => 3 + ((i * i * 7919) % 30011));

const {model, out} = options;
if (options.help) console.log(HELP);
else if (out === undefined || (model === undefined && !options.load)) {
  console.error(`--model and --out are needed\n\n${HELP}`);
  process.exitCode = 2;
} else if (options.load) console.log(JSON.stringify(await load(out)));
else {
  const sparsified = await sparsify(model!, out);
  if (!options.json) console.table({sparsified});
  const loaded = loadElsewhere(out);
  if (options.json) console.log(JSON.stringify({sparsified, loaded}, null, 2));
  else console.table({loaded});
}

async function sparsify(from: string, to: string): Promise<Cost> {
  const sequenceLength = Number(options['sequence-length']);
  const sequences = Number(options.sequences);
  const ids = Array.from({length: sequenceLength * sequences}, (_, i) => 3 + ((i * i * 7919) % 30011));
  const vocabulary = vocabularyOf(from);
  await loadBackend();
  return measured(async () => {
    await sparsifyStreamed(from, to, {
      data: ids.map((id) => id % vocabulary),
      sequenceLength,
      sequences,
      batchSize: sequences,
      compress: options.compress === 'none' ? undefined : (options.compress as Int8Mode),
      targetSparsityByScope: {[PROJECTIONS.all]: Number(options.target)},
      onProgress: ({done, total}) =>
        console.error(
          `part ${done} of ${total}, ${gigabytes(process.memoryUsage().rss)} GB, peak ${gigabytes(peakBytes())}`,
        ),
    });
  });
}

function vocabularyOf(folder: string): number {
  return (JSON.parse(readFileSync(`${folder}/config.json`, 'utf8')) as {vocab_size: number}).vocab_size;
}

async function load(from: string): Promise<Loaded> {
  await loadBackend();
  let lm: LanguageModel | undefined;
  const cost = await measured(async () => {
    lm = await loadLanguageModel(from);
  });
  const weights = inspectWeights(lm!.model).reduce((sum, {bytes}) => sum + bytes, 0) / 1e9;
  return {...cost, weights, ...(await decode(lm!))};
}

async function decode(lm: LanguageModel): Promise<Decoded> {
  const [dense, sparse] = await measureDecodeLatency(
    [true, false].map((dense) => ({lm, dense})),
    DECODING,
  );
  const decoder = lm.decoder();
  for (const id of COUNTED_IDS) await decoder.append([id % lm.config.vocabularySize]);
  const counts = [...decoder.counts().values()];
  decoder.dispose();
  const sum = (of: (count: MaskedCount) => number) => counts.reduce((total, count) => total + of(count), 0);
  return {
    denseTokensPerSecond: 1000 / dense,
    sparseTokensPerSecond: 1000 / sparse,
    masked: sum(({masked}) => masked) / sum(({total}) => total),
    decodingPeak: peakBytes() / 1e9,
  };
}

function loadElsewhere(from: string): Loaded {
  const args = [fileURLToPath(import.meta.url), '--load', '--out', from];
  const {status, stdout} = spawnSync(process.execPath, [...process.execArgv, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (status !== 0) throw new Error(`the process that should load ended with ${status}`);
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Loaded;
}

async function measured(work: () => Promise<void>): Promise<Cost> {
  const base = process.memoryUsage().rss / 1e9;
  const start = performance.now();
  await work();
  return {seconds: (performance.now() - start) / 1000, base, peak: peakBytes() / 1e9};
}

function gigabytes(bytes: number): string {
  return (bytes / 1e9).toFixed(2);
}
