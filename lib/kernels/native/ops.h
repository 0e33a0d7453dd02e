// The TensorFlow ops, on CPU, float32:
//
//   SparsifiedMatMul(x, kernel, threshold; activation: string = 'linear') -> y
//   SparsifiedMatMulWithBias(x, kernel, threshold, bias; activation: string = 'linear') -> y
//   SparsifiedMatMulInt8(x, values, scale, zero_point, threshold; activation: string = 'linear') -> y
//   SparsifiedMatMulInt8WithBias(x, values, scale, zero_point, threshold, bias; activation: string = 'linear') -> y
//   SparsifyDequantizeInt8(values, scale, zero_point) -> weights [K, N]
//   SparsifiedMatMulInt4(x, values, scale, threshold; activation: string = 'linear', odd: int = 0) -> y
//   SparsifiedMatMulInt4WithBias: also bias
//   SparsifiedMatMulInt4Asymmetric, ...AsymmetricWithBias: also zero_point, behind scale
//   SparsifiedMatMulInt4Minimum, ...MinimumWithBias: also minimum, behind scale
//   SparsifyDequantizeInt4, ...Asymmetric, ...Minimum(values, scale, zero_point or minimum; odd: int = 0) -> weights [K, N]
//   SparsifyMask(x, threshold) -> y [rows, K]
//   SparsifyBiasActivation(x, bias: B * float; B: int, activation: string) -> y
//   SparsifyDecoderPrepare: see tensorflow/prepare-op.h
//
// x [..., K], rank 1 or more; kernel [K, N]; values int32 [K, N / 4 rounded up], four INT8 numbers to a word; scale and
// zero_point [N]; of INT4 all int32, laid as shared/stored-kernel.h says: values [K, words], scale and minimum
// [G, N / 2 rounded up], zero_point [G, words], for G groups of rows; odd: 1 if N is; threshold of 1 value or [K]; bias [N], or [0] for none (B is 0 or 1); y [..., N]. The threshold is an
// input: as an attribute every distinct value would leave a kernel in TensorFlow's cache for good.
#ifndef SPARSIFY_OPS_H_
#define SPARSIFY_OPS_H_

#include <string>

namespace sparsify {

// Registers the ops with the libtensorflow of the process, the first time. Returns why that failed, or an empty
// string. Thread-safe.
std::string RegisterOps();

}  // namespace sparsify

#endif  // SPARSIFY_OPS_H_
