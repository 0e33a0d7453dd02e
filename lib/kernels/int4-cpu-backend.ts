/** @file The INT4 kernels of the cpu backend, in plain TypeScript. */
import type * as tf from '@tensorflow/tfjs';
import {dequantizeInt4, type Int4Values} from '../quantization/int4.js';
import {floatsIn, wordsIn, type CpuBackend} from './cpu-backend.js';
import {
  DEQUANTIZE_INT4,
  SPARSIFIED_MATMUL_INT4,
  type Int4Attrs,
  type Int4Infos,
  type SparsifiedMatMulInt4Attrs,
  type SparsifiedMatMulInt4Inputs,
} from './int4-kernels.js';
import {sparsifiedMatMulInt4Loops} from './int4-loops.js';

/** The multiplication's registration for the cpu backend. */
export const cpuInt4KernelConfig: tf.KernelConfig = {
  kernelName: SPARSIFIED_MATMUL_INT4,
  backendName: 'cpu',
  kernelFunc: ({inputs, backend, attrs}) => {
    const cpu = backend as CpuBackend;
    const infos = inputs as unknown as SparsifiedMatMulInt4Inputs;
    const {activation, columns, ...others} = attrs as unknown as SparsifiedMatMulInt4Attrs;
    const {x, threshold, bias} = infos;
    const output = sparsifiedMatMulInt4Loops({
      x: floatsIn(cpu, x),
      kernel: valuesOf(cpu, infos, {columns, ...others}),
      threshold: floatsIn(cpu, threshold),
      bias: bias === undefined ? new Float32Array(0) : floatsIn(cpu, bias),
      activation,
    });
    return cpu.makeTensorInfo([...x.shape.slice(0, -1), columns], 'float32', output);
  },
};

/** The dequantization's registration for the cpu backend. */
export const cpuDequantizeInt4Config: tf.KernelConfig = {
  kernelName: DEQUANTIZE_INT4,
  backendName: 'cpu',
  kernelFunc: ({inputs, backend, attrs}) => {
    const cpu = backend as CpuBackend;
    const matrix = valuesOf(cpu, inputs as unknown as Int4Infos, attrs as unknown as Int4Attrs);
    return cpu.makeTensorInfo([matrix.rows, matrix.columns], 'float32', dequantizeInt4(matrix));
  },
};

function valuesOf(
  cpu: CpuBackend,
  {values, scale, zeroPoint, minimum}: Int4Infos,
  {columns, groupSize, kind}: Int4Attrs,
): Int4Values {
  return {
    ...{rows: values.shape[0], columns, groupSize, kind},
    values: wordsIn(cpu, values),
    scale: wordsIn(cpu, scale),
    zeroPoint: zeroPoint === undefined ? null : wordsIn(cpu, zeroPoint),
    minimum: minimum === undefined ? null : wordsIn(cpu, minimum),
  };
}
