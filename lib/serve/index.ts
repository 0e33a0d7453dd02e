/** @file The `tfjs-sparsify/serve` door: the server. */
export {ServeError} from './http-errors.js';
export type {HttpOptions, QueueOptions, ServedModel, ServerOptions, WorkerOptions} from './server-options.js';
export type {ListenOptions} from './listen.js';
export {createServer, type Server} from './server.js';
