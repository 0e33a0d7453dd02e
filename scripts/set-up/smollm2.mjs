/** @file The real language model of specs, demo and benchmarks: fetched once, and no network is needed after that. */
import {cacheFolder} from '../provision/cache.mjs';
import {recentFailure, rememberFailure} from '../provision/failures.mjs';
import {SMOLLM2, fetchSmollm2, findSmollm2} from '../provision/smollm2.mjs';
import {say} from './repository.mjs';

/** Fetches SmolLM2 unless it is in the cache, or says in one line why not; what needs it then says so itself. */
export async function ensureSmollm2() {
  const cache = cacheFolder();
  if (findSmollm2(cache) !== undefined) return;
  try {
    if (process.env.TFJS_SPARSIFY_PROVISION === 'off') throw new Error('TFJS_SPARSIFY_PROVISION=off');
    const failure = recentFailure(cache, SMOLLM2.member);
    if (failure !== undefined)
      throw Object.assign(new Error(failure.reason), {help: failure.help, again: true});
    await fetchSmollm2({cache, log: say});
  } catch (error) {
    const {message, help, again} = /** @type {Error & {help?: string, again?: boolean}} */ (error);
    if (!again && help !== undefined) rememberFailure(cache, SMOLLM2.member, message, help);
    say(`going on without the model SmolLM2: ${message}${help ? `. What would help: ${help}` : ''}`);
  }
}
