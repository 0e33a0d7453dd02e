/** @file Right requests in every protocol and size, each with a check of its answer. */
import type {Random} from '../../lib/stats/seeded-random.js';
import type {Incoming, Outgoing} from './client.js';
import {OUTPUTS, WIDTH} from './models.js';

/** Which versions of model `scaled` may answer: what was served when it was asked, up to what is there by now. */
export interface Versions {
  readonly lowest: number;
  readonly highest: () => number;
}

/** A request whose answer is known. */
export interface Question extends Outgoing {
  readonly kind: string;
  /** What is wrong with a 200, or null. */
  readonly check: (answer: Incoming) => string | null;
}

/** What the tiny language model says, worked out in this process. */
export interface KnownText {
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  readonly text: string;
}

type Make = (random: Random, versions: Versions, texts: readonly KnownText[]) => Question;

/** Kinds, and how many of a hundred requests each is. */
const MIX: readonly (readonly [share: number, make: Make])[] = [
  [25, scaledRows],
  [10, scaledColumn],
  [30, scaledBinary],
  [10, scaledJson],
  [10, named],
  [5, completion],
  [5, streamed],
  [5, looks],
];

/** A right request, drawn by the shares of the kinds. */
export function rightQuestion(random: Random, versions: Versions, texts: readonly KnownText[]): Question {
  let place = random() * MIX.reduce((sum, [share]) => sum + share, 0);
  const [, make] = MIX.find(([share]) => (place -= share) < 0) ?? MIX[0];
  return make(random, versions, texts);
}

/** A row of inputs for `scaled`, made once: the load should be the server's. */
interface Row {
  readonly values: Float32Array;
  readonly json: string;
  readonly sum: number;
}

const STOCK = 97;
let stock: readonly Row[] = [];

/** Some rows, mostly few; each is drawn from the stock. */
function scaledInputs(random: Random): Row[] {
  if (stock.length === 0) stock = Array.from({length: STOCK}, () => makeRow(random));
  return Array.from({length: rowsOf(random)}, () => stock[Math.floor(random() * STOCK)]);
}

function makeRow(random: Random): Row {
  const values = Float32Array.from(eighths(random, WIDTH));
  return {values, json: values.join(','), sum: values.reduce((sum, value) => sum + value, 0)};
}

/** Eighths, whose sums are exact in float32, so that answers can be compared exactly. */
function eighths(random: Random, count: number): number[] {
  return Array.from({length: count}, () => Math.floor(random() * 8) / 8);
}

/** Mostly small, some large. */
function rowsOf(random: Random): number {
  return random() < 0.7 ? 1 + Math.floor(random() * 4) : 1 + Math.floor(random() * 48);
}

function nested(rows: readonly Row[]): string {
  return `[[${rows.map(({json}) => json).join('],[')}]]`;
}

function scaledRows(random: Random, versions: Versions): Question {
  const rows = scaledInputs(random);
  return {
    kind: 'TF Serving rows',
    path: '/v1/models/scaled:predict',
    body: `{"instances":${nested(rows)}}`,
    check: ({bytes}) => checkScaled(rows, (json(bytes) as {predictions: number[][]}).predictions, versions),
  };
}

function scaledColumn(random: Random, versions: Versions): Question {
  const rows = scaledInputs(random);
  return {
    kind: 'TF Serving column',
    path: '/v1/models/scaled:predict',
    body: `{"inputs":{"sums_input":${nested(rows)}}}`,
    check: ({bytes}) => checkScaled(rows, (json(bytes) as {outputs: number[][]}).outputs, versions),
  };
}

function scaledJson(random: Random, versions: Versions): Question {
  const rows = scaledInputs(random);
  const input = `{"name":"sums_input","shape":[${rows.length},${WIDTH}],"datatype":"FP32"`;
  return {
    kind: 'Open Inference JSON',
    path: '/v2/models/scaled/infer',
    body: `{"inputs":[${input},"data":[${rows.map((row) => row.json).join(',')}]}]}`,
    check: ({bytes}) => {
      const {outputs} = json(bytes) as {outputs: {data: number[]}[]};
      return checkScaled(rows, inRows(outputs[0].data), versions);
    },
  };
}

function scaledBinary(random: Random, versions: Versions): Question {
  const rows = scaledInputs(random);
  const values = new Float32Array(rows.length * WIDTH);
  rows.forEach((row, i) => values.set(row.values, i * WIDTH));
  return {
    kind: 'Open Inference binary',
    ...binaryRequest('scaled', 'sums_input', values, rows.length),
    check: ({bytes, headers}) => {
      const start = Number(headers['inference-header-content-length']);
      const count = rows.length * OUTPUTS;
      const outputs = Array.from({length: count}, (_, i) => bytes.readFloatLE(start + 4 * i));
      return checkScaled(rows, inRows(outputs), versions);
    },
  };
}

