/** @file `tfjs-sparsify import`: a published checkpoint becomes a tf.LayersModel on disk. */
import {Command, Option} from 'commander';
import {READ_FORMATS, type ReadFormat} from '../../language/index.js';
import {checkSavePath} from '../../io/model/model-files.js';
import {inspect} from '../../model/inspect.js';
import {interruptible} from '../interrupt.js';
import {describeSaved, stepsFrom} from '../write-model-card.js';
import {backendOption, openLanguageModel, type BackendOptions} from '../model.js';
import {jsonOption} from '../shared-options.js';
import {knownOf} from '../report-option.js';

const HELP = `
Example:
  $ tfjs-sparsify import SmolLM2-135M-Instruct.Q4_1.gguf --out smollm2

The folder gets a model.json with the weights, the configuration and the tokenizer, and a model card. Every command takes
checkpoints directly as well: import saves reading and converting them each time.
What a GGUF file holds in Q4_0, Q4_1 or Q4_K stays 4 bits, and what such a file holds in 5 to 8 bits becomes INT8; all other weights are
float32. --weights int8 makes all matrices INT8, --weights float32 none.
Architectures: llama, mistral, mixtral, qwen2, qwen3, phi3, gemma. Safetensors in F32, F16 or BF16; GGUF in those and
Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K.

Output of --json, one object:
  out        the folder
  config     architecture and sizes
  tokenizer  whether the checkpoint had one
  weights    how many numbers the model has
  dense      how many Dense layers can be sparsified

Exit code: 0, or 1 if the run failed, 2 on wrong use, 130 after Ctrl-C.`;

interface ImportOptions extends BackendOptions {
  readonly out: string;
  readonly weights: ReadFormat;
  readonly json?: boolean;
}

/** The command, to add to a program. */
export function importCommand(): Command {
  return new Command('import')
    .description('make a tf.LayersModel of a Llama-family checkpoint')
    .argument('<SOURCE>', 'a GGUF file, or a Hugging Face folder with config.json and safetensors')
    .requiredOption('-o, --out <DIR>', 'folder for the model; an older model in it is replaced')
    .addOption(
      new Option(
        '-w, --weights <FORMAT>',
        'what the weights become: 4 bits where the file has them, INT8, or float32',
      )
        .choices([...READ_FORMATS])
        .default('keep'),
    )
    .addOption(backendOption())
    .addOption(jsonOption())
    .addHelpText('after', HELP)
    .action((source: string, options: ImportOptions) =>
      interruptible((signal) => run(source, options, signal)),
    );
}

async function run(source: string, options: ImportOptions, signal: AbortSignal): Promise<void> {
  const {out, json} = options;
  await checkSavePath(out);
  const lm = await openLanguageModel(source, {...options, signal});
  try {
    const steps = await stepsFrom(source, {models: [source]});
    await lm.save(out, {signal});
    const known = knownOf(lm.model);
    await describeSaved(known, out, {steps});
    const {config} = lm;
    const summary = {
      out,
      config,
      tokenizer: lm.tokenizer !== null,
      weights: known.parameters, // packed ones too, one each
      dense: inspect(lm.model).length,
    };
    if (json === true) console.log(JSON.stringify(summary, null, 2));
    else console.log(describe(summary));
  } finally {
    lm.dispose();
  }
}

function describe({
  out,
  config,
  tokenizer,
  weights,
  dense,
}: {
  out: string;
  config: {architecture: string; layers: number; contextLength: number};
  tokenizer: boolean;
  weights: number;
  dense: number;
}): string {
  const parts = [
    `${config.architecture}, ${config.layers} layers, ${weights.toLocaleString('en')} weights`,
    `context of ${config.contextLength} tokens`,
    tokenizer ? 'with tokenizer' : 'without tokenizer: prompts are token ids',
    `${dense} Dense layers`,
  ];
  return `${parts.join(', ')}\nsaved to ${out}`;
}
