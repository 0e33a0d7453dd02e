/** @file `tfjs-sparsify provision`: makes tfjs-node and tfjs-node-gpu work where their own installation fails. */
import {Command} from 'commander';
import {provision, provisionGpu} from '../../backend/provision.js';

const HELP = `
Example:
  $ npm install --ignore-scripts @tensorflow/tfjs-node
  $ npx tfjs-sparsify provision
  $ npm install --ignore-scripts @tensorflow/tfjs-node-gpu
  $ npx tfjs-sparsify provision --gpu

Tried in order: a native part that loads already; the user's cache; the package's own installer; the C library
out of the TensorFlow wheel, which needs Python 3 with pip, a C++ compiler, make, and 1.5 GB of disk while it
runs (0.9 GB stay). Steps are printed on stderr.

With --gpu: a package that computes on the GPU already; the user's cache; libtensorflow with CUDA out of the TensorFlow
wheel, and CUDA 12 with cuDNN 9 of the system if it has all of it, else out of NVIDIA's wheels (in all 2.8 GB to download,
6 GB of disk while it runs, 4.4 GB stay). Needs an NVIDIA GPU with driver 525 or newer, and for the sparse kernels nvcc. Wheels may
also lie in a folder: PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER.

Output of --json, one object:
  state       "ready" if it loaded already, "provisioned" if it does now
  how         "binding", "cache", "installer" or "wheel": what made it load
  tensorflow  TensorFlow's version
  native      {path} of the addon with the sparse kernels, or {reason} why there is none

Exit code: 0, or 1 if the package could not be set up, 2 on wrong use.`;

/** The command, to add to a program. */
export function provisionCommand(): Command {
  return new Command('provision')
    .description('set up tfjs-node or tfjs-node-gpu where their own installation fails')
    .option('--gpu', 'set up tfjs-node-gpu, for an NVIDIA GPU')
    .option('--json', 'print one JSON object')
    .addHelpText('after', HELP)
    .action(async ({gpu, json}: {gpu?: boolean; json?: boolean}) => {
      const setUp = gpu === true ? provisionGpu : provision;
      const name = gpu === true ? 'tfjs-node-gpu' : 'tfjs-node';
      const {state, how, tensorflow, native} = await setUp({log: (line) => console.error(line)});
      if (json === true) console.log(JSON.stringify({state, how, tensorflow, native}, null, 2));
      else if (state === 'ready') console.log(`${name} loads already, with TensorFlow ${tensorflow}`);
      else console.log(`${name} is set up, with TensorFlow ${tensorflow} (${how})`);
    });
}
