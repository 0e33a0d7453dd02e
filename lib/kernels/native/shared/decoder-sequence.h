// One sequence that a model continues, on every target: tokens go in, logits or likelihoods come out, keys and values stay.
// Targets differ in how they compute a chunk of tokens.
#ifndef SPARSIFY_SHARED_DECODER_SEQUENCE_H_
#define SPARSIFY_SHARED_DECODER_SEQUENCE_H_

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "decoder-output.h"
#include "mutex.h"

namespace sparsify {

// Tokens that are computed together: enough to use each weight often, few enough that what lies between two layers stays in a
// large cache.
constexpr size_t kChunkTokens = 512;

// Some of the tokens of an append.
struct TokenChunk {
  size_t first, count;  // tokens [first, first + count)
  size_t wanted;        // of the last so many tokens the output is wanted

  // Where the output of token `first + i` begins in the result of the append.
  size_t ResultAt(size_t i, DecoderOutput output, size_t vocabulary) const {
    return output == DecoderOutput::kLast ? 0 : (first + i) * (output == DecoderOutput::kAll ? vocabulary : 1);
  }
};

// A target's DecoderSession is one of these. It adds
//
//   void Append(const int32_t* tokens, size_t count, const float* thresholds, DecoderOutput output, const int32_t* targets,
//               float* result);
//     Appends `count` >= 1 tokens, each below the vocabulary, and writes what `output` says. `targets` are needed for kScores
//     only, and are below the vocabulary too. `thresholds` has one number for each Dense layer, or is null: dense. If it throws
//     (out of memory), the sequence is as before.
//   bool SetModel(std::shared_ptr<Model> model);
//     Goes on with the weights of another model, and keeps what is cached. Returns false, and does nothing, if the model
//     differs in more than the type of its weights.
//   void Truncate(size_t length);
//     Forgets the tokens from `length` on.
template <class Model, class Cache>
class DecoderSequence {
 public:
  // Of the appends that have ended. May be used while another thread appends.
  MaskedCounts& counts() { return counts_; }
  const Model& model() const { return *model_; }

 protected:
  DecoderSequence(std::shared_ptr<Model> model, bool narrow_cache)
      : model_(std::move(model)), cache_(model_->numbers, narrow_cache), counts_(model_->dense_count()) {}

  // Appends `count` tokens by compute(chunk, counts), called for one chunk after another: it computes the chunk's tokens, which
  // stand behind the first length_ ones, and adds the inputs that they mask to `counts`. If it throws, so does this, with the
  // sequence as before. The caller holds the mutex.
  template <class F>
  void AppendChunks(size_t count, DecoderOutput output, const F& compute) {
    Appending appending{length_, length_};
    std::vector<MaskedInputs> counts(model_->dense_count());
    for (size_t first = 0; first < count; first += kChunkTokens) {
      const size_t here = std::min(kChunkTokens, count - first);
      const bool is_last = first + here == count;
      compute(TokenChunk{first, here, output != DecoderOutput::kLast ? here : is_last ? 1 : 0}, counts);
      length_ += here;
    }
    appending.before = length_;
    counts_.Add(counts);
  }

  // Gives the sequence the length `before` when it ends.
  struct Appending {
    size_t& length;
    size_t before;
    ~Appending() { length = before; }
  };

  // Guards all but the counts, which guard themselves.
  Mutex mutex_;
  std::shared_ptr<Model> model_;
  Cache cache_;
  size_t length_ = 0;
  MaskedCounts counts_;
};

}  // namespace sparsify

#endif  // SPARSIFY_SHARED_DECODER_SEQUENCE_H_
