/** @file The `tfjs-sparsify/serve` door: the server. */
export {ServeError} from './errors.js';
export type {HttpOptions, QueueOptions, ServedModel, ServerOptions, WorkerOptions} from './options.js';
export type {ListenOptions} from './listen.js';
export {createServer, type Server} from './server.js';
