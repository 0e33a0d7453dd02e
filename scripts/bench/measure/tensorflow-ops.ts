/** @file TensorFlow ops that tfjs-node has no TensorFlow.js kernel for; on backend tensorflow only. */
import * as tf from '@tensorflow/tfjs';

interface TensorflowBackend {
  readonly binding: Readonly<
    Record<'TF_ATTR_INT' | 'TF_ATTR_BOOL' | 'TF_ATTR_TYPE' | 'TF_FLOAT' | 'TF_INT32', number>
  >;
  executeSingleOutput(op: string, attrs: readonly object[], inputs: readonly tf.Tensor[]): tf.Tensor;
}

function backend(): TensorflowBackend {
  return tf.backend() as unknown as TensorflowBackend;
}

/** The op `MatMul`: [rows, K] x [K, N]. */
export function tensorflowMatMul(a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor {
  const {TF_ATTR_BOOL, TF_ATTR_TYPE, TF_FLOAT} = backend().binding;
  const attrs = [
    {name: 'transpose_a', type: TF_ATTR_BOOL, value: false},
    {name: 'transpose_b', type: TF_ATTR_BOOL, value: false},
    {name: 'T', type: TF_ATTR_TYPE, value: TF_FLOAT},
  ];
  return backend().executeSingleOutput('MatMul', attrs, [a, b]);
}

/** Standard normal values made in TensorFlow's memory, with no copy in JavaScript's. */
export function tensorflowNormal(shape: readonly number[], seed: number): tf.Tensor {
  const {TF_ATTR_INT, TF_ATTR_TYPE, TF_FLOAT, TF_INT32} = backend().binding;
  const attrs = [
    {name: 'seed', type: TF_ATTR_INT, value: seed},
    {name: 'seed2', type: TF_ATTR_INT, value: seed},
    {name: 'dtype', type: TF_ATTR_TYPE, value: TF_FLOAT},
    {name: 'T', type: TF_ATTR_TYPE, value: TF_INT32},
  ];
  const size = tf.tensor1d([...shape], 'int32');
  const values = backend().executeSingleOutput('RandomStandardNormal', attrs, [size]);
  size.dispose();
  return values;
}
