/** @file The table and the JSON of the comparison. */
import {median} from '../../../lib/eval/latency.js';
import type {LlamaConfig} from '../../../lib/language/config/llama-config.js';
import type {Machine} from '../measure/machine.js';
import {LAYERS, type Contestant} from './contestants.js';

/** Tokens of the long prompt. */
export const LONG_PROMPT = 512;

export interface Times {
  readonly threads: number;
  readonly decode: number[];
  readonly first: number[];
  readonly prefill: number[];
  peakBytes: number;
}

type Precision = Contestant['precision'];

/** What of llama.cpp a precision of ours is compared with: the same bytes a weight, nearly. */
const PEERS: Readonly<Partial<Record<Precision, Precision>>> = {
  float32: 'float32',
  bfloat16: 'float16',
  int8: 'Q8_0',
  'as shipped': 'as shipped',
};

/** Bytes a weight; a file as shipped has several types. */
const WEIGHT_BYTES: Readonly<Record<Precision, number | null>> = {
  float32: 4,
  bfloat16: 2,
  float16: 2,
  int8: 1,
  Q8_0: 34 / 32,
  'as shipped': null,
};

/** The figures of all sides. */
export function figures(
  all: readonly {readonly contestant: Contestant; readonly times: Times}[],
  config: LlamaConfig,
  {readGBs}: Machine,
) {
  const layers = all.find(({contestant}) => contestant.side === LAYERS)?.times;
  const peers = all.filter(({contestant}) => contestant.isLlamaCpp);
  const fastest = peers.map(({times}) => times).sort((a, b) => median(a.decode) - median(b.decode))[0];
  return all.map(({contestant, times}) => {
    const {side, precision, sparsity, isLlamaCpp} = contestant;
    const peer = peers.find((other) => other.contestant.precision === PEERS[precision])?.times;
    const milliseconds = median(times.decode);
    const over = (theirs: readonly number[] | undefined, mine: readonly number[]) =>
      theirs === undefined ? null : round(median(theirs) / median(mine), 2);
    const weightBytes = WEIGHT_BYTES[precision];
    const bytes = weightBytes === null ? null : weightsOfToken(config, sparsity) * weightBytes;
    return {
      side,
      precision,
      sparsity,
      threads: times.threads,
      tokensPerSecond: round(1000 / milliseconds, 1),
      spread: [round(1000 / Math.max(...times.decode), 1), round(1000 / Math.min(...times.decode), 1)],
      firstTokenMs: round(median(times.first), 1),
      prefillTokensPerSecond: round((LONG_PROMPT * 1000) / median(times.prefill), 0),
      vsLayers: over(layers?.decode, times.decode),
      vsLlamaCpp: isLlamaCpp ? null : over(peer?.decode, times.decode),
      vsFastestLlamaCpp: isLlamaCpp ? null : over(fastest?.decode, times.decode),
      prefillVsLayers: over(layers?.prefill, times.prefill),
      prefillVsLlamaCpp: isLlamaCpp ? null : over(peer?.prefill, times.prefill),
      bandwidthShare:
        readGBs === null || bytes === null ? null : round(bytes / 1e6 / readGBs / milliseconds, 3),
      peakMB: Math.round(times.peakBytes / 1e6),
    };
  });
}

export type Figures = ReturnType<typeof figures>;

/** Prints a line for each side. */
export function printTable(rows: Figures): void {
  const cells = rows.map((row) => [
    `${row.side}, ${row.precision}${row.sparsity > 0 ? `, ${row.sparsity * 100} % sparse` : ''}`,
    String(row.threads),
    `${row.tokensPerSecond}`,
    `${row.spread[0]} to ${row.spread[1]}`,
    ratio(row.vsLayers),
    ratio(row.vsLlamaCpp),
    ratio(row.vsFastestLlamaCpp),
    row.bandwidthShare === null ? '' : `${Math.round(row.bandwidthShare * 100)} %`,
    `${row.firstTokenMs}`,
    `${row.prefillTokensPerSecond}`,
    ratio(row.prefillVsLayers),
    ratio(row.prefillVsLlamaCpp),
    String(row.peakMB),
  ]);
  const heads = [
    'side',
    'threads',
    'tokens/s',
    'spread',
    'vs layers',
    'vs llama.cpp',
    'vs its fastest',
    'bound',
    'first ms',
    `prompt of ${LONG_PROMPT}, tokens/s`,
    'vs layers',
    'vs llama.cpp',
    'peak MB',
  ];
  const widths = heads.map((head, i) => Math.max(head.length, ...cells.map((row) => row[i].length)));
  for (const row of [heads, ...cells]) {
    console.log(
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '),
    );
  }
}

/** Weights that one token reads when `sparsity` of the inputs of the projections are masked; the head is dense. */
function weightsOfToken(config: LlamaConfig, sparsity: number): number {
  const {hiddenSize, intermediateSize, heads, keyHeads, headSize, layers, vocabularySize} = config;
  const attention = 2 * hiddenSize * heads * headSize + 2 * hiddenSize * keyHeads * headSize;
  const experts = config.experts?.perToken ?? 1;
  const projections = layers * (attention + experts * 3 * hiddenSize * intermediateSize);
  return projections * (1 - sparsity) + hiddenSize * vocabularySize;
}

function round(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}

function ratio(value: number | null): string {
  return value === null ? '' : `${value.toFixed(2)}x`;
}
