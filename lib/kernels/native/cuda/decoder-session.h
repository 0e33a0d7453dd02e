// A sequence that a model continues on the GPU. One token goes through a TokenPass, several go through a RowsPass.
#ifndef SPARSIFY_CUDA_DECODER_SESSION_H_
#define SPARSIFY_CUDA_DECODER_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "../shared/decoder-sequence.h"
#include "decoder-cache.h"
#include "decoder-model.h"
#include "decoder-pass-input.h"
#include "decoder-token-pass.h"

namespace sparsify::cuda {

class DecoderSession : public DecoderSequence<DecoderModel, DecoderCache> {
 public:
  DecoderSession(std::shared_ptr<DecoderModel> model, bool narrow_cache);

  // Waits for the device.
  void Append(const int32_t* tokens, size_t count, const float* thresholds, DecoderOutput output, const int32_t* targets,
              float* result);
  bool SetModel(std::shared_ptr<DecoderModel> model);
  void Truncate(size_t length);

 private:
  void ComputeRows(const TokenChunk& chunk, DecoderOutput output, const int32_t* targets, float* result);

  PassInput input_;
  TokenPass token_pass_;
};

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DECODER_SESSION_H_
