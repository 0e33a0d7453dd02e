/** @file The native backend: set up once; without it the tasks go on with a slower one. */
import {findNvidia} from '../../lib/provision/nvidia/nvidia.js';
import {provisionGpu} from '../../lib/provision/tfjs-node-gpu.js';
import {provision} from '../../lib/provision/tfjs-node.js';
import {installGpuPackage} from './gpu-package.js';
import {inRoot, say} from './repository.mjs';

/** Makes tfjs-node loadable, or says in one line why not and what would help. */
export async function ensureBackend(): Promise<void> {
  const packageFolder = inRoot('node_modules', '@tensorflow', 'tfjs-node');
  const {state, reason, help} = await provision({packageFolder, log: say});
  if (state === 'unavailable' || state === 'off') {
    say(
      `going on with the wasm backend, since tfjs-node is unavailable: ${reason}. What would help: ${help}`,
    );
  }
}

/**
 * Installs tfjs-node-gpu and makes it compute on the GPU, where there is one; the tasks for GPUs say themselves what is
 * missing. Elsewhere nothing is installed: every start would look for the GPU and say that there is none.
 */
export async function ensureGpu(): Promise<void> {
  const {reason} = await findNvidia();
  if (reason !== '') return;
  if (process.env.TFJS_SPARSIFY_PROVISION !== 'off') await installGpuPackage();
  await provisionGpu({log: say});
}
