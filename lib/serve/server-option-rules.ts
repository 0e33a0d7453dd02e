/** @file What the options of a server are called and may hold; their ranges are checked in server-options.ts. */
import {
  CHECKED_LATER,
  FLAG,
  NUMBER,
  OBJECT,
  POSITIVE,
  TEXT,
  TEXTS,
  listOf,
  nested,
  oneOf,
  required,
  type OptionRules,
} from '../option-rules.js';
import type {HttpOptions, QueueOptions, ServedModel, ServerOptions, WorkerOptions} from './server-options.js';

const MODEL: OptionRules<ServedModel> = {
  name: required("{name: 'digits'}", TEXT),
  path: required("{path: 'models/digits'}", TEXT),
  versions: oneOf(['latest', 'all']),
  labels: OBJECT,
};

const QUEUE: OptionRules<QueueOptions> = {
  maxBatch: NUMBER,
  maxDelayMs: NUMBER,
  maxQueue: NUMBER,
  timeoutMs: NUMBER,
};

const POOL: OptionRules<WorkerOptions> = {
  workers: NUMBER,
  backend: TEXT,
  hangMs: NUMBER,
  maxSequences: NUMBER,
  cacheBytes: NUMBER,
};

const HTTP: OptionRules<HttpOptions> = {
  apiKeys: TEXTS,
  noKey: FLAG,
  allowedHosts: TEXTS,
  bodyLimit: NUMBER,
  headersTimeoutMs: NUMBER,
  cors: TEXTS,
  tls: nested<NonNullable<HttpOptions['tls']>>({
    cert: required('{cert: readFileSync(path)}', CHECKED_LATER),
    key: required('{key: readFileSync(path)}', CHECKED_LATER),
  }),
  log: oneOf(['debug', 'info', 'warn', 'error', false]),
};

export const SERVER_RULES: OptionRules<ServerOptions> = {
  models: required("{models: [{name: 'digits', path: 'models/digits'}]}", listOf(nested(MODEL))),
  queue: nested(QUEUE),
  pool: nested(POOL),
  http: nested(HTTP),
  pollMs: POSITIVE,
};
