/** @file Starting the worker of a page, and noticing that it has ended or never came up. */
import {BackendError, type SparsifyError} from '../../errors.js';
import {readFromWorker, stamped, type ToWorker} from './messages.js';
import type {ChannelListener, WorkerChannel} from './worker-channel.js';

/**
 * Starts a module worker.
 *
 * @param worker A worker that is started already, or the URL of a copy of the file `tfjs-sparsify/language/worker`: for
 *   pages whose policy allows no workers from blobs. By default the text that comes with the package.
 * @throws {BackendError} `no-worker` if the browser has none or refuses.
 */
export async function startWorker(worker?: Worker | string | URL): Promise<WorkerChannel> {
  if (typeof Worker === 'undefined') {
    throw new BackendError(
      'no-worker',
      'there are no workers here: load language models in a page, or in Node by its own door',
    );
  }
  if (worker instanceof Worker) return new BrowserChannel(worker, null);
  try {
    if (worker !== undefined) return new BrowserChannel(new Worker(worker, {type: 'module'}), null);
    const {WORKER_TEXT} = await import('./worker-text.js'); // 1 MB: only when it is needed
    const url = URL.createObjectURL(new Blob([WORKER_TEXT], {type: 'text/javascript'}));
    return new BrowserChannel(new Worker(url, {type: 'module'}), url);
  } catch (cause) {
    throw notStarted(cause instanceof Error ? cause.message : String(cause), cause);
  }
}

class BrowserChannel implements WorkerChannel {
  private hasStarted = false;
  private isClosed = false;
  private listener: ChannelListener | null = null;
  /** Ends the wait for the end of the worker. */
  private readonly closing = new AbortController();

  /** @param blobUrl Of the worker's text, to be let go once it runs. */
  constructor(
    private readonly worker: Worker,
    private readonly blobUrl: string | null,
  ) {
    worker.addEventListener('message', ({data}) => this.receive(data));
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      this.lose(this.hasStarted ? lost(event.message) : notStarted(event.message));
    });
    worker.addEventListener('messageerror', () => this.lose(lost('a message could not be read')));
    this.post(stamped({kind: 'hello'}));
  }

  post(message: ToWorker): void {
    this.worker.postMessage(message);
  }

  listen(listener: ChannelListener): void {
    this.listener = listener;
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.closing.abort();
    this.worker.terminate();
    this.letGo();
  }

  private receive(data: unknown): void {
    const message = readFromWorker(data);
    if (typeof message === 'object' && message.kind === 'started') {
      this.hasStarted = true;
      this.letGo();
      if (message.lock !== null) this.waitForEnd(message.lock);
    }
    this.listener?.onMessage(data);
  }

  /** No event tells that a worker was ended by somebody or by the browser, but its locks are free then. */
  private waitForEnd(lock: string): void {
    navigator.locks
      .request(lock, {signal: this.closing.signal}, () => this.lose(lost('it has ended')))
      .catch(() => undefined); // closed before
  }

  private lose(error: SparsifyError): void {
    if (!this.isClosed) this.listener?.onLost(error);
  }

  private letGo(): void {
    if (this.blobUrl !== null) URL.revokeObjectURL(this.blobUrl);
  }
}

/** @param what Empty where the browser does not tell, as for a file that is missing or that a policy forbids. */
function notStarted(what: string | undefined, cause?: unknown): BackendError {
  const told = what === undefined || what === '' ? 'the browser does not tell why' : what;
  return new BackendError(
    'worker-not-started',
    `the worker of the language model did not start (${told}): a browser from 2023 on is needed; where the page has a ` +
      'Content-Security-Policy, allow "worker-src blob:", or give the option worker: the URL of a copy of ' +
      'tfjs-sparsify/language/worker on your own server',
    {},
    {cause},
  );
}

function lost(what: string | undefined): BackendError {
  return new BackendError(
    'worker-lost',
    `the worker of the language model is lost (${what ?? 'for an unknown reason'}): the browser may have been short of memory; load ` +
      'the model again, a smaller or an INT8 one if this happens again',
  );
}
