/**
 * @file The model card beside a saved model. A README.md that this package did not write, or that was edited since, is left
 * alone: the card's last line holds the hash of what stands above it.
 */
import {createHash} from 'node:crypto';
import {stat} from 'node:fs/promises';
import {dirname, join} from 'node:path';
import {FileError} from '../errors.js';
import {writeTextFile} from '../io/files/atomic-file.js';
import {readText} from '../io/files/read-text.js';
import type {ReportContents, Step} from '../report/report-contents.js';
import {renderModelCard, stepsOfCard, type ModelCardOptions} from '../report/model-card.js';
import {thisStep, type Inputs} from './origin.js';
import {contentsOf, writeReport, type Found, type KnownModel, type ReportOptions} from './report-option.js';

const SEAL = /<!-- sha256 of the above: ([0-9a-f]{64}); edited, this file is left as it is -->\n$/;

/**
 * The steps that made a model, from the card beside it.
 *
 * @param model As the command line has it; nothing is known of a URL.
 */
export async function stepsBeside(model: string): Promise<Step[]> {
  const card = await cardAt(await cardPath(model));
  if (card instanceof FileError) {
    console.error(`${card.message}: what made the model is not known`);
    return [];
  }
  return card === null ? [] : (stepsOfCard(card) ?? []);
}

/**
 * The steps that make the model of this run: those of the card beside its source, and this one. To be asked for before
 * the model is saved, which may replace its source.
 *
 * @param source As the command line has it.
 * @throws {FileError} if an input cannot be read.
 */
export async function stepsFrom(source: string, inputs: Inputs): Promise<Step[]> {
  return [...(await stepsBeside(source)), await thisStep(inputs)];
}

/**
 * Writes the card of a model that was just saved, and the report if it is asked for.
 *
 * @throws {FileError} if one of them cannot be written.
 */
export async function describeSaved(
  known: KnownModel,
  out: string,
  found: Found,
  options: ReportOptions = {},
): Promise<void> {
  const contents = contentsOf(known, out, found);
  await writeModelCard(out, contents, known);
  await writeReport(options, () => contents);
}

/**
 * Writes the card beside a saved model.
 *
 * @param model Folder or `.json` file that it was saved to.
 * @returns Whether it was written: not if another README.md is there.
 */
export async function writeModelCard(
  model: string,
  contents: ReportContents,
  {isLanguageModel}: Pick<ModelCardOptions, 'isLanguageModel'>,
): Promise<boolean> {
  const path = await cardPath(model);
  const there = await cardAt(path);
  if (there instanceof FileError) {
    console.error(`${there.message}: it stays as it is, without a card for this model`);
    return false;
  }
  if (there !== null && !isOurs(there)) {
    console.error(`${path} is not ours or was edited: it stays as it is`);
    return false;
  }
  const text = renderModelCard(contents, {isLanguageModel});
  const seal = `\n<!-- sha256 of the above: ${digest(text)}; edited, this file is left as it is -->\n`;
  await writeTextFile(path, text + seal);
  return true;
}

/** Whether a README.md is a card as it was written. */
function isOurs(text: string): boolean {
  const seal = SEAL.exec(text);
  return seal !== null && stepsOfCard(text) !== null && digest(text.slice(0, seal.index - 1)) === seal[1];
}

async function cardPath(model: string): Promise<string> {
  const path = model.replace(/^file:\/\//, '');
  const isFolder = !/\.json$/i.test(path) && (await stat(path).catch(() => null))?.isDirectory() === true;
  return join(isFolder ? path : dirname(path), 'README.md');
}

/** The text of a card, null if there is none, or why it cannot be read. */
async function cardAt(path: string): Promise<string | null | FileError> {
  try {
    return await readText(path);
  } catch (cause) {
    if (!(cause instanceof FileError)) throw cause;
    return cause.code === 'missing-file' || cause.code === 'not-a-folder' ? null : cause;
  }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
