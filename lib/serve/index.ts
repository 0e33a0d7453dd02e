/** @file The `tfjs-sparsify/serve` door: the server. */
export {ServeError} from './errors.js';
export type {HttpOptions, QueueOptions, ServedModel, ServerOptions, WorkerOptions} from './options.js';
export {createServer, type ListenOptions, type Server} from './server.js';
