/**
 * @file The worker process: loads models and computes with them, as the front asks over the channel. Started by
 * worker-process.ts with its settings as the only argument; ends when the channel does.
 */
import {Socket, type OnReadOpts, type SocketConstructorOpts} from 'node:net';
import * as tf from '@tensorflow/tfjs';
import {loadBackend} from '../../backend/load.js';
import {SparsifyError} from '../../errors.js';
import {sentError} from '../http-errors.js';
import {FrameReader, writeFrame} from '../frames.js';
import {
  CHANNEL_FD,
  type Calls,
  type FromWorker,
  type ToWorker,
  type WorkerHealth,
  type WorkerSettings,
} from '../messages.js';
import type {WireTensor} from '../tensors.js';
import {WorkerModel} from './worker-model.js';

const settings = JSON.parse(process.argv[2]) as WorkerSettings;
const models = new Map<string, WorkerModel>();
const running = new Map<number, AbortController>();
/** Generations by model, to be waited for before it is freed. */
const generations = new Map<string, Set<Promise<unknown>>>();

const reader = new FrameReader<ToWorker>(receive);
/** `onread` is missing in the types of the constructor's options. */
const channelOptions: SocketConstructorOpts & {readonly onread: OnReadOpts} = {
  ...{fd: CHANNEL_FD, readable: true, writable: true},
  onread: {
    buffer: () => reader.nextBuffer(),
    callback: (length, buffer) => {
      reader.read(buffer.subarray(0, length));
      return true;
    },
  },
};
const channel = new Socket(channelOptions);

function send(message: FromWorker): void {
  if (channel.writable) writeFrame(channel, message);
}

function modelOf(key: string): WorkerModel {
  const model = models.get(key);
  if (model !== undefined) return model;
  throw new SparsifyError('not-loaded', `the worker has not loaded ${key}`, {key});
}

async function answer(message: Exclude<ToWorker, {kind: 'cancel' | 'predict'}>): Promise<unknown> {
  switch (message.kind) {
    case 'load': {
      const model = await WorkerModel.load(message.path, settings);
      models.set(message.key, model);
      return model.info;
    }
    case 'unload':
      await Promise.allSettled([...(generations.get(message.key) ?? [])]);
      generations.delete(message.key);
      models.get(message.key)?.dispose();
      models.delete(message.key);
      return null;
    case 'generate': {
      const {generation} = modelOf(message.key);
      if (generation === null) {
        throw new SparsifyError('not-a-language-model', `${message.key} is no language model`);
      }
      const controller = new AbortController();
      running.set(message.id, controller);
      try {
        const onText = (text: string) => send({kind: 'text', id: message.id, text});
        const work = generation.generate(message.request, onText, controller.signal);
        const others = generations.get(message.key) ?? new Set();
        generations.set(message.key, others.add(work));
        return await work.finally(() => others.delete(work));
      } finally {
        running.delete(message.id);
      }
    }
    case 'ping':
      return health();
  }
}

function health(): WorkerHealth {
  let cacheBytes = 0;
  for (const {generation} of models.values()) cacheBytes += generation?.cacheBytes ?? 0;
  return {residentBytes: process.memoryUsage.rss(), tensors: tf.memory().numTensors, cacheBytes};
}

/** After the answer is out, so that nobody waits for it. */
async function reportSparsity(message: ToWorker): Promise<void> {
  if (message.kind !== 'predict' && message.kind !== 'generate') return;
  const inputs = message.kind === 'predict' ? message.tensors : null;
  const sparsity = await models.get(message.key)?.sparsity(inputs);
  if (sparsity !== null && sparsity !== undefined) send({kind: 'sparsity', key: message.key, sparsity});
}

function receive(message: ToWorker): void {
  if (message.kind === 'cancel') {
    running.get(message.id)?.abort(new SparsifyError('cancelled', 'the request was cancelled'));
    return;
  }
  const {id} = message;
  const answered =
    message.kind === 'predict'
      ? predict(message).then((tensors) => send({kind: 'tensors', id, tensors}))
      : answer(message).then((value) => send({kind: 'answer', id, value}));
  answered
    .catch((error: unknown) => send({kind: 'error', id, error: sentError(error)}))
    .then(() => reportSparsity(message))
    .catch((error: unknown) => console.error(error));
}

async function predict({key, tensors}: Calls['predict']['ask']): Promise<readonly WireTensor[]> {
  return modelOf(key).predict(tensors);
}

// Ctrl-C in a terminal reaches the whole process group: the front decides when its workers have nothing left to do.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});
// The front has gone, or closed it.
channel.on('error', () => process.exit()).on('close', () => process.exit());

const {notice} = await loadBackend({name: settings.backend ?? undefined});
if (notice !== undefined) console.error(notice);
send({kind: 'started'});
