/** @file Both ends of a page's protocol in one process, joined by ports that carry what a worker's messages carry. */
import * as tf from '@tensorflow/tfjs';
import {answerCalls, type Handlers} from '../../../lib/language/page/answer-calls.js';
import {hostLanguageModel} from '../../../lib/language/page/hosted-model.js';
import {WorkerCalls} from '../../../lib/language/page/worker-calls.js';
import type {ChannelListener} from '../../../lib/language/page/worker-channel.js';
import {loadTiny, loadTinyWithoutTokenizer} from './tiny-language-models.js';

/** The page's side, and what stands on the other one. */
export interface Connected {
  readonly calls: WorkerCalls;
  /** What the page is told, as a worker could tell anything. */
  readonly tell: (data: unknown) => void;
  /** What reaches the worker, message by message. */
  readonly received: unknown[];
  /** Whether the page has ended the worker. */
  isClosed(): boolean;
  /** Ends the ports. */
  end(): void;
}

/** Handlers of a tiny model, `source` says which: `tiny`, or `without-tokenizer`. */
export function tinyHandlers(): Handlers {
  return hostLanguageModel({
    startBackend: () => Promise.resolve({name: tf.getBackend(), threads: 1, why: 'as Node has it'}),
    open: async (source) => (source === 'tiny' ? loadTiny() : loadTinyWithoutTokenizer()),
  });
}

export function connect(handlers: Handlers): Connected {
  const {port1, port2} = new MessageChannel();
  const received: unknown[] = [];
  let listener: ChannelListener;
  let isClosed = false;
  const answer = answerCalls(
    handlers,
    (message, transfer) => port2.postMessage(message, transfer),
    Promise.resolve(null),
  );
  port2.onmessage = ({data}) => {
    received.push(data);
    answer(data);
  };
  // A spec that fails leaves them open, which must not keep the process.
  for (const port of [port1, port2]) (port as unknown as {unref(): void}).unref();
  const calls = new WorkerCalls({
    post: (message) => port1.postMessage(message),
    listen(given) {
      listener = given;
      port1.onmessage = ({data}) => listener.onMessage(data);
    },
    close: () => (isClosed = true),
  });
  return {
    calls,
    tell: (data) => port2.postMessage(data),
    received,
    isClosed: () => isClosed,
    end() {
      port1.close();
      port2.close();
    },
  };
}

/** What a call fails with. */
export async function failureOf(call: Promise<unknown>): Promise<unknown> {
  try {
    await call;
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}
