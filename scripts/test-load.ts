/**
 * @file `npm run test:load`: the server under load, over loopback alone: requests of all kinds while versions switch and
 * workers are killed, then what HTTP costs beside `model.predict`, then chats at a time. Exit code 1 on any failure.
 *
 * Usage: npm run test:load -- [--only stress|throughput|chats] [--requests 50000] … (--help)
 */
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {parseArgs} from 'node:util';
import {loadBackend} from '../lib/backend/load.js';
import {fetchModel} from '../lib/language/index.js';
import {loadLanguageModel} from '../lib/language/load-language-model.js';
import {chats} from './load/chats.js';
import {TINY} from './load/models.js';
import type {KnownText} from './load/questions.js';
import {stress, type StressReport} from './load/stress.js';
import {throughput, type ThroughputReport} from './load/throughput.js';

const HELP = `Usage: npm run test:load -- [options]

  --only PART        stress, throughput or chats; all of them without it
  --requests N       of the stress part, default 50000
  --switches N       of versions meanwhile, default 20
  --kills N          of workers meanwhile, default 10
  --workers N        default 2
  --connections N    requests under way at a time, default 16
  --batch N          rows of a request of the throughput part, default 32
  --rounds N         of the throughput and chat parts, default 3
  --model PATH       language model of the chats, default SmolLM2-135M-Instruct
  --seed N           default 1
  --json             print the report as JSON alone

A smaller run: npm run test:load -- --only stress --requests 3000 --switches 3 --kills 2`;

const {values: options} = parseArgs({
  options: {
    only: {type: 'string'},
    requests: {type: 'string', default: '50000'},
    switches: {type: 'string', default: '20'},
    kills: {type: 'string', default: '10'},
    workers: {type: 'string', default: '2'},
    connections: {type: 'string', default: '16'},
    batch: {type: 'string', default: '32'},
    rounds: {type: 'string', default: '3'},
    model: {type: 'string'},
    seed: {type: 'string', default: '1'},
    json: {type: 'boolean', default: false},
    help: {type: 'boolean', short: 'h', default: false},
  },
});
/** What is promised. */
const LEAST = {binaryShare: 0.85, jsonShare: 0.5, chatGain: 1.5};
const MOST_P99_OVER_P50 = 3;
const SECONDS_A_WAY = 3;
const TEXT_TOKENS = 12;

const PARTS = ['stress', 'throughput', 'chats'];
if (options.help) console.log(HELP);
else if (options.only !== undefined && !PARTS.includes(options.only)) {
  console.error(`--only is ${options.only}; it must be one of ${PARTS.join(', ')}\n\n${HELP}`);
  process.exitCode = 2;
} else await main();

async function main(): Promise<void> {
  const isWanted = (part: string) => options.only === undefined || options.only === part;
  const failures: string[] = [];
  const report: Record<string, unknown> = {};
  if (isWanted('stress')) {
    const result = await stressed();
    report.stress = result;
    failures.push(...result.failures);
    if (!options.json) printStress(result);
  }
  if (isWanted('throughput')) {
    const {batch, rounds} = options;
    const result = await throughput({batch: Number(batch), rounds: Number(rounds), seconds: SECONDS_A_WAY});
    report.throughput = result;
    failures.push(...throughputFailures(result));
    if (!options.json) printThroughput(result);
  }
  if (isWanted('chats')) {
    const result = await chats(
      options.model ?? (await fetchModel('smollm2-135m-instruct')),
      Number(options.rounds),
    );
    report.chats = result;
    if (result.gain < LEAST.chatGain)
      failures.push(`four chats give ${result.gain.toFixed(2)}x of one; at least ${LEAST.chatGain}x`);
    if (!options.json) console.table({'tokens a second': rounded(result)});
  }
  if (options.json) console.log(JSON.stringify({...report, failures}, null, 2));
  for (const failure of failures) console.error(`failed: ${failure}`);
  if (failures.length > 0) process.exitCode = 1;
}

async function stressed(): Promise<StressReport> {
  const folder = mkdtempSync(join(tmpdir(), 'sparsify-load-'));
  try {
    const {requests, switches, kills, workers, connections, seed} = options;
    return await stress({
      ...{requests: Number(requests), switches: Number(switches), kills: Number(kills)},
      ...{workers: Number(workers), connections: Number(connections), seed: Number(seed)},
      ...{folder, texts: await knownTexts()},
    });
  } finally {
    rmSync(folder, {recursive: true});
  }
}

/** What the tiny model says in this process. */
async function knownTexts(): Promise<KnownText[]> {
  await loadBackend();
  const lm = await loadLanguageModel(TINY);
  const texts: KnownText[] = [];
  for (const prompt of [[1], [5, 6, 7], Array.from({length: 40}, (_, i) => i)]) {
    const {text} = await lm.generate(prompt, {maxTokens: TEXT_TOKENS});
    texts.push({prompt, maxTokens: TEXT_TOKENS, text});
  }
  lm.dispose();
  return texts;
}

function printStress({kinds, memory, seconds, requests, switches, kills, abandoned}: StressReport): void {
  console.table(
    Object.fromEntries(
      kinds.map(({kind, statuses, ...rest}) => [kind, {...rest, statuses: JSON.stringify(statuses)}]),
    ),
  );
  const each = Math.round(requests / seconds);
  console.log(
    `${requests} requests in ${seconds.toFixed(0)} s (${each} a second), ${abandoned} abandoned besides, ` +
      `${switches} versions switched, ${kills} workers killed`,
  );
  console.log('megabytes and tensors:', JSON.stringify(memory));
}

function printThroughput({
  batch,
  predict,
  binary,
  json,
  binaryShare,
  jsonShare,
  steady,
}: ThroughputReport): void {
  const rate = (rows: number) => Math.round(rows);
  console.table({
    'model.predict': {'rows a second': rate(predict), share: 1},
    'HTTP, binary': {'rows a second': rate(binary), share: Number(binaryShare.toFixed(2))},
    'HTTP, JSON': {'rows a second': rate(json), share: Number(jsonShare.toFixed(2))},
  });
  const ratio = (steady.p99 / steady.p50).toFixed(2);
  console.log(
    `${batch} rows a request; at 70 % of the binary rate p50 ${steady.p50} ms, p99 ${steady.p99} ms (${ratio}x)`,
  );
}

function throughputFailures({binaryShare, jsonShare, steady}: ThroughputReport): string[] {
  const failures: string[] = [];
  const least = (what: string, got: number, wanted: number) => {
    if (got < wanted) failures.push(`${what} gives ${got.toFixed(2)}x of model.predict; at least ${wanted}x`);
  };
  least('HTTP with the binary extension', binaryShare, LEAST.binaryShare);
  least('HTTP with JSON', jsonShare, LEAST.jsonShare);
  if (steady.p99 > MOST_P99_OVER_P50 * steady.p50) {
    failures.push(`p99 is ${steady.p99} ms, more than ${MOST_P99_OVER_P50} times p50, ${steady.p50} ms`);
  }
  return failures;
}

function rounded({one, four, gain}: {one: number; four: number; gain: number}): object {
  return {one: Math.round(one), four: Math.round(four), gain: Number(gain.toFixed(2))};
}
