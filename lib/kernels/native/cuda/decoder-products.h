// Products of one row with Dense kernels, as decoding needs them: what is multiplied may be a norm's or a gate's output,
// which is computed where it is read, and Dense layers that read the same row are one launch.
#ifndef SPARSIFY_CUDA_DECODER_PRODUCTS_H_
#define SPARSIFY_CUDA_DECODER_PRODUCTS_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "../decoder-loops.h"
#include "sparsified-matmul.h"

namespace sparsify::cuda {

// A Dense kernel [inputs, stride] on the device. INT8 means scale[n] * (q - zero_point[n]).
struct DecoderDense {
  const void* kernel = nullptr;
  Storage storage = Storage::kFloat32;
  int64_t stride = 0;  // numbers from one row to the next
  const float* scale = nullptr;
  const float* zero_point = nullptr;
  const float* bias = nullptr;  // [units] or null
  int inputs = 0, units = 0;
  int id = 0;  // place of its threshold and count
};

// What a row is made of, at input k.
enum class RowKind : uint8_t {
  kPlain,   // x[k]
  kNormed,  // x[k] / sqrt(mean(x^2) + epsilon) * other[k]
  kGated    // activation(x[k]) * other[k]
};
struct Row {
  RowKind kind;
  const float* x;  // [inputs]
  const float* other;
  float epsilon;
  GateActivation activation;
};

// Where masks come from and what is kept goes to, by the ids of the Dense layers.
struct DeviceMasking {
  const float* thresholds;
  unsigned long long* kept;  // is increased
};

constexpr int kMaxProducts = 3;

// y[i] [units] = row times dense[i] with its bias, or is increased by that, for up to kMaxProducts layers. `workspace` holds
// RowWorkspaceBytes of it.
struct RowProducts {
  Row row;
  int count;
  const DecoderDense* dense[kMaxProducts];
  float* y[kMaxProducts];
  bool add;
};
size_t RowWorkspaceBytes(int units, const Device& device);
cudaError_t LaunchRowProducts(const RowProducts& products, const DeviceMasking& masking, const Device& device,
                              float* workspace, cudaStream_t stream);

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DECODER_PRODUCTS_H_
