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
#include "decoder-products.h"

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
  void Embed(int32_t token, float* x) const;
  void FindRotations(size_t count);
  // Of `count` tokens: norms, turns, and stores queries and keys; both have `stride` floats between tokens.
  void FinishHeads(const DecoderLayer& layer, size_t l, size_t count, float* queries, size_t stride, float* keys,
                   const float* values, size_t key_stride, Pool& pool);

  // One token.
  void ComputeOne(const Masking& masking, Pool& pool);
  void FeedOne(const DecoderLayer& layer, const Masking& masking, Pool& pool);

  // Several.
  void ComputeRows(size_t count, const Masking& masking, Pool& pool);
  void FeedRows(const FeedForward& feed, const float* x, size_t count, const Masking& masking, float* y, Pool& pool);
  void FeedExperts(const DecoderLayer& layer, size_t count, const Masking& masking, Pool& pool);

  // The experts of one token, by its router's logits, and their weights.
  void Route(const float* logits);

  // Guards all but the counts.
  std::mutex mutex_;
  std::shared_ptr<DecoderModel> model_;
  DecoderCache cache_;
  size_t length_ = 0;
  std::vector<MaskedInputs> counts_;  // guarded by counts_mutex_
  mutable std::mutex counts_mutex_;

  RowProducts products_;
  std::vector<size_t> chosen_;
  std::vector<float> weights_;
  std::vector<float> cos_, sin_;                         // [count, head_size / 2]
  std::vector<float> x_, normed_, qkv_, attended_;       // [count, …]
  std::vector<float> gate_up_, gated_, added_, logits_;
};

}  // namespace sparsify

#endif  // SPARSIFY_DECODER_SESSION_H_
