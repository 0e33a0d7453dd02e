/**
 * @file TensorFlow.js in a child process, which holds one backend and ends soon: its packages are named on the command
 * line, as this process knows no other way to them.
 */
import {createRequire} from 'node:module';
import type * as TensorFlow from '@tensorflow/tfjs';
import {restoreNodeUtil} from './node-util.js';

/** An attribute of a TensorFlow op, as the node packages' backend takes it. */
export interface OpAttribute {
  readonly name: string;
  /** One of the numbers `TF_ATTR_…` of the binding. */
  readonly type: number;
  readonly value: string | number;
}

/** What the node packages' backend has beside that of every other. */
export interface NodeBackend {
  readonly binding: {
    readonly TF_Version: string;
    readonly TF_ATTR_INT: number;
    readonly TF_ATTR_STRING: number;
  };
  readonly isUsingGpuDevice: boolean;
  executeSingleOutput(
    op: string,
    attributes: readonly OpAttribute[],
    inputs: readonly TensorFlow.Tensor[],
  ): TensorFlow.Tensor;
}

/** TensorFlow.js as a package sees it, and what else that package can load. */
export interface TfjsInChild {
  readonly tf: typeof TensorFlow;
  /** Loads a file or a package as the package's main file would. */
  readonly require: (name: string) => unknown;
}

/**
 * Loads the copy of TensorFlow.js that a backend's package uses.
 *
 * @param main The package's main file, which is not loaded yet.
 */
export function loadTfjs(main: string): TfjsInChild {
  restoreNodeUtil();
  const require = createRequire(main);
  return {tf: require('@tensorflow/tfjs') as typeof TensorFlow, require};
}

/** The backend of a node package, once it is set. */
export function nodeBackend(tf: typeof TensorFlow): NodeBackend {
  return tf.backend() as unknown as NodeBackend;
}
