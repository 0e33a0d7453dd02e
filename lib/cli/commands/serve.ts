/** @file `tfjs-sparsify serve`: models over HTTP until a signal comes. */
import {readFileSync} from 'node:fs';
import {basename, dirname, extname, resolve} from 'node:path';
import {setFlagsFromString} from 'node:v8';
import {Command, InvalidArgumentError, Option} from 'commander';
import {SparsifyError} from '../../errors.js';
import {bareUrl} from '../../io/files/url-credentials.js';
import {createServer, type ServedModel} from '../../serve/index.js';
import {DEFAULT_BODY_LIMIT, DEFAULT_POOL, DEFAULT_QUEUE} from '../../serve/server-options.js';
import {backendOption, type BackendOptions} from '../backend-option.js';

const HELP = `
Example:
  $ tfjs-sparsify serve digits=models/digits --port 8501
  $ curl -d '{"instances": [[0, 0, ...]]}' http://127.0.0.1:8501/v1/models/digits:predict
  $ tfjs-sparsify serve chat=smollm2 --workers 2 --api-key "$KEY" --host 0.0.0.0

A PATH is what the other commands take as MODEL, or a folder with numbered versions (1/, 2/, ...): the latest is
served, and a new one takes over once it is loaded. NAME is the last part of PATH unless it is given.

Protocols: TensorFlow Serving REST (/v1/models/NAME:predict), Open Inference Protocol v2 (/v2/models/NAME/infer),
and for language models OpenAI's (/v1/chat/completions, /v1/completions). /metrics is for Prometheus; /healthz and
/readyz are for probes.

Without an API key only programs on this machine may ask, under its own names: --host beyond loopback wants a key or
--no-key, and web pages of other origins are refused unless --cors names them.

SIGTERM and Ctrl-C: no new requests, those that are there are answered, exit code 0; a second one ends it at once.
Exit code: 0, or 1 if a model cannot be loaded at the start, 2 on wrong use.`;

interface ServeOptions extends BackendOptions {
  readonly port: number;
  readonly host: string;
  readonly workers: number;
  readonly label: readonly Label[];
  readonly allVersions?: boolean;
  readonly maxBatch: number;
  readonly maxDelay: number;
  readonly maxQueue: number;
  readonly timeout: number;
  readonly hangTimeout: number;
  readonly maxSequences: number;
  readonly cache: number;
  readonly apiKey: readonly string[];
  readonly noKey?: boolean;
  readonly allowHost: readonly string[];
  readonly bodyLimit: number;
  readonly cors: readonly string[];
  readonly cert?: string;
  readonly key?: string;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error' | 'silent';
}

interface Label {
  readonly model: string;
  readonly label: string;
  readonly version: number;
}

const MIB = 1024 ** 2;
/**
 * How much the heap may grow before all of it is collected, in percent. V8 counts the bodies of requests, which lie outside
 * of it: by its own measure it would mark 17 MB of living objects twice a second for 100 KB a request, and with this one
 * collects the young ones alone, in a millisecond. The heap of this process stays small.
 */
const HEAP_GROWTH = 400;
const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'];

/** The command, to add to a program. */
export function serveCommand(): Command {
  const [queue, pool] = [DEFAULT_QUEUE, DEFAULT_POOL];
  return new Command('serve')
    .description('serve models over HTTP')
    .argument('<[NAME=]PATH...>', 'models to serve')
    .option('--port <N>', 'port; 0 for any that is free', wholeNumber(0), 8501)
    .option('--host <ADDRESS>', 'address to listen at; 0.0.0.0 for all', '127.0.0.1')
    .option('--workers <N>', 'processes that compute; each loads every model', wholeNumber(1), pool.workers)
    .option('--label <MODEL:LABEL=VERSION>', 'a name for a version; may be repeated', collectLabel, [])
    .option('--all-versions', 'serve every version of a folder, not the latest alone')
    .option('--max-batch <ROWS>', 'rows that are computed together at most', wholeNumber(1), queue.maxBatch)
    .option(
      '--max-delay <MS>',
      'how long a request waits for others to join it',
      wholeNumber(0),
      queue.maxDelayMs,
    )
    .option(
      '--max-queue <N>',
      'requests that wait for a model; more are answered 429',
      wholeNumber(1),
      queue.maxQueue,
    )
    .option('--timeout <MS>', 'after it a request is answered 504', wholeNumber(1), queue.timeoutMs)
    .option('--hang-timeout <MS>', 'a worker that does not react is replaced', wholeNumber(1), pool.hangMs)
    .option(
      '--max-sequences <N>',
      'generations that a worker computes in turns',
      wholeNumber(1),
      pool.maxSequences,
    )
    .option(
      '--cache <MIB>',
      "memory for a language model's keys and values in a worker",
      wholeNumber(1),
      pool.cacheBytes / MIB,
    )
    .option(
      '--api-key <KEY>',
      'a key that requests must bring; may be repeated; see SPARSIFY_API_KEYS',
      collect,
      [],
    )
    .addOption(noKeyOption())
    .option(
      '--allow-host <NAME>',
      'a further name that clients without a key may use, or *; may be repeated',
      collect,
      [],
    )
    .option('--body-limit <MIB>', 'largest body of a request', wholeNumber(1), DEFAULT_BODY_LIMIT / MIB)
    .option('--cors <ORIGIN>', 'an origin whose pages may ask, or *; may be repeated', collect, [])
    .option('--cert <FILE>', 'certificate for https, PEM; with --key')
    .option('--key <FILE>', 'private key for https, PEM')
    .option('--log-level <LEVEL>', `of the JSON log on stdout: ${LOG_LEVELS.join(', ')}`, logLevel, 'info')
    .addOption(backendOption())
    .addHelpText('after', HELP)
    .action(run);
}

