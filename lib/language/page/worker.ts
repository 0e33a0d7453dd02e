/**
 * @file The worker of a page: holds one language model and answers the page's calls. `npm run build` bundles this file with
 * all that it imports; nothing else imports it.
 */
import {answerCalls} from './answer-calls.js';
import {hostLanguageModel} from './hosted-model.js';
import {openInWorker} from './open-in-worker.js';
import {startBackend} from './worker-backend.js';

/** Held as long as the worker lives: by that the page notices its end. */
async function heldLock(): Promise<string | null> {
  if (navigator.locks === undefined) return null; // the page was not loaded over https
  const name = `tfjs-sparsify worker ${crypto.randomUUID()}`;
  await new Promise<void>((held) => {
    void navigator.locks.request(name, () => {
      held();
      return new Promise(() => {}); // for ever
    });
  });
  return name;
}

/** The types of a page are used for this file, where `postMessage` takes an origin. */
const scope = globalThis as unknown as {
  postMessage(message: unknown, transfer: Transferable[]): void;
  onmessage: (event: MessageEvent) => void;
};

const answer = answerCalls(
  hostLanguageModel({startBackend, open: openInWorker}),
  (message, transfer) => scope.postMessage(message, transfer),
  heldLock().catch(() => null),
);
scope.onmessage = ({data}) => answer(data);
