/** @file Where the server listens, and what is said if it cannot. */
import type {FastifyInstance} from 'fastify';
import {SparsifyError} from '../errors.js';
import {TEXT, checkOptions, count, type OptionRules} from '../option-rules.js';

export interface ListenOptions {
  /** 0 for any that is free. Default 8501, TensorFlow Serving's. */
  readonly port?: number;
  /** Default 127.0.0.1: this machine only. */
  readonly host?: string;
}

/** This machine only. */
export const DEFAULT_HOST = '127.0.0.1';

const RULES: OptionRules<ListenOptions> = {port: count(0), host: TEXT};

/** What to do, by the system's code. */
const REMEDIES: Readonly<Record<string, string>> = {
  EADDRINUSE:
    'something else listens there already: stop it, or take another port, or 0 for any that is free',
  EACCES: 'this user may not listen there: take a port from 1024 on',
  EADDRNOTAVAIL: 'this machine has no such address: 127.0.0.1 is itself alone, 0.0.0.0 all its addresses',
  ENOTFOUND: 'no address is known for that name: 127.0.0.1 is this machine alone, 0.0.0.0 all its addresses',
};

/**
 * Starts to listen.
 *
 * @returns The address, as `http://127.0.0.1:8501`.
 * @throws {SparsifyError} `cannot-listen` with `host` and `port`.
 */
export async function listen(fastify: FastifyInstance, options: ListenOptions = {}): Promise<string> {
  checkOptions('listen', options, RULES);
  const {port = 8501, host = DEFAULT_HOST} = options;
  try {
    return await fastify.listen({port, host});
  } catch (cause) {
    const {code = '', message} = cause as NodeJS.ErrnoException;
    const why = REMEDIES[code] ?? message;
    throw new SparsifyError(
      'cannot-listen',
      `cannot listen at ${host}:${port}: ${why}`,
      {host, port},
      {cause},
    );
  }
}
