/**
 * @file What an error of the library says to someone at a command line. The library's own text proposes calls and
 * fields; where an option or another file would mend it, that is proposed instead.
 */
import type {SparsifyError} from '../errors.js';

type Data = Readonly<Record<string, unknown>>;

/** By code: the text, or undefined where the library's own serves. Each reads the fields that its error documents. */
const TEXTS: Readonly<Record<string, (data: Data, error: SparsifyError) => string | undefined>> = {
  'unmatched-rule': (data) => unmatched('--target or --bounds', data),
  'unmatched-ignored-rule': (data) => unmatched('--ignore', data),
  'invalid-pattern': ({pattern}, {cause}) =>
    `pattern ${JSON.stringify(pattern)} is not a regular expression (${(cause as Error).message}): escape special ` +
    'characters with \\',
  overlap: ({name, targets}) =>
    `"${String(name)}" is in two --target patterns (${list(targets)}): narrow one of them, or name it with --ignore`,
  'no-statistics': () =>
    'the model holds no calibration statistics: make it with tfjs-sparsify sparsify, without --no-statistics',
  'not-calibrated': ({missing, calibrated}) =>
    `the model has no statistics for ${list(missing)}: sparsify these layers too, with tfjs-sparsify sparsify, or take ` +
    `them out with --ignore; it has some for ${list(calibrated)}`,
  'too-few-batches': tooFewBatches,
  'wrong-shape': wrongShape,
  'wrong-inputs': wrongInputs,
};

/** The text of an error, with the remedy in the words of the command line. */
export function explain(error: SparsifyError): string {
  return TEXTS[error.code]?.(error.data, error) ?? error.message;
}

/**
 * What to say of TensorFlow's error that the GPU's memory is full; undefined for another error.
 *
 * @param error Anything thrown. tfjs-node-gpu: `Invalid TF_Status: 8`, RESOURCE_EXHAUSTED, and TensorFlow's message.
 */
export function outOfDeviceMemory(error: unknown): string | undefined {
  const message = error instanceof Error ? error.message : '';
  if (!message.startsWith('Invalid TF_Status: 8\n') || message.includes('allocator cpu')) return undefined;
  const shape = /tensor with shape\s*(\[[\d,]*\])/.exec(message)?.[1];
  return (
    `the GPU's memory is full: there is no room for ${shape === undefined ? 'a tensor' : `a tensor of shape ${shape}`}. ` +
    'Give less at a time (fewer rows, a shorter context), see with nvidia-smi who else uses it, or compute on the CPU: ' +
    'SPARSIFY_BACKEND=node'
  );
}

function unmatched(option: string, {complaints}: Data): string {
  return `${option}: ${(complaints as string[]).join('; ')}. tfjs-sparsify inspect lists the layers of a model`;
}

/** A loss needs batches that calibration does not see, and there is one batch in all. */
function tooFewBatches({items, batchSize}: Data): string {
  const count = `${String(items)} item${items === 1 ? '' : 's'}`;
  const remedy =
    Number(items) < 2
      ? 'give more items'
      : `give --batch-size ${String(batchSize)}, say, or a .mjs that exports smaller batches, and no --batches 1`;
  return `a loss is measured on batches that calibration does not see, and the data make one batch, of ${count}: ${remedy}`;
}

/** An item lacks the dimension of the batch: in a file, that of the items. */
function wrongShape({got, allowed, input}: Data): string | undefined {
  const [found, expected] = [got, allowed] as [readonly number[], readonly (number | null)[]];
  if (found.length !== expected.length - 1) return undefined;
  const item = expected.slice(1).map((size) => size ?? 'any');
  return (
    `a batch of the data has shape [${list(found)}] for input "${String(input)}"; the model takes items of shape ` +
    `[${list(item)}]: save them as an array [items, ${list(item)}], a single one as [1, ${list(item)}]`
  );
}

/** The data holds another number of tensors than the model has inputs. */
function wrongInputs({got, inputs}: Data): string | undefined {
  if (typeof got !== 'number') return undefined;
  const names = inputs as readonly string[];
  return (
    `the data has ${got} array${got === 1 ? '' : 's'} an item; the model has ${names.length} ` +
    `input${names.length === 1 ? '' : 's'} (${list(names)}): give a .npz with arrays of these names, a .jsonl with ` +
    'objects by these names, or a .mjs'
  );
}

function list(values: unknown): string {
  return (values as readonly unknown[]).join(', ');
}
