/**
 * @file Decoding of a language model, dense and sparse, beside the stock layers of tfjs-node and llama.cpp in Node on the
 * same weights. Every side is a process of its own; they take turns, and each has the number of threads that suits it
 * best.
 *
 * Usage: npm run bench -- llm [--model FILE.gguf] [--rounds R] [--tokens T] [--only TEXT,...]
 *     [--without-llama-cpp] [--json]
 */
import {parseArgs} from 'node:util';
import {loadBackend} from '../../lib/backend/load.js';
import {openCheckpoint} from '../../lib/language/import/open-checkpoint.js';
import {fetchModel} from '../../lib/language/import/fetch.js';
import type {LlamaConfig} from '../../lib/language/config/llama-config.js';
import {llamaCpp, nameOf, ours, type Contestant, type Wanted} from './llm/contestants.js';
import {LONG_PROMPT, figures, printTable, type Times} from './llm/report.js';
import {Side, type Answer} from './llm/side.js';
import {BandwidthMeter} from './measure/bandwidth.js';
import {describeMachine} from './measure/machine.js';

const HELP = `Usage: npm run bench -- llm [--model FILE.gguf] [--rounds R] [--tokens T] [--only TEXT,...]
    [--without-llama-cpp] [--json]

Decodes T (128) greedy tokens after a prompt of 64 and reads a prompt of 512, R (5) times on each side; medians. By default
the model is SmolLM2-135M-Instruct. The other sides are the layers of tfjs-node one by one, and llama.cpp
(node-llama-cpp, which is installed into the cache when it is missing) on the same weights as float32, float16 and Q8_0,
and on the file as it is. Ours are compared with the same bytes a weight, and with the fastest of llama.cpp; "as shipped" are
the weights of the GGUF file itself on both sides.

only (all) sides whose names contain one of these: 'as shipped', 'int8', 'llama.cpp, float32', 'layers'.

"bound" is the time that reading the weights of one token takes at the bandwidth of this machine, measured meanwhile,
over the time that a token took.

Output of --json, one object:
  machine  as of kernels
  rows     [{side, precision, sparsity, threads, tokensPerSecond, spread, firstTokenMs, prefillTokensPerSecond, vsLayers,
           vsLlamaCpp, vsFastestLlamaCpp, prefillVsLayers, prefillVsLlamaCpp, bandwidthShare, peakMB}]`;

const PROMPT = 64;

const {values: options} = parseArgs({
  options: {
    model: {type: 'string'},
    rounds: {type: 'string', default: '5'},
    tokens: {type: 'string', default: '128'},
    only: {type: 'string'},
    'without-llama-cpp': {type: 'boolean', default: false},
    json: {type: 'boolean', default: false},
    help: {type: 'boolean', short: 'h', default: false},
  },
});
if (options.help) console.log(HELP);
else await main();

async function main(): Promise<void> {
  const rounds = positive('rounds', options.rounds);
  const tokens = positive('tokens', options.tokens);
  const model = options.model ?? (await fetchModel('smollm2-135m-instruct'));
  const checkpoint = await openCheckpoint(model);
  const {config} = checkpoint;
  await checkpoint.close();
  const {native} = await loadBackend({name: 'node'});
  if (native === undefined || !('path' in native)) {
    throw new Error(
      `without the native kernels there is nothing to compare: ${native?.reason ?? 'no tfjs-node'}`,
    );
  }
  const texts = options.only?.split(',').map((text) => text.trim()) ?? [''];
  const isWanted: Wanted = (contestant) =>
    texts.some((text) => nameOf(contestant).includes(text)) &&
    !(options['without-llama-cpp'] && contestant.isLlamaCpp);
  const contestants = [...ours(model, isWanted), ...(await llamaCpp(model, isWanted))];
  if (contestants.length === 0) throw new Error(`--only is "${options.only}", which no side's name contains`);
  const meter = new BandwidthMeter();
  const threads = [1, Math.max(1, describeMachine(meter).cores)];

  const all: {contestant: Contestant; times: Times; side: Side}[] = [];
  const seed = {value: 1};
  try {
    for (const contestant of contestants) {
      all.push({
        contestant,
        ...(await atBestThreads(contestant, [...new Set(threads)], config, tokens, seed)),
      });
    }
    for (let round = 0; round < rounds; round++) {
      console.error(`round ${round + 1} of ${rounds}`);
      for (const {side, times} of all) {
        meter.measure();
        await measure(side, times, config, tokens, seed);
      }
    }
  } finally {
    for (const {side} of all) side.stop();
  }
  const machine = describeMachine(meter);
  const rows = figures(all, config, machine);
  if (options.json) {
    console.log(JSON.stringify({machine, rows}, null, 2));
    return;
  }
  console.log(`${PROMPT} tokens of prompt, ${tokens} decoded; medians\n`);
  printTable(rows);
  console.log(`\n${JSON.stringify(machine)}`);
}

/** Starts a side with each number of threads, and keeps the one that decodes fastest. */
async function atBestThreads(
  contestant: Contestant,
  candidates: readonly number[],
  config: LlamaConfig,
  tokens: number,
  seed: {value: number},
): Promise<{side: Side; times: Times}> {
  console.error(`loading ${nameOf(contestant)}`);
  let best: {side: Side; times: Times} | undefined;
  for (const threads of candidates) {
    const side = await Side.start(
      nameOf(contestant),
      contestant.file,
      [...contestant.args, String(threads)],
      {
        TF_NUM_INTRAOP_THREADS: String(threads),
      },
    );
    const times: Times = {threads, decode: [], first: [], prefill: [], peakBytes: 0};
    for (let i = 0; i < 2; i++) await measure(side, times, config, Math.min(tokens, 48), seed);
    if (best === undefined || Math.min(...times.decode) < Math.min(...best.times.decode)) {
      best?.side.stop();
      best = {side, times};
    } else side.stop();
  }
  const {side, times} = best!;
  return {side, times: {threads: times.threads, decode: [], first: [], prefill: [], peakBytes: 0}};
}

async function measure(side: Side, times: Times, config: LlamaConfig, tokens: number, seed: {value: number}) {
  const short: Answer = await side.ask({prompt: randomIds(PROMPT, config, seed), tokens});
  times.first.push(short.promptMs);
  times.decode.push(short.decodeMs / (short.ids.length - 1));
  const long = await side.ask({prompt: randomIds(LONG_PROMPT, config, seed), tokens: 0});
  times.prefill.push(long.promptMs);
  times.peakBytes = long.peakBytes;
}

/** Ids that repeat from run to run of the bench but not within one. */
function randomIds(count: number, {vocabularySize}: LlamaConfig, seed: {value: number}): number[] {
  return Array.from({length: count}, () => {
    seed.value = (Math.imul(seed.value, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed.value / 2 ** 32) * vocabularySize);
  });
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1) return value;
  throw new Error(`--${option} is "${text}"; it must be a whole number of 1 or more`);
}
