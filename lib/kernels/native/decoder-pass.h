// The way of tokens through the layers, of one sequence or of several together: each weight is read once for all of them.
#ifndef SPARSIFY_DECODER_PASS_H_
#define SPARSIFY_DECODER_PASS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "decoder-cache.h"
#include "decoder-model.h"
#include "decoder-products.h"

namespace sparsify {

// `count` tokens of one sequence that go through the layers. The first stands at position `start`; the cache has room for all.
// `counts` has an entry for each Dense layer, to which what these tokens mask is added.
struct DecoderSegment {
  DecoderCache* cache;
  size_t start;
  size_t count;
  MaskedInputs* counts;
};

// The memory that a pass needs lives as long as this; see DecoderModel::pass.
class DecoderPass {
 public:
  // The model must outlive it.
  explicit DecoderPass(const DecoderModel& model) : model_(model), products_(model.prefetches) {}

  // Computes the tokens of all segments, which `tokens` has one segment after another, and stores their keys and values.
  // `thresholds` has one number for each Dense layer, or is null: dense.
  void Compute(const std::vector<DecoderSegment>& segments, const int32_t* tokens, const float* thresholds, Pool& pool);

  // Logits after tokens [first, first + count) of the last Compute, [count, vocabulary].
  void Logits(size_t first, size_t count, float* logits, Pool& pool);
  // The same, each row to a place of its own.
  void LogitsEach(size_t first, size_t count, float* const* logits, Pool& pool);
  // Natural log likelihood of what follows these tokens, [count].
  void Scores(size_t first, size_t count, const int32_t* targets, float* scores, Pool& pool);

 private:
  void Embed(int32_t token, float* x) const;
  void FindRotations();
  // Norms, turns, and stores queries and keys; both have a stride of floats between tokens.
  void FinishHeads(const DecoderLayer& layer, size_t l, float* queries, size_t stride, float* keys, const float* values,
                   size_t key_stride, Pool& pool);
  void Attend(size_t l, float* queries, size_t stride, Pool& pool);

  // One token.
  void ComputeOne(Pool& pool);
  void FeedOne(const DecoderLayer& layer, Pool& pool);

  // Several.
  void ComputeRows(Pool& pool);
  void FeedRows(const FeedForward& feed, const float* x, size_t count, const Masking& masking, float* y, Pool& pool);
  void FeedExperts(const DecoderLayer& layer, Pool& pool);

  // The experts of one token, by its router's logits, and their weights.
  void Route(const float* logits);

  const DecoderModel& model_;
  std::vector<DecoderSegment> segments_;
  // By token.
  struct Place {
    DecoderCache* cache;
    size_t position;
  };
  std::vector<Place> places_;
  std::vector<MaskedInputs*> counts_;
  Masking masking_{};

  RowProducts products_;
  AttendScratch attend_scratch_;
  std::vector<AttendRequest> requests_;
  std::vector<size_t> chosen_;
  std::vector<float> weights_;
  std::vector<float> cos_, sin_;                    // [count, head_size / 2]
  std::vector<float> x_, normed_, qkv_, attended_;  // [count, …]
  std::vector<float> gate_up_, gated_, added_, routed_, logits_;
};

}  // namespace sparsify

#endif  // SPARSIFY_DECODER_PASS_H_
