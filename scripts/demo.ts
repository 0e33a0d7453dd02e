/**
 * @file The main job on a real model: SmolLM2-135M-Instruct becomes a tf.LayersModel and is made faster step by step,
 * each measured on text that calibration never saw: the layers of TensorFlow.js one by one, this package's decoder, that
 * with inputs masked as in NNCF's example (up and gate projections 30 %, down projections 50 %), with inputs masked where
 * it costs least for the same loss, and with INT8 weights too. At the end it chats.
 *
 * Usage: npm run demo
 */
import {readFile} from 'node:fs/promises';
import {parseArgs} from 'node:util';
import {loadBackend} from '../lib/backend/load.js';
import {withProgress, withStages} from '../lib/cli/progress.js';
import {formatTable, percent} from '../lib/cli/text-table.js';
import {
  TargetScope,
  allocateSparsity,
  compressWeights,
  inspectWeights,
  retarget,
  sparsifyActivations,
} from '../lib/index.js';
import type {Decoder} from '../lib/language/decoding/decoder.js';
import {createGraphDecoder} from '../lib/language/decoding/graph-decoder.js';
import {
  ALLOCATION_SEQUENCES,
  LANGUAGE_CALIBRATION,
  PROJECTIONS,
  allocateLanguageModel,
  compareWithDense,
  fetchModel,
  loadLanguageModel,
  type ChatMessage,
  type LanguageModel,
  type ModeResult,
} from '../lib/language/index.js';
import {timeInTurns, type Settled, type Turn} from './bench/measure/turns.js';

const HELP = `Usage: npm run demo

Imports SmolLM2-135M-Instruct, sparsifies it in several ways, and prints perplexity, size and decode speed of each beside the
layers of TensorFlow.js, and a short chat. Takes less than four minutes on 2 cores.`;

/** Windows of the token protocol that are scored: 2,047 tokens, in a minute. */
const WINDOWS = 1;
const PROMPT_TOKENS = 64;
/** The layers one by one take ten times as long for a token. */
const DECODED_TOKENS = 32;
const DECODED_BY_LAYERS = 8;
/** Of timing; most machines settle in half of it. */
const TIMING_SECONDS = 45;
/** Text at the end of the calibration text on which a loss is held against another: a window of 2,047 tokens. */
const HELD_OUT_CHARACTERS = 12_000;
/** Mean sparsities of all projections between which the same loss is looked for, and in how many steps. */
const SEARCHED = {least: 0.1, greatest: 0.6, steps: 5};
const QUESTIONS = ['What is the capital of France?', 'Name one thing to see there, in one sentence.'];

/** One line of the table. */
interface Row {
  readonly name: string;
  readonly lm: LanguageModel;
  readonly mode: ModeResult;
  /** Makes what is timed. */
  readonly decoder: () => Decoder;
  readonly tokens: number;
}

const {values: options} = parseArgs({options: {help: {type: 'boolean', short: 'h', default: false}}});
if (options.help) console.log(HELP);
else await demo();

async function demo(): Promise<void> {
  const {name: backend, why, native} = await loadBackend();
  console.log(`backend: ${backend} (${why})`);
  if (native !== undefined && 'reason' in native) console.log(`without native kernels: ${native.reason}`);
  const started = performance.now();
  const dense = await importModel();
  const sparse = await sparsify(dense);
  const allocated = await allocate(dense, sparse);
  const small = dense.withModel(await compressWeights(allocated.model));
  const models = [dense, sparse, allocated, small];
  const {modes, tokens} = await withProgress('scoring WikiText-2, all four', 'windows', async (onProgress) =>
    compareWithDense(models.slice(1), await readText('wikitext-2-test.txt'), {
      baseline: dense,
      protocol: 'token',
      windows: WINDOWS,
      onProgress,
    }),
  );
  const names = ['this package, dense', 'sparse, as in NNCF', 'sparse, allocated', 'sparse, allocated, INT8'];
  const rows: Row[] = [
    {
      name: layersOf(backend),
      lm: dense,
      mode: modes[0],
      decoder: () => createGraphDecoder(dense.model, dense.config),
      tokens: DECODED_BY_LAYERS,
    },
    ...models.map((lm, i) => ({
      name: names[i],
      lm,
      mode: modes[i],
      decoder: () => lm.decoder(),
      tokens: DECODED_TOKENS,
    })),
  ];
  const speeds = await decodeSpeeds(rows);
  printTable(rows, speeds, tokens);
  await chat(small);
  console.log(`\n${((performance.now() - started) / 1000).toFixed(0)} s in all`);
  for (const lm of models.reverse()) lm.dispose();
}

