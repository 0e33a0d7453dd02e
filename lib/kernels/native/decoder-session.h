// One sequence that a model continues: tokens go in, logits or likelihoods come out, keys and values stay.
#ifndef SPARSIFY_DECODER_SESSION_H_
#define SPARSIFY_DECODER_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "decoder-cache.h"
#include "decoder-model.h"
#include "decoder-pass.h"

namespace sparsify {

// What Append writes.
enum class DecoderOutput : uint8_t {
  kLast,   // logits after the last token [vocabulary]
  kAll,    // logits after each token [count, vocabulary]
  kScores  // natural log likelihood of each target [count]
};

class DecoderSession {
 public:
  DecoderSession(std::shared_ptr<DecoderModel> model, bool narrow_cache);

  // Appends `count` >= 1 tokens, each below the vocabulary; so are `targets`, needed for kScores only. `thresholds` has one
  // number a Dense, or is null: dense. If it throws (out of memory), the sequence is as before.
  void Append(const int32_t* tokens, size_t count, const float* thresholds, DecoderOutput output, const int32_t* targets,
              float* result);
  // Appends one token to each of at least one different sessions of one model, and gives the logits after each, [vocabulary]:
  // those that Append gives, within rounding. If it throws, all sequences are as before.
  static void Step(const std::vector<DecoderSession*>& sessions, const int32_t* tokens, const float* thresholds,
                   float* const* logits);
  // Goes on with other weights: a model of the same numbers, but for the type of its weights. What is cached stays. Returns
  // whether it is one.
  bool SetModel(std::shared_ptr<DecoderModel> model);
  // Forgets the tokens from `length` on.
  void Truncate(size_t length);
  void ResetCounts();

  // By the ids of the Dense layers, of the appends that have ended. May be called while another thread appends.
  std::vector<MaskedInputs> Counts() const;
  const DecoderModel& model() const { return *model_; }

 private:
  // Of a model whose mutex is held.
  static DecoderPass& PassOf(DecoderModel& model);
  void AddCounts(const std::vector<MaskedInputs>& counts);

  // Guards all but the counts.
  std::mutex mutex_;
  std::shared_ptr<DecoderModel> model_;
  DecoderCache cache_;
  size_t length_ = 0;
  std::vector<MaskedInputs> counts_;  // guarded by counts_mutex_
  mutable std::mutex counts_mutex_;
};

}  // namespace sparsify

#endif  // SPARSIFY_DECODER_SESSION_H_
