/** @file The INT8 kernels of the cpu backend, in plain TypeScript. */
import type * as tf from '@tensorflow/tfjs';
import {columnSteps, dequantizeRows} from '../quantization/int8.js';
import type {SparsifiedMatMulAttrs} from './sparsified-matmul-kernel.js';
import {floatsIn, wordsIn, type CpuBackend} from './cpu-backend.js';
import {
  DEQUANTIZE_INT8,
  SPARSIFIED_MATMUL_INT8,
  type Int8Infos,
  type SparsifiedMatMulInt8Inputs,
} from './int8-kernels.js';
import {sparsifiedMatMulInt8Loops} from './int8-loops.js';

/** The multiplication's registration for the cpu backend. */
export const cpuInt8KernelConfig: tf.KernelConfig = {
  kernelName: SPARSIFIED_MATMUL_INT8,
  backendName: 'cpu',
  kernelFunc: ({inputs, backend, attrs}) => {
    const cpu = backend as CpuBackend;
    const {x, values, scale, zeroPoint, threshold, bias} = inputs as unknown as SparsifiedMatMulInt8Inputs;
    const output = sparsifiedMatMulInt8Loops({
      x: floatsIn(cpu, x),
      kernel: {words: wordsIn(cpu, values), scale: floatsIn(cpu, scale), zeroPoint: floatsIn(cpu, zeroPoint)},
      threshold: floatsIn(cpu, threshold),
      bias: bias === undefined ? new Float32Array(0) : floatsIn(cpu, bias),
      activation: (attrs as unknown as SparsifiedMatMulAttrs).activation,
      inputSize: values.shape[0],
    });
    return cpu.makeTensorInfo([...x.shape.slice(0, -1), scale.shape[0]], 'float32', output);
  },
};

/** The dequantization's registration for the cpu backend. */
export const cpuDequantizeConfig: tf.KernelConfig = {
  kernelName: DEQUANTIZE_INT8,
  backendName: 'cpu',
  kernelFunc: ({inputs, backend}) => {
    const cpu = backend as CpuBackend;
    const {values, scale, zeroPoint} = inputs as unknown as Int8Infos;
    const [rows] = values.shape;
    const steps = columnSteps(floatsIn(cpu, scale), floatsIn(cpu, zeroPoint));
    const weights = dequantizeRows(wordsIn(cpu, values), rows, steps);
    return cpu.makeTensorInfo([rows, scale.shape[0]], 'float32', weights);
  },
};
