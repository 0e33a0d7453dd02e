/**
 * @file What HTTP costs: the digits model asked over loopback, beside `model.predict` of the same batches in a loop, in
 * turns, and the latencies at a part of the rate that saturates.
 */
import {fileURLToPath} from 'node:url';
import * as tf from '@tensorflow/tfjs';
import {loadBackend} from '../../lib/backend/load.js';
import {median} from '../../lib/eval/latency.js';
import {loadLayersModel} from '../../lib/io/model/model-files.js';
import {seededRandom, type Random} from '../../lib/stats/seeded-random.js';
import {Client, type Outgoing} from './client.js';
import {quantile} from './latencies.js';
import {WIDTH} from './models.js';
import {binaryRequest} from './questions.js';
import {ServerProcess} from './server-process.js';

export interface ThroughputOptions {
  /** Rows of a request, and of a `predict`. */
  readonly batch: number;
  readonly rounds: number;
  /** Of one way in one round. */
  readonly seconds: number;
}

export interface ThroughputReport {
  readonly batch: number;
  /** Rows a second, medians over the rounds. */
  readonly predict: number;
  readonly binary: number;
  readonly json: number;
  /** Medians of what each round gave. */
  readonly binaryShare: number;
  readonly jsonShare: number;
  /** At 70 % of the rate of `binary`: milliseconds from when a request was due. */
  readonly steady: {readonly requests: number; readonly p50: number; readonly p99: number};
}

const DIGITS = fileURLToPath(new URL('../../models/digits', import.meta.url));
/** Enough to keep front and worker busy: two batches in the worker, the others on their way. */
const CONNECTIONS = 4;
const STEADY_SHARE = 0.7;
const STEADY_SECONDS = 20;
/** Reads and grey values have few digits, as pixels of 8 bits have. */
const LEVELS = 256;

/** Measures with nothing else running; the server has one worker. */
export async function throughput({batch, rounds, seconds}: ThroughputOptions): Promise<ThroughputReport> {
  await loadBackend();
  const model = await loadLayersModel(DIGITS);
  const server = await ServerProcess.start([`digits=${DIGITS}`, '--max-batch', String(batch)]);
  const client = new Client(server.url, CONNECTIONS);
  try {
    const random = seededRandom(1);
    const pixels = Float32Array.from(
      {length: batch * WIDTH},
      () => Math.floor(random() * LEVELS) / (LEVELS - 1),
    );
    const [{name}] = model.inputs;
    const binary = binaryRequest('digits', nameOf(name), pixels, batch);
    const json = jsonRequest(pixels, batch);
    const samples = {predict: [] as number[], binary: [] as number[], json: [] as number[]};
    for (let round = 0; round <= rounds; round++) {
      const predicted = await perSecond(seconds, 1, () => predictOnce(model, pixels, batch));
      const overBinary = await perSecond(seconds, CONNECTIONS, () => answered(client, binary));
      const overJson = await perSecond(seconds, CONNECTIONS, () => answered(client, json));
      if (round === 0) continue; // warm-up
      samples.predict.push(predicted);
      samples.binary.push(overBinary);
      samples.json.push(overJson);
    }
    const share = (way: readonly number[]) => median(way.map((rate, i) => rate / samples.predict[i]));
    const steady = await atRate(STEADY_SHARE * median(samples.binary), random, () =>
      answered(client, binary),
    );
    return {
      batch,
      predict: batch * median(samples.predict),
      binary: batch * median(samples.binary),
      json: batch * median(samples.json),
      binaryShare: share(samples.binary),
      jsonShare: share(samples.json),
      steady,
    };
  } finally {
    client.close();
    model.dispose();
    await server.stop();
  }
}

/** A symbolic tensor is named after its layer, with what TensorFlow.js appends. */
function nameOf(tensor: string): string {
  return tensor.split('/', 1)[0];
}

function jsonRequest(pixels: Float32Array, batch: number): Outgoing {
  const rows = Array.from({length: batch}, (_, row) =>
    Array.from(pixels.subarray(row * WIDTH, (row + 1) * WIDTH), (pixel) => Math.round(pixel * 1e4) / 1e4),
  );
  return {path: '/v1/models/digits:predict', body: JSON.stringify({instances: rows})};
}

async function predictOnce(model: tf.LayersModel, pixels: Float32Array, batch: number): Promise<void> {
  const input = tf.tensor2d(pixels, [batch, WIDTH]);
  const output = model.predict(input, {batchSize: batch}) as tf.Tensor;
  await output.data();
  tf.dispose([input, output]);
}

async function answered(client: Client, outgoing: Outgoing): Promise<void> {
  const {status, bytes} = await client.ask(outgoing);
  if (status !== 200) throw new Error(`answered ${status}: ${bytes.toString().slice(0, 200)}`);
}

/** How often a second `work` can be done, so many at a time. */
async function perSecond(seconds: number, atATime: number, work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  const end = start + 1000 * seconds;
  let count = 0;
  await Promise.all(
    Array.from({length: atATime}, async () => {
      while (performance.now() < end) {
        await work();
        count++;
      }
    }),
  );
  return (1000 * count) / (performance.now() - start);
}

/** Latencies at a constant rate, each from when it was due; every connection has its own beat. */
async function atRate(
  perSecond: number,
  random: Random,
  work: () => Promise<void>,
): Promise<ThroughputReport['steady']> {
  const interval = (1000 * CONNECTIONS) / perSecond;
  const start = performance.now();
  const latencies: number[] = [];
  await Promise.all(
    Array.from({length: CONNECTIONS}, async () => {
      const running: Promise<void>[] = [];
      const first = start + random() * interval;
      for (let due = first; due < start + 1000 * STEADY_SECONDS; due += interval) {
        await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
        running.push(work().then(() => void latencies.push(performance.now() - due)));
      }
      await Promise.all(running);
    }),
  );
  return {requests: latencies.length, p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99)};
}