async function run(models: readonly string[], options: ServeOptions): Promise<void> {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH}`);
  const server = await createServer({
    models: models.map((text) => parseModel(text, options)),
    queue: {
      maxBatch: options.maxBatch,
      maxDelayMs: options.maxDelay,
      maxQueue: options.maxQueue,
      timeoutMs: options.timeout,
    },
    pool: {
      workers: options.workers,
      hangMs: options.hangTimeout,
      maxSequences: options.maxSequences,
      cacheBytes: options.cache * MIB,
      ...(options.backend === undefined ? {} : {backend: options.backend}),
    },
    http: {
      apiKeys: [...options.apiKey, ...keysOfEnvironment()],
      noKey: options.noKey === true,
      allowedHosts: options.allowHost,
      bodyLimit: options.bodyLimit * MIB,
      cors: options.cors,
      log: options.logLevel === 'silent' ? false : options.logLevel,
      ...tlsOf(options),
    },
  });
  let stopping: Promise<void> | undefined;
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        if (stopping !== undefined) process.exit(1);
        stopping = server.close().then(resolve);
      });
    }
  });
  try {
    const address = await server.listen({port: options.port, host: options.host});
    console.error(`listening at ${address}`);
    await Promise.race([server.ready(), stopped]);
    if (stopping === undefined) console.error('ready');
    await stopped;
  } finally {
    await server.close();
  }
}

/** Not the opposite of `--key`, which is for https, as commander would have it. */
function noKeyOption(): Option {
  const option = new Option('--no-key', 'other machines may ask although there is no API key');
  option.negate = false;
  return option;
}

/** `NAME=PATH`, or a path whose last part is the name. */
function parseModel(text: string, {allVersions, label}: ServeOptions): ServedModel {
  const [, given, path] = /^(?:([A-Za-z0-9][\w.-]*)=)?(.+)$/s.exec(text) ?? [null, undefined, text];
  const name = given ?? nameOf(path);
  const own = label.filter(({model}) => model === name).map(({label, version}) => [label, version] as const);
  return {
    name,
    path,
    versions: allVersions === true ? 'all' : 'latest',
    ...(own.length === 0 ? {} : {labels: Object.fromEntries(own)}),
  };
}

function nameOf(path: string): string {
  const full = /^[a-z]+:\/\//i.test(path) ? bareUrl(path) : resolve(path);
  const last = basename(full) === 'model.json' ? basename(dirname(full)) : basename(full, extname(full));
  return last.replaceAll(/[^\w.-]/g, '_');
}

function keysOfEnvironment(): string[] {
  const keys = process.env.SPARSIFY_API_KEYS ?? '';
  return keys.split(/[\s,]+/).filter((key) => key !== '');
}

function tlsOf({cert, key}: ServeOptions): {tls?: {cert: Buffer; key: Buffer}} {
  if (cert === undefined && key === undefined) return {};
  if (cert === undefined || key === undefined)
    throw new SparsifyError('bad-option', '--cert and --key go together: give both, or neither');
  return {tls: {cert: readFileSync(cert), key: readFileSync(key)}};
}

function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    if (/^\d{1,12}$/.test(text) && Number(text) >= least) return Number(text);
    throw new InvalidArgumentError(`It must be a whole number of ${least} or more.`);
  };
}

function logLevel(text: string): string {
  if (LOG_LEVELS.includes(text)) return text;
  throw new InvalidArgumentError(`It must be one of ${LOG_LEVELS.join(', ')}.`);
}

function collect(text: string, before: readonly string[]): string[] {
  return [...before, text];
}

function collectLabel(text: string, before: readonly Label[]): Label[] {
  const [, model, label, version] = /^([\w.-]+):([\w.-]+)=(\d{1,15})$/.exec(text) ?? [];
  if (version === undefined)
    throw new InvalidArgumentError("Write MODEL:LABEL=VERSION, as in 'digits:stable=1'.");
  return [...before, {model, label, version: Number(version)}];
}
