/**
 * @file The package in a browser and in Node without native parts, beside what others run there: starts headless Chromium
 * itself and measures all sides of one measure in turns.
 *
 * Usage: npm run bench -- web [--only decode,prompt,kernels,node,memory,load] [--rounds R] [--seconds S]
 *     [--shape KxN,...] [--json]
 */
import {cpus} from 'node:os';
import {parseArgs} from 'node:util';
import {measureDecoding} from './web/decoding.js';
import {measureLoad, measureMemory} from './web/fresh-pages.js';
import {measureKernels} from './web/kernels.js';
import {measureNode} from './web/node.js';
import {printFigures, printMachine, type WebFigures, type WebReport} from './web/report.js';
import {Prompts, prepareSides} from './web/sides.js';

const MEASURES = ['decode', 'prompt', 'kernels', 'node', 'memory', 'load'] as const;
type Measure = (typeof MEASURES)[number];

const SHAPES = '4096x11008,576x1536,1536x576,2048x2048,256x256,64x10';

const HELP = `Usage: npm run bench -- web [--only decode,prompt,kernels,node,memory,load] [--rounds R] [--seconds S]
    [--shape KxN,...] [--json]

Measures in headless Chromium, on pages that are cross-origin isolated, R (5) rounds in turns; medians:
  decode   SmolLM2-135M, tokens a second at a context of 64 on average, with 1 and 2 threads: ours in INT8, dense and at
           50 % of all projections, by loadLanguageModel of a page (a worker, by its clock, greedy sampling included);
           wllama (llama.cpp) in Q8_0 and Q4_1 by its own clock; onnxruntime-web in INT8 (dynamic quantization): one step
           of this shape over a cache of 64, without embedding, sampling and the growth of the cache, which is in its favour
  prompt   a prompt of 256 tokens with 2 threads, ours against wllama
  kernels  SparsifiedMatMul in float32 and INT8 at 0, 50 and 70 %, rows 1, 4 and 8, with 1 and 2 threads, against
           tf.matMul of the wasm backend with the threads that it takes itself, S (1.5) seconds each; shapes are inputs x
           units, by default ${SHAPES}
  node     Node on backend wasm, INT8, 2 threads: our decoder against the layers of the backend alone
  memory   of the renderer after decoding, loaded from the cache: ours in INT8, wllama in Q8_0; Linux only
  load     from the call of a page that has its modules to the first token, the model from the browser's cache
wllama and onnxruntime-web are installed into the cache when they are missing; a side that cannot be had is left out and
named. Takes about 15 minutes on 2 cores that do nothing else.

Output of --json, one object: machine {processor, cores, node, browser}, missing [{name, reason}], and of what was measured
  decode   [{side, threads, tokensPerSecond, vsWllama, vsOnnxruntime, vsOwnDense}]: over the fastest of that peer with as many threads or fewer
  prompt   [{side, threads, tokensPerSecond, vsWllama}]
  kernels  {stockThreads, rows: [{shape, dtype, rows, sparsity, threads, ownMs, stockMs, vsStock}]}
  node     [{side, tokensPerSecond, vsLayers}]
  memory   [{side, privateBytes, residentBytes}]
  load     [{side, firstTokenMs, vsWllama}]`;

const {values: options} = parseArgs({
  options: {
    only: {type: 'string', default: MEASURES.join(',')},
    rounds: {type: 'string', default: '5'},
    seconds: {type: 'string', default: '1.5'},
    shape: {type: 'string', default: SHAPES},
    json: {type: 'boolean', default: false},
    help: {type: 'boolean', short: 'h', default: false},
  },
});
if (options.help) console.log(HELP);
else await main();

async function main(): Promise<void> {
  const only = new Set(options.only.split(',').map(parseMeasure));
  const rounds = Number(options.rounds);
  if (!(Number.isInteger(rounds) && rounds >= 1))
    throw new Error(`--rounds is "${options.rounds}"; it must be a whole number of 1 or more`);
  const seconds = Number(options.seconds);
  if (!(seconds > 0)) throw new Error(`--seconds is "${options.seconds}"; it must be greater than 0`);

  const shapes = options.shape.split(',').map(parseShape);

  const needsModel = [...only].some((measure) => measure !== 'kernels');
  const sides = needsModel ? await prepareSides() : null;
  const peers = sides === null ? [] : [sides.wllama, sides.onnxruntime];
  const missing = peers.flatMap((peer) => ('reason' in peer ? peer : []));
  const report: WebReport = {
    machine: {processor: cpus()[0]?.model ?? process.arch, cores: cpus().length, node: process.version},
    missing,
  };
  const prompts = sides === null ? null : await Prompts.open(sides.folder);

  // At once, so that what breaks later does not take these figures along.
  const add = (figures: WebFigures) => {
    Object.assign(report, figures);
    if (!options.json) printFigures(figures);
  };

  if (sides !== null && prompts !== null && (only.has('decode') || only.has('prompt'))) {
    const wanted = {decode: only.has('decode'), prompt: only.has('prompt')};
    const {browser, decode, prompt} = await measureDecoding(sides, prompts, rounds, wanted);
    report.machine.browser = browser;
    if (wanted.decode) add({decode});
    if (wanted.prompt) add({prompt});
  }
  if (only.has('kernels')) {
    const {browser, ...kernels} = await measureKernels(shapes, seconds);
    report.machine.browser = browser;
    add({kernels});
  }
  if (sides !== null && prompts !== null) {
    if (only.has('node')) add({node: await measureNode(sides.folder, prompts, rounds)});
    if (only.has('memory')) add({memory: await measureMemory(sides, prompts, rounds)});
    if (only.has('load')) add({load: await measureLoad(sides, prompts, rounds)});
  }
  if (options.json) console.log(JSON.stringify(report, null, 2));
  else printMachine(report);
}

function parseShape(text: string): readonly [inputSize: number, units: number] {
  const match = /^([1-9]\d*)x([1-9]\d*)$/.exec(text);
  if (match === null) throw new Error(`--shape has "${text}"; write inputs x units as in 4096x11008`);
  return [Number(match[1]), Number(match[2])];
}

function parseMeasure(text: string): Measure {
  const found = MEASURES.find((measure) => measure === text);
  if (found !== undefined) return found;
  throw new Error(`--only has "${text}"; there are ${MEASURES.join(', ')}`);
}