/** An `infer` request with the binary extension both ways. */
export function binaryRequest(model: string, name: string, values: Float32Array, rows: number): Outgoing {
  const head = Buffer.from(
    JSON.stringify({
      parameters: {binary_data_output: true},
      inputs: [
        {
          ...{name, shape: [rows, values.length / rows], datatype: 'FP32'},
          parameters: {binary_data_size: values.byteLength},
        },
      ],
    }),
  );
  return {
    path: `/v2/models/${model}/infer`,
    headers: {'inference-header-content-length': String(head.length)},
    body: Buffer.concat([head, Buffer.from(values.buffer)]),
  };
}

function named(random: Random): Question {
  const instances = Array.from({length: rowsOf(random)}, () => ({
    a: eighths(random, 2),
    b: [Math.floor(random() * 4)],
  }));
  const predictions = instances.map(({a, b}) => ({twice: a.map((x) => 2 * x), looked: [[10 * b[0]]]}));
  return {
    kind: 'TF Serving named',
    path: '/v1/models/named:predict',
    body: JSON.stringify({instances}),
    check: ({bytes}) => unlike(JSON.parse(bytes.toString()), {predictions}),
  };
}

function completion(random: Random, _versions: Versions, texts: readonly KnownText[]): Question {
  const {prompt, maxTokens, text} = texts[Math.floor(random() * texts.length)];
  return {
    kind: 'completion',
    path: '/v1/completions',
    body: JSON.stringify({model: 'tiny', prompt, max_tokens: maxTokens, temperature: 0}),
    check: ({bytes}) => unlike((json(bytes) as {choices: {text: string}[]}).choices[0].text, text),
  };
}

function streamed(random: Random, _versions: Versions, texts: readonly KnownText[]): Question {
  const {prompt, maxTokens, text} = texts[Math.floor(random() * texts.length)];
  return {
    kind: 'completion streamed',
    path: '/v1/completions',
    body: JSON.stringify({model: 'tiny', prompt, max_tokens: maxTokens, temperature: 0, stream: true}),
    check: ({bytes}) => {
      const events = bytes.toString().split('\n\n').slice(0, -1);
      const data = events.map((event) => event.slice('data: '.length));
      if (data.at(-1) !== '[DONE]') return brokenOff(data.at(-1));
      const chunks = data.slice(0, -1).map((line) => JSON.parse(line) as {choices: {text: string}[]});
      return unlike(chunks.map(({choices}) => choices[0].text).join(''), text);
    },
  };
}

/** Its status is out when the worker ends: the stream's last event is the 503. */
export const BROKEN_OFF = 'broken off';

function brokenOff(last = ''): string {
  return last.includes('"stream_broken"') ? BROKEN_OFF : `a stream ended with ${last.slice(0, 200)}`;
}

/** What probes, scrapers and the curious ask for. */
function looks(random: Random): Question {
  const paths = [
    '/healthz',
    '/v2',
    '/v2/health/live',
    '/v1/models',
    '/v1/models/scaled',
    '/v1/models/named/metadata',
    '/v2/models/named',
    '/metrics',
  ];
  const path = paths[Math.floor(random() * paths.length)];
  return {
    kind: 'metadata and metrics',
    method: 'GET',
    path,
    check: ({bytes}) => (bytes.length > 0 ? null : 'empty'),
  };
}

/** All outputs must be those of one version that may answer. */
function checkScaled(
  rows: readonly Row[],
  outputs: readonly (readonly number[])[],
  versions: Versions,
): string | null {
  if (outputs.length !== rows.length) return `${outputs.length} rows for ${rows.length}`;
  const version = outputs[0][0] / rows[0].sum;
  if (!(version >= versions.lowest && version <= versions.highest())) {
    return `version ${version} answered; ${versions.lowest} to ${versions.highest()} may`;
  }
  const expected = rows.map(({sum}) => Array.from({length: OUTPUTS}, (_, j) => version * (j + 1) * sum));
  return unlike(outputs, expected);
}

function inRows(values: readonly number[]): number[][] {
  return Array.from({length: values.length / OUTPUTS}, (_, i) =>
    values.slice(i * OUTPUTS, (i + 1) * OUTPUTS),
  );
}

function unlike(got: unknown, expected: unknown): string | null {
  const [a, b] = [JSON.stringify(got), JSON.stringify(expected)];
  return a === b ? null : `got ${a.slice(0, 200)}; right is ${b.slice(0, 200)}`;
}

function json(bytes: Buffer): unknown {
  return JSON.parse(bytes.toString());
}
