/**
 * @file Calls of a worker, on the side of the page: any number at a time. Each ends with the worker's answer or error, with
 * the reason of its signal, or with the end of the worker: none waits for ever.
 */
import {BackendError, SparsifyError} from '../../errors.js';
import {CALLBACK, SIGNAL} from '../../option-rules.js';
import {readFromWorker, stamped, type Answer, type Arguments, type Method} from './messages.js';
import {receivedError} from './sent-error.js';
import {withSentScopes} from './sent-scopes.js';
import type {WorkerChannel} from './worker-channel.js';

type Callback = (value: unknown) => void;

interface PendingCall {
  readonly callbacks: ReadonlyMap<string, Callback>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
  /** Stops listening to the signal. */
  readonly leave: () => void;
}

/** The last argument of a call, if it is options, taken apart. */
interface TakenApart {
  readonly args: readonly unknown[];
  readonly callbacks: ReadonlyMap<string, Callback>;
  readonly signal: AbortSignal | undefined;
}

export class WorkerCalls {
  private readonly pending = new Map<number, PendingCall>();
  private lastId = 0;
  /** Why nothing can be called any more. */
  private end: SparsifyError | null = null;

  constructor(private readonly channel: WorkerChannel) {
    channel.listen({
      onMessage: (data) => this.receive(data),
      onLost: (error) => this.close(error),
    });
  }

  /**
   * Calls the worker.
   *
   * @param args Data, scopes, and as the last one perhaps options: their functions are called here while the worker works, and
   *   their signal ends the call at once.
   * @throws What the function throws in the worker; what a function of the options throws, which ends the call;
   *   {SparsifyError} `not-sendable` for an argument that is no data; the signal's reason; the error of `close`.
   */
  call<M extends Method>(method: M, ...args: Arguments<M>): Promise<Answer<M>> {
    return new Promise<Answer<M>>((resolve, reject) => {
      if (this.end !== null) throw this.end;
      const {args: sent, callbacks, signal} = takenApart(method, args);
      signal?.throwIfAborted();
      const id = ++this.lastId;
      try {
        const events = [...callbacks.keys()];
        this.channel.post(stamped({kind: 'call', id, method, args: sent.map(withSentScopes), events}));
      } catch (cause) {
        if (!(cause instanceof DOMException && cause.name === 'DataCloneError')) throw cause;
        throw new SparsifyError(
          'not-sendable',
          `an argument of ${method} cannot be sent to the worker: ${cause.message}; give plain data: text, numbers, arrays, ` +
            'scopes, files',
          {method},
          {cause},
        );
      }
      const abort = () => this.stop(id, signal!.reason);
      signal?.addEventListener('abort', abort, {once: true});
      const leave = () => signal?.removeEventListener('abort', abort);
      this.pending.set(id, {callbacks, resolve: (value) => resolve(value as Answer<M>), reject, leave});
    });
  }

  /**
   * Ends the worker. A second time changes nothing.
   *
   * @param error What all calls end with, those to come too.
   */
  close(error: SparsifyError): void {
    if (this.end !== null) return;
    this.end = error;
    this.channel.close();
    for (const id of [...this.pending.keys()]) this.take(id)?.reject(error);
  }

  private receive(data: unknown): void {
    const message = readFromWorker(data);
    if (message === 'foreign' || this.end !== null) return;
    if (message === 'mismatch') {
      this.close(
        new BackendError(
          'worker-mismatch',
          'the worker speaks another version of the protocol: the page and its worker are of different releases; reload the ' +
            'page without its cache, and serve both files from one build',
        ),
      );
      return;
    }
    switch (message.kind) {
      case 'started':
        return;
      case 'event': {
        try {
          this.pending.get(message.id)?.callbacks.get(message.name)?.(message.value);
        } catch (error) {
          this.stop(message.id, error);
        }
        return;
      }
      case 'answer':
        return this.take(message.id)?.resolve(message.value);
      case 'failed':
        return this.take(message.id)?.reject(receivedError(message.error));
    }
  }

  /** Ends a call here and in the worker; what the worker still says of it is not heard. */
  private stop(id: number, reason: unknown): void {
    const call = this.take(id);
    if (call === undefined) return;
    this.channel.post(stamped({kind: 'abort', id}));
    call.reject(reason);
  }

  private take(id: number): PendingCall | undefined {
    const call = this.pending.get(id);
    this.pending.delete(id);
    call?.leave();
    return call;
  }
}

function takenApart(method: string, args: readonly unknown[]): TakenApart {
  const options = args.at(-1);
  const none = {args, callbacks: new Map<string, Callback>(), signal: undefined};
  if (typeof options !== 'object' || options === null) return none;
  const prototype: unknown = Object.getPrototypeOf(options);
  if (prototype !== Object.prototype && prototype !== null) return none;
  const {signal, ...fields} = options as Record<string, unknown>;
  SIGNAL(signal, 'signal', method);
  const callbacks = new Map<string, Callback>();
  const data: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (!/^on[A-Z]/.test(name)) {
      data[name] = value;
      continue;
    }
    CALLBACK(value, name, method);
    if (value !== undefined) callbacks.set(name, value as Callback);
  }
  return {args: [...args.slice(0, -1), data], callbacks, signal: signal as AbortSignal | undefined};
}
