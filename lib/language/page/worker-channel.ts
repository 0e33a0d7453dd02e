/** @file The way to a worker, as far as calls need it: a `Worker` of a browser has it, and so has any pair of ports. */
import type {SparsifyError} from '../../errors.js';
import type {ToWorker} from './messages.js';

export interface ChannelListener {
  /** Given all that arrives. */
  readonly onMessage: (data: unknown) => void;
  /** Told once if nothing will arrive any more. */
  readonly onLost: (error: SparsifyError) => void;
}

export interface WorkerChannel {
  /** @throws {DOMException} `DataCloneError` if the message holds what cannot be sent. */
  post(message: ToWorker): void;
  listen(listener: ChannelListener): void;
  /** Ends the worker. */
  close(): void;
}
