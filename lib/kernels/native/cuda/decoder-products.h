// Products of one row with Dense kernels, as decoding needs them: what is multiplied may be a norm's or a gate's output,
// which is computed where it is read, and Dense layers that read the same row are one launch.
#ifndef SPARSIFY_CUDA_DECODER_PRODUCTS_H_
#define SPARSIFY_CUDA_DECODER_PRODUCTS_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "../shared/activation.h"
#include "../shared/decoder-description.h"
#include "sparsified-matmul.h"

namespace sparsify::cuda {

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

// y[i] [units] = row times dense[i] with its bias, for up to kMaxProducts layers; with `add`, y[i] is increased by that instead.
// `workspace` holds as many bytes as RowWorkspaceBytes says.
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
