/** @file `tfjs-sparsify provision`: makes tfjs-node load where its own installation fails. */
import {Command} from 'commander';
import {provision} from '../../backend/provision.js';

const HELP = `
Example:
  $ npm install --ignore-scripts @tensorflow/tfjs-node
  $ npx tfjs-sparsify provision

Tried in order: a native part that loads already; the user's cache; the package's own installer; the C library
out of the TensorFlow wheel, which needs Python 3 with pip, a C++ compiler, make, and 1.5 GB of disk while it
runs (0.9 GB stay). Steps are printed on stderr.

Output of --json, one object:
  state       "ready" if it loaded already, "provisioned" if it does now
  how         "binding", "cache", "installer" or "wheel": what made it load
  tensorflow  TensorFlow's version
  native      {path} of the addon with the sparse kernels, or {reason} why there is none

Exit code: 0, or 1 if tfjs-node could not be set up, 2 on wrong use.`;

/** The command, to add to a program. */
export function provisionCommand(): Command {
  return new Command('provision')
    .description('set up tfjs-node, the native backend, where its own installation fails')
    .option('--json', 'print one JSON object')
    .addHelpText('after', HELP)
    .action(async ({json}: {json?: boolean}) => {
      const {state, how, tensorflow, native} = await provision({log: (line) => console.error(line)});
      if (json === true) console.log(JSON.stringify({state, how, tensorflow, native}, null, 2));
      else if (state === 'ready') console.log(`tfjs-node loads already, with TensorFlow ${tensorflow}`);
      else console.log(`tfjs-node is set up, with TensorFlow ${tensorflow} (${how})`);
    });
}
