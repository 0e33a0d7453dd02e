// A sequence that a model continues on the CPU.
#ifndef SPARSIFY_DECODER_SESSION_H_
#define SPARSIFY_DECODER_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "decoder-cache.h"
#include "decoder-model.h"
#include "decoder-pass.h"
#include "shared/decoder-sequence.h"

namespace sparsify {

class DecoderSession : public DecoderSequence<DecoderModel, DecoderCache> {
 public:
  DecoderSession(std::shared_ptr<DecoderModel> model, bool narrow_cache)
      : DecoderSequence(std::move(model), narrow_cache) {}

  void Append(const int32_t* tokens, size_t count, const float* thresholds, DecoderOutput output, const int32_t* targets,
              float* result);
  bool SetModel(std::shared_ptr<DecoderModel> model);
  void Truncate(size_t length);

  // Appends one token to each of several sessions of one model, and gives the logits after each token, [vocabulary]: within
  // rounding the logits that Append gives. There is at least one session, and none twice. If Step throws, all sequences are as
  // before.
  static void Step(const std::vector<DecoderSession*>& sessions, const int32_t* tokens, const float* thresholds,
                   float* const* logits);

 private:
  // Of a model whose mutex is held.
  static DecoderPass& PassOf(DecoderModel& model);
};

}  // namespace sparsify

#endif  // SPARSIFY_DECODER_SESSION_H_
