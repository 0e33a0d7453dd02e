// The way of one token through the layers: a graph of launches that is made once and replayed for each token.
#ifndef SPARSIFY_CUDA_DECODER_TOKEN_PASS_H_
#define SPARSIFY_CUDA_DECODER_TOKEN_PASS_H_

#include <cstdint>
#include <vector>

#include "decoder-cache.h"
#include "decoder-model.h"
#include "decoder-pass-input.h"
#include "decoder-products.h"
#include "device-memory.h"

namespace sparsify::cuda {

class TokenPass {
 public:
  explicit TokenPass(const DecoderModel& model);
  ~TokenPass();
  TokenPass(const TokenPass&) = delete;
  TokenPass& operator=(const TokenPass&) = delete;

  // Enqueues the pass of the token that `input` has. When the stream is done, host_logits() has the logits after it, and the
  // input what was kept.
  void Compute(const DecoderModel& model, const DecoderCache& cache, PassInput& input);
  // Forgets the graph: it holds the places of the model's weights, of the cache and of the input, of which one has changed.
  void DropGraph();

  // Enqueues `logits` [vocabulary] on the device, of a row x [hidden] that the last layer gave.
  void Logits(const DecoderModel& model, const PassInput& input, const float* x, float* logits) const;

  const float* host_logits() const { return host_logits_.get(); }

 private:
  void Enqueue(const DecoderModel& model, const DecoderCache& cache, PassInput& input) const;
  void Multiply(const DecoderModel& model, const PassInput& input, const Row& row,
                const std::vector<const DecoderDense*>& layers, bool add, float* y) const;

  cudaGraphExec_t graph_ = nullptr;  // null: to be made
  // Their places are in the graph.
  DeviceArray<float> x_, cos_, sin_, qkv_, attended_, gate_up_, logits_;
  DeviceArray<uint8_t> attention_workspace_;
  DeviceArray<float> product_workspace_;
  HostArray<float> host_logits_;
};

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DECODER_TOKEN_PASS_H_
