// SparsifiedMatMul on NVIDIA GPUs: y = activation(kept(x) * kernel + bias) for 1 to 8 rows. Reads only the rows of the
// kernel whose input at least one row of x keeps. One launch on chips that have thread-block clusters (compute
// capability 9.0 and newer), two elsewhere; the result is the same bits every time.
//
// Everything is enqueued on the caller's stream and nothing waits. Pointers are to device memory.
#ifndef SPARSIFY_CUDA_SPARSIFIED_MATMUL_H_
#define SPARSIFY_CUDA_SPARSIFIED_MATMUL_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "../shared/activation.h"
#include "../shared/stored-kernel.h"

namespace sparsify::cuda {

constexpr int kMaxRows = 8;
// The list of kept inputs holds an index in 24 bits and a mask of rows in 8.
constexpr int64_t kMaxInputs = int64_t{1} << 24;

struct MatMul {
  const float* x;  // [rows, inputs]
  int rows;        // 1 to kMaxRows
  int inputs;      // at most kMaxInputs
  // One value, or one per input. |x| <= threshold counts as 0, NaN is kept.
  const float* threshold;
  bool threshold_per_input;
  // [inputs, units]. Rows of bf16 and INT8 are padded to a multiple of 16 numbers, all parts of INT4 to one of 16 bytes.
  StoredKernel kernel;
  const float* bias;  // [units], or null
  Activation activation;
  float* y;  // [rows, units]
  int units;
};

// What the chip can do; found out once a device.
struct Device {
  int multiprocessors = 0;
  bool clusters = false;
};
cudaError_t CurrentDevice(Device* device);

// How a call is cut. `splits` blocks share a tile of columns, each with a part of the inputs.
struct Plan {
  bool cluster;
  int splits;
  int tiles;
  size_t workspace_bytes;  // 0 with clusters
};
Plan PlanFor(const MatMul& call, const Device& device);

// Enqueues the call. `workspace` holds plan.workspace_bytes; it may be used again by what is enqueued later on the
// same stream.
cudaError_t Launch(const MatMul& call, const Plan& plan, void* workspace, cudaStream_t stream);

// Columns [first, first + units) of a kernel as float [inputs, units].
cudaError_t LaunchWiden(const StoredKernel& kernel, int64_t inputs, int64_t first, int units, float* y,
                        cudaStream_t stream);

// y = x with +0 where masked, [rows, inputs].
cudaError_t LaunchMask(const float* x, int64_t rows, int64_t inputs, const float* threshold, bool per_input, float* y,
                       cudaStream_t stream);

// y = activation(x + bias), [rows, units]; `bias` may be null, y may be x.
cudaError_t LaunchBiasActivation(const float* x, int64_t rows, int64_t units, const float* bias, Activation activation,
                                 float* y, cudaStream_t stream);

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_SPARSIFIED_MATMUL_H_