async function importModel(): Promise<LanguageModel> {
  const path = await fetchModel('smollm2-135m-instruct');
  const lm = await withProgress('importing', 'million weights', (onProgress) =>
    loadLanguageModel(path, {
      weights: 'float32',
      onProgress: ({done, total}) => onProgress({done: Math.ceil(done / 1e6), total: Math.ceil(total / 1e6)}),
    }),
  );
  const {architecture, layers, contextLength} = lm.config;
  console.log(
    `SmolLM2-135M-Instruct: ${architecture}, ${layers} layers, ${lm.model.countParams().toLocaleString('en')} weights, ` +
      `context of ${contextLength} tokens\n`,
  );
  return lm;
}

/** Thresholds as NNCF finds them, from 16 sequences of 256 tokens: 2,048 tokens already settle them. */
async function sparsify(dense: LanguageModel): Promise<LanguageModel> {
  const text = await readText('wikitext-2-calibration.txt');
  const model = await withProgress('calibrating as NNCF does', 'sequences', (onProgress) =>
    sparsifyActivations(dense.model, dense.dataset(text, {sequenceLength: 256, sequences: 16}), {
      targetSparsityByScope: [
        [new TargetScope({patterns: [PROJECTIONS.gateUp]}), 0.3],
        [new TargetScope({patterns: [PROJECTIONS.down]}), 0.5],
      ],
      calibration: 'nncf',
      onProgress,
    }),
  );
  return dense.withModel(model);
}

/**
 * All projections share a sparsity, where it costs least: as much as loses no more than `sparse` on text that calibrates
 * neither. Probes and histograms are taken once; another sparsity then needs no data.
 */
async function allocate(dense: LanguageModel, sparse: LanguageModel): Promise<LanguageModel> {
  const text = await readText('wikitext-2-calibration.txt');
  const calibration = text.slice(0, -HELD_OUT_CHARACTERS);
  const model = await withStages(async (onProgress) => {
    const first = await allocateLanguageModel(dense, calibration, {
      target: (SEARCHED.least + SEARCHED.greatest) / 2,
      onProgress: ({stage, ...progress}) => onProgress(`allocating, ${stage}`, 'steps', progress),
    });
    return sparsifyActivations(dense.model, dense.dataset(calibration, ALLOCATION_SEQUENCES), {
      targetSparsityByScope: first,
      calibration: LANGUAGE_CALIBRATION,
      onProgress: (progress) => onProgress('calibrating layer by layer', 'steps', progress),
    });
  });
  const allocated = dense.withModel(model);
  await withProgress('looking for the same loss', 'models', async (onProgress) => {
    const loss = async (lm: LanguageModel) => {
      const {tokenPerplexity} = await lm.perplexity(text.slice(-HELD_OUT_CHARACTERS), {
        protocol: 'token',
        windows: 1,
      });
      return tokenPerplexity;
    };
    const most = await loss(sparse);
    let [low, high] = [SEARCHED.least, SEARCHED.greatest];
    for (let step = 1; step <= SEARCHED.steps; step++) {
      const target = (low + high) / 2;
      retarget(model, await allocateSparsity(model, null, {target}));
      if ((await loss(allocated)) <= most) low = target;
      else high = target;
      onProgress({done: step, total: SEARCHED.steps});
    }
    retarget(model, await allocateSparsity(model, null, {target: low}));
  });
  return allocated;
}

