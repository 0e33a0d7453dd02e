// The way of many tokens of one sequence through the layers: rows are masked, and cuBLAS multiplies them.
#ifndef SPARSIFY_CUDA_DECODER_ROWS_PASS_H_
#define SPARSIFY_CUDA_DECODER_ROWS_PASS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../shared/decoder-output.h"
#include "cublas.h"
#include "decoder-cache.h"
#include "decoder-model.h"
#include "decoder-pass-input.h"
#include "decoder-token-pass.h"
#include "device-memory.h"

namespace sparsify::cuda {

// All sessions of a model share one, with its memory; see DecoderModel::rows_pass.
class RowsPass {
 public:
  // The model must outlive it. Throws if there is no cuBLAS.
  explicit RowsPass(const DecoderModel& model) : model_(model), cublas_(model.stream) {}

  // Enqueues the pass of the `rows` tokens that `input` has, of which the first stands at `position`. `cache` has room for
  // them.
  void Compute(const DecoderCache& cache, size_t position, size_t rows, PassInput& input);
  // Enqueues what `output` says for `rows` of these tokens from token `first` on; it goes to `result` in the host's memory.
  // `token_pass` is the session's.
  void Write(size_t first, size_t rows, DecoderOutput output, const int32_t* targets, float* result,
             const PassInput& input, const TokenPass& token_pass);

 private:
  void Grow(size_t rows);
  void ProjectAll(const std::vector<DecoderDense>& layers, size_t rows, const PassInput& input, float* y);
  void Project(const DecoderDense& dense, const float* x, size_t rows, bool add, const PassInput& input, float* y);
  void Attend(const LayerCache& cache, size_t position, size_t rows, const float* queries, size_t stride);

  const DecoderModel& model_;
  Cublas cublas_;
  DeviceArray<float> x_, cos_, sin_, normed_, masked_, qkv_, attended_, gate_up_, gated_;  // [rows, …]
  DeviceArray<float> scores_, keys_, values_;  // of attention
  DeviceArray<float> widened_;                 // a kernel
  DeviceArray<float> logits_, likelihoods_;
  DeviceArray<int32_t> targets_;
};

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DECODER_ROWS_PASS_H_
