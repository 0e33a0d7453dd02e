/** @file The `--data` option: a file as a data set of batches, as the library takes it. */
import {extname} from 'node:path';
import type * as tf from '@tensorflow/tfjs';
import {InvalidArgumentError, Option, type Command} from 'commander';
import {isLanguageModel, languageModelOf} from '../language/index.js';
import {Dataset, type Batches} from '../dataset.js';
import {FileError} from '../errors.js';
import {readsIds} from '../eval/random-inputs.js';
import {openDataFile} from '../io/data/data-files.js';
import {readText} from '../io/files/read-text.js';
import {countOption, numberOption} from './shared-options.js';

/** How text becomes sequences. */
export interface TextOptions {
  readonly sequenceLength?: number;
  readonly sequences?: number;
}

/** Text is given in files of these types; their names are in the help of `--data`. */
const TEXT_FILE = /\.(txt|text|raw|md)$/i;
const DEFAULT_BATCH_SIZE = 32;

/** What the options of `addDataOptions` give. */
export interface DataOptions extends TextOptions {
  readonly data: string;
  /** By default 32 items, or one sequence of text. */
  readonly batchSize?: number;
  readonly batches?: number;
  readonly scale?: number;
}

/** Adds `--data`, which must be given unless told otherwise, and how to read it. */
export function addDataOptions(command: Command, what: string, isRequired = true): Command {
  return command
    .addOption(
      new Option(
        '-d, --data <FILE>',
        `${what}: .npy, .npz, .jsonl, or a .mjs that exports a data set; for a language model text, .txt or .md`,
      )
        .argParser(onlyOne)
        .makeOptionMandatory(isRequired),
    )
    .addOption(
      countOption(
        '-b, --batch-size <N>',
        `items in a batch, by default ${DEFAULT_BATCH_SIZE}, or 1 sequence of text; a .mjs makes its own`,
      ),
    )
    .addOption(countOption('--batches <N>', 'read no more than this many batches'))
    .addOption(
      numberOption(
        '--scale <FACTOR>',
        'multiply the values of a .npy, .npz or .jsonl file by this, as 0.00392; a file of bytes needs it',
      ),
    );
}

function onlyOne(file: string, before: string | undefined): string {
  if (before === undefined) return file;
  throw new InvalidArgumentError(
    `It is given twice, after ${before}: join texts in one file, or name a .mjs that exports a data set of them all.`,
  );
}

/** Adds `--sequence-length` and `--sequences`. */
export function addTextOptions(command: Command, sequenceLength = 256): Command {
  return command
    .addOption(
      countOption('--sequence-length <N>', `tokens of a sequence of text; ${sequenceLength} by default`),
    )
    .addOption(countOption('--sequences <N>', 'take the first so many sequences of the text; 64 by default'));
}

/** The data set that the options name; its batches are freed once they are used. */
export async function openData(model: tf.LayersModel, options: DataOptions): Promise<Batches> {
  const dataset = isTextFile(options.data) ? await openText(model, options) : await openFile(model, options);
  const {batches} = options;
  if (batches === undefined) return dataset;
  return {
    length: dataset.length === null ? null : Math.min(dataset.length, batches),
    getInferenceData: () => first(batches, dataset),
  };
}

/**
 * Refuses a file that no command can read, by its extension, before anything else is done.
 *
 * @throws {FileError} `unsupported-format`.
 */
export function checkDataFormat(path: string): void {
  if (!isTextFile(path)) openDataFile(path);
}

/** Whether a file is text by its name. */
export function isTextFile(path: string): boolean {
  return TEXT_FILE.test(path);
}

async function openText(model: tf.LayersModel, options: DataOptions): Promise<Batches> {
  const {data, batchSize = 1, scale, sequenceLength, sequences} = options;
  if (scale !== undefined) throw new FileError('bad-option', `--scale does not concern ${data}: it is text`);
  if (!isLanguageModel(model)) {
    throw new FileError(
      'bad-option',
      `${data} is text, and the model is no language model: give what it takes, as .npy, .npz, .jsonl or .mjs`,
      {path: data},
    );
  }
  const text = await readText(data);
  return languageModelOf(model).dataset(text, {batchSize, sequenceLength, sequences});
}

async function openFile(model: tf.LayersModel, options: DataOptions): Promise<Dataset> {
  const {data, batchSize = DEFAULT_BATCH_SIZE, scale, sequenceLength, sequences} = options;
  if (sequenceLength !== undefined || sequences !== undefined) {
    throw new FileError('bad-option', `--sequence-length and --sequences concern text; ${data} holds items`);
  }
  if (scale !== undefined && /^\.m?js$/i.test(extname(data))) {
    throw new FileError('bad-option', `--scale does not concern ${data}: scale the batches in the module`);
  }
  const inputNames = model.inputNames.length > 1 ? model.inputNames : undefined;
  const file = openDataFile(data, {batchSize, scale, inputNames});
  if (scale === undefined && !readsIds(model) && (await file.holdsBytes())) {
    throw new FileError(
      'bad-option',
      `${data} holds bytes, 0 to 255, as images do, and there is no --scale: give --scale ${1 / 255} if the model takes ` +
        '0 to 1, or --scale 1 if it takes the bytes as they are',
      {path: data},
    );
  }
  const items = await file.itemCount();
  const inFile = items === undefined ? undefined : Math.ceil(items / batchSize);
  return new Dataset(file, null, {disposeItems: true, length: inFile});
}

/** The first batches of a data set; it is read no further. */
async function* first(count: number, dataset: Batches): AsyncGenerator {
  let left = count;
  for await (const batch of dataset.getInferenceData()) {
    yield batch;
    if (--left === 0) return;
  }
}