/** Tokens a second of each row, decoding in turns until the medians are settled. */
async function decodeSpeeds(rows: readonly Row[]): Promise<Settled[]> {
  const [{lm}] = rows;
  const prompt = lm.tokenizer!.encode(await readText('wikitext-2-calibration.txt')).slice(0, PROMPT_TOKENS);
  const decoders = rows.map(({decoder}) => decoder());
  const turn = (decoder: Decoder, tokens: number): Turn => {
    return async () => {
      decoder.truncate(0);
      let next = largest(await decoder.append(prompt, {dense: true}));
      const start = performance.now();
      for (let i = 0; i < tokens; i++) next = largest(await decoder.append([next]));
      return (1000 * tokens) / (performance.now() - start);
    };
  };
  try {
    return await withProgress('decoding in turns', 'rounds', (onProgress) =>
      timeInTurns(
        rows.map(({tokens}, i) => turn(decoders[i], tokens)),
        {seconds: TIMING_SECONDS, onRound: ({done}) => onProgress({done, total: null})},
      ),
    );
  } finally {
    for (const decoder of decoders) decoder.dispose();
  }
}

function printTable(rows: readonly Row[], speeds: readonly Settled[], tokens: number): void {
  const first = speeds[0].median;
  const lines = rows.map((row, i) => ({...row, speed: speeds[i].median}));
  const size = ({model}: LanguageModel) => inspectWeights(model).reduce((sum, {bytes}) => sum + bytes, 0);
  console.log();
  console.log(
    formatTable(lines, [
      {title: 'model', cell: ({name}) => name},
      {
        title: 'inputs masked',
        cell: ({mode: {sparsity}}) => (sparsity === 0 ? '-' : percent(sparsity)),
        align: 'right',
      },
      {title: 'perplexity', cell: ({mode}) => mode.tokenPerplexity.toFixed(2), align: 'right'},
      {title: 'size', cell: ({lm}) => `${(size(lm) / 1e6).toFixed(0)} MB`, align: 'right'},
      {title: 'tokens a second', cell: ({speed}) => speed.toFixed(1), align: 'right'},
      {title: 'speed', cell: ({speed}) => `${(speed / first).toFixed(1)}x`, align: 'right'},
    ]),
  );
  console.log(
    `\nPerplexity of the first ${tokens.toLocaleString('en')} tokens of WikiText-2's test split; the first two are one ` +
      'model. "as in NNCF" masks\n30 % of what the up and gate projections read and 50 % of what the down projections ' +
      'read; "allocated" masks inputs of all\nprojections, where it costs least, until it loses as much. Tokens a second ' +
      'are medians of turns.',
  );
  const unsettled = lines.flatMap(({name}, i) => {
    const [low, high] = speeds[i].interval.map((value) => value.toFixed(1));
    return speeds[i].settled ? [] : [`  ${name}: between ${low} and ${high}`];
  });
  if (unsettled.length === 0) return;
  console.log(
    `\nNOT SETTLED after ${TIMING_SECONDS} s, since something else runs on this machine: tokens a second of\n` +
      unsettled.join('\n'),
  );
}

async function chat(lm: LanguageModel): Promise<void> {
  console.log('\na chat with the last of them:');
  const messages: ChatMessage[] = [];
  for (const question of QUESTIONS) {
    messages.push({role: 'user', content: question});
    process.stdout.write(`  > ${question}\n  `);
    const {text} = await lm.generate(messages, {
      maxTokens: 60,
      onToken: ({text}) => process.stdout.write(text.replaceAll('\n', '\n  ')),
    });
    console.log();
    messages.push({role: 'assistant', content: text});
  }
}

/** What runs the layers one by one, in words. */
function layersOf(backend: string): string {
  return `layers of ${backend === 'node' || backend === 'node-gpu' ? `tfjs-${backend}` : `tfjs on ${backend}`}`;
}

function largest(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i;
  return best;
}

function readText(name: string): Promise<string> {
  return readFile(new URL(`../models/smollm2/${name}`, import.meta.url), 'utf8');
}
