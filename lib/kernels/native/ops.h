// The TensorFlow ops, on CPU, float32:
//
//   SparsifiedMatMul(x, kernel, threshold, bias: B * float; B: int, activation: string) -> y
//   SparsifiedMatMulGroup(x, threshold, kernels: M * float, biases: B * float; M: int, B: int, activations: string)
//       -> y: M * float
//     M layers that read the same x; B is M or 0; `activations` holds M names, with commas between.
//   SparsifyMask(x, threshold) -> y [rows, K]
//   SparsifyBiasActivation(x, bias: B * float; B: int, activation: string) -> y
//   SparsifyDecoderPrepare: see decoder-op.h
//
// x [..., K], rank 1 or more; kernel [K, N]; threshold of 1 value or [K]; bias [N], or [0] for none (B is 0 or 1);
// y [..., N]. The threshold is an input: as an attribute every distinct value would leave a kernel in TensorFlow's
// cache for good.
#ifndef SPARSIFY_OPS_H_
#define SPARSIFY_OPS_H_

#include <string>

namespace sparsify {

// Registers the ops with the libtensorflow of the process, the first time. Returns why that failed, or an empty
// string. Thread-safe.
std::string RegisterOps();

}  // namespace sparsify

#endif  // SPARSIFY_OPS_H_
