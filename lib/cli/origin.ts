/** @file Where a result comes from: the command, the files that went in, the versions that computed. */
import {createRequire} from 'node:module';
import * as tf from '@tensorflow/tfjs';
import {backendInUse} from '../backend/in-use.js';
import {describeProcessor} from '../backend/processor.js';
import {hashFile} from '../io/files/file-hash.js';
import {hashModel} from '../io/model/hash-model.js';
import type {Step} from '../report/report-contents.js';
import {publicArgument} from './public-argument.js';

/** What went into a command; paths as they were given. */
export interface Inputs {
  readonly models: readonly string[];
  readonly data?: string;
  readonly labels?: string;
}

/**
 * This run as a step.
 *
 * @throws {FileError} if an input cannot be read.
 */
export async function thisStep({models, data, labels}: Inputs): Promise<Step> {
  const inputs: {role: string; files: Awaited<ReturnType<typeof hashModel>>}[] = [];
  for (const model of models) inputs.push({role: 'model', files: await hashModel(model)});
  if (data !== undefined) inputs.push({role: 'data', files: [await hashFile(data)]});
  if (labels !== undefined) inputs.push({role: 'labels', files: [await hashFile(labels)]});
  return {
    command: ['tfjs-sparsify', ...process.argv.slice(2).map(publicArgument).map(quoted)].join(' '),
    inputs: inputs.filter(({files}) => files.length > 0),
    versions: versions(),
  };
}

/** The machine in words: `backend node, 2 threads of AMD EPYC`. */
export function describeMachine(): string {
  const {model, threads} = describeProcessor();
  return `backend ${backendInUse()}, ${threads} thread${threads === 1 ? '' : 's'} of ${model}`;
}

function versions(): Step['versions'] {
  const {version} = createRequire(import.meta.url)('tfjs-sparsify/package.json') as {version: string};
  return {
    'tfjs-sparsify': version,
    '@tensorflow/tfjs': tf.version.tfjs,
    'Node.js': process.versions.node,
    backend: backendInUse(),
  };
}

/** An argument as a shell would read it. */
function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", String.raw`'\''`)}'`;
}
