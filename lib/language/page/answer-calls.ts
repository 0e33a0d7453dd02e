/** @file Calls of a worker, on the side of the worker: each is made, and its events and its end are sent back. */
import {SparsifyError} from '../../errors.js';
import {isObject} from '../../plain-object.js';
import {
  readToWorker,
  stamped,
  type Answer,
  type Arguments,
  type FromWorker,
  type Method,
  type ToWorker,
} from './messages.js';
import {sentError} from './sent-error.js';
import {withScopes} from './sent-scopes.js';

/** What is called, by name. The last argument has `signal` and the callbacks of the page, if it is options. */
export type Handlers = {
  readonly [M in Method]: (...args: Arguments<M>) => Answer<M> | Promise<Answer<M>>;
};

export type Post = (message: FromWorker, transfer: Transferable[]) => void;

/**
 * Makes what answers the messages of one page.
 *
 * @param post Sends to the page.
 * @param lock Name of a lock that is held as long as the worker lives; null where there are none.
 * @returns To be given all that arrives.
 */
export function answerCalls(
  handlers: Handlers,
  post: Post,
  lock: Promise<string | null>,
): (data: unknown) => void {
  const running = new Map<number, AbortController>();

  const answer = async ({id, method, args, events}: ToWorker & {kind: 'call'}): Promise<void> => {
    const controller = new AbortController();
    running.set(id, controller);
    const send = (message: FromWorker, transfer: Transferable[] = []) => {
      if (!controller.signal.aborted) post(stamped(message), transfer);
    };
    try {
      const callbacks = Object.fromEntries(
        events.map((name) => [name, (value: unknown) => send({kind: 'event', id, name, value})]),
      );
      const given = args.map(withScopes);
      const last = given.at(-1);
      if (isObject(last) && Object.getPrototypeOf(last) === Object.prototype) {
        given[given.length - 1] = {...last, ...callbacks, ...signalFor(method, controller.signal)};
      }
      const handler = handlers[method] as (...args: unknown[]) => unknown;
      const value = await handler(...given);
      send({kind: 'answer', id, value}, value instanceof Float32Array ? [value.buffer as ArrayBuffer] : []);
    } catch (error) {
      send({kind: 'failed', id, error: sentError(error)});
    } finally {
      running.delete(id);
    }
  };

  return (data) => {
    const message = readToWorker(data);
    switch (message) {
      case 'foreign':
        return;
      case 'mismatch':
        post(stamped({kind: 'started', lock: null}), []); // by which the page sees that it is of another release
        return;
      default:
        break;
    }
    switch (message.kind) {
      case 'hello':
        void lock.then((lock) => post(stamped({kind: 'started', lock}), []));
        return;
      case 'call':
        void answer(message);
        return;
      case 'abort':
        running.get(message.id)?.abort(new SparsifyError('cancelled', 'the page has ended the call'));
    }
  };
}

/** The functions that are done before a message could be read take no signal. */
const WITHOUT_SIGNAL: ReadonlySet<Method> = new Set(['retarget', 'encode', 'decode', 'encodePrompt']);

function signalFor(method: Method, signal: AbortSignal): {signal?: AbortSignal} {
  return WITHOUT_SIGNAL.has(method) ? {} : {signal};
}
