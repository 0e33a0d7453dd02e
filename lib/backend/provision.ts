/** @file The public functions that set up tfjs-node and tfjs-node-gpu; the steps are in lib/provision. */
import {BackendError} from '../errors.js';
import {CALLBACK, FLAG, TEXT, checkOptions, type OptionRules} from '../option-rules.js';
import type {ProvisionOptions, Provisioned} from '../provision/provisioned.js';
import {provision as provisionPackage} from '../provision/tfjs-node.js';
import {provisionGpu as provisionGpuPackage} from '../provision/tfjs-node-gpu.js';

const RULES: OptionRules<ProvisionOptions> = {packageFolder: TEXT, cache: TEXT, log: CALLBACK, force: FLAG};

/**
 * Installs the native part of tfjs-node: out of the per-user cache, by the package's own installer, or out of
 * the TensorFlow wheel with pip and a C++ compiler. Does nothing if it loads already.
 *
 * @param options By default a failure of the last hour is not taken as final: it is tried again.
 * @returns How tfjs-node came to load, and TensorFlow's version.
 * @throws BackendError `provisioning-failed`, with what would help in the text and in `data.help`.
 */
export async function provision(options: ProvisionOptions = {}): Promise<Provisioned> {
  checkOptions('provision', options, RULES);
  return orThrow('tfjs-node', await provisionPackage({force: true, ...options}));
}

/**
 * Installs the native part of tfjs-node-gpu: libtensorflow with CUDA out of the TensorFlow wheel, CUDA 12 of the system or
 * out of NVIDIA's wheels, and the CUDA kernels where there is nvcc. Does nothing if it computes on a GPU already.
 *
 * @param options As for {@link provision}.
 * @returns How tfjs-node-gpu came to compute on the GPU, and TensorFlow's version.
 * @throws BackendError `provisioning-failed`, with what would help in the text and in `data.help`.
 */
export async function provisionGpu(options: ProvisionOptions = {}): Promise<Provisioned> {
  checkOptions('provisionGpu', options, RULES);
  return orThrow('tfjs-node-gpu', await provisionGpuPackage({force: true, ...options}));
}

function orThrow(name: string, result: Provisioned): Provisioned {
  if (result.state === 'ready' || result.state === 'provisioned') return result;
  throw new BackendError(
    'provisioning-failed',
    `${name} could not be set up: ${result.reason}. What would help: ${result.help}`,
    {reason: result.reason, help: result.help},
  );
}
