/** @file `--backend`, apart from what loads one: a command that leaves computing to others does without TensorFlow.js. */
import {Option} from 'commander';
import {BACKENDS} from '../backend/names.js';

/** What `backendOption` gives. */
export interface BackendOptions {
  readonly backend?: string;
}

/** `--backend`, for a command that takes a model. */
export function backendOption(): Option {
  return new Option(
    '--backend <NAME>',
    'what computes; by default SPARSIFY_BACKEND, else the fastest that loads',
  ).choices(BACKENDS);
}
