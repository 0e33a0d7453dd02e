/** @file The native backend: set up once; without it the tasks go on with a slower one. */
import {provision, provisionGpu} from '../provision/index.mjs';
import {inRoot, say} from './repository.mjs';

/** Makes tfjs-node loadable, or says in one line why not and what would help. */
export async function ensureBackend() {
  const packageFolder = inRoot('node_modules', '@tensorflow', 'tfjs-node');
  const {state, reason, help} = await provision({packageFolder, log: say});
  if (state === 'unavailable' || state === 'off') {
    say(
      `going on with the wasm backend, since tfjs-node is unavailable: ${reason}. What would help: ${help}`,
    );
  }
}

/** Makes tfjs-node-gpu compute on the GPU where both are there; the tasks for GPUs say themselves what is missing. */
export async function ensureGpu() {
  await provisionGpu({log: say});
}
