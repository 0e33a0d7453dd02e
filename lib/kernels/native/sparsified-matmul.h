// SparsifiedMatMul: y = activation(kept(x) * kernel + bias). For a few rows it reads only the rows of the kernel whose
// input is kept; for more it masks x and multiplies in blocks. Divides the work over a pool; the inner loops are in
// row-loops.h and block-loops.h.
//
// Several layers that read the same x (q, k and v; gate and up) share one compaction and one wait for the threads.
#ifndef SPARSIFY_SPARSIFIED_MATMUL_H_
#define SPARSIFY_SPARSIFIED_MATMUL_H_

#include <cstddef>
#include <cstdint>

#include "pool.h"
#include "row-loops.h"
#include "shared/activation.h"
#include "shared/stored-kernel.h"

namespace sparsify {

// As many rows are multiplied by reading each row of the kernel once, in place.
constexpr size_t kFewRows = 12;

// One dense layer. Its arrays are read and written in place; none may overlap y.
struct Layer {
  StoredKernel kernel;  // [inputs, units]; in bfloat16 only for up to kFewRows rows, in INT8 and INT4 with finite weights
  const float* bias;    // [units], or null
  float* y;             // [rows, units]
  size_t units;
  Activation activation;
};

// x is [rows, inputs]. An entry with |x| <= threshold counts as 0. For up to 12 rows its row of the kernel has no effect on
// that row's result, be it Inf or NaN; for more rows 0 times Inf or NaN is NaN. The result depends on the number of threads,
// which sets the order of additions, but not on which thread did what. Denormal numbers count as 0, as in TensorFlow's own
// ops.
//
// Weights of INT8 kernels are rounded as defined beyond 12 rows and in small kernels. In other kernels, for up to 12 rows,
// every weight counts with an error of at most 2^-11 of itself (int8-loops.h says why). So it is with INT4 kernels, for which x is
// rounded to 8 bits there (int4-loops.h says how far).
void SparsifiedMatMul(const float* x, size_t rows, size_t inputs, Threshold threshold, const Layer* layers,
                      size_t layer_count, Pool& pool);

// The weights of an INT8 or INT4 kernel, [inputs, units].
void DequantizeKernel(const StoredKernel& kernel, size_t inputs, size_t units, float* weights, Pool& pool);

// y = x with +0 where masked, [rows, inputs].
void MaskRows(const float* x, size_t rows, size_t inputs, Threshold threshold, float* y, Pool& pool);

// y = activation(x + bias), [rows, units]; `bias` may be null, y may be x.
void AddBiasAndActivate(const float* x, size_t rows, size_t units, const float* bias, Activation activation,
                        float* y, Pool& pool);

// Bytes a second at which `pool` reads the n floats at `data` once, for comparison.
double ReadBandwidth(const float* data, size_t n, Pool& pool);

}  // namespace sparsify

#endif  // SPARSIFY_SPARSIFIED_MATMUL_H_
