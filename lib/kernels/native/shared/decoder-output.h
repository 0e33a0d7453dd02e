// What a decoder gives back on every target: logits or likelihoods, and how many inputs it has masked.
#ifndef SPARSIFY_SHARED_DECODER_OUTPUT_H_
#define SPARSIFY_SHARED_DECODER_OUTPUT_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "mutex.h"

namespace sparsify {

// What a session writes when it appends tokens, with the numbers of DECODER_OUTPUT in lib/kernels/native-decoding.ts.
enum class DecoderOutput : uint8_t {
  kLast,   // logits after the last token [vocabulary]
  kAll,    // logits after each token [count, vocabulary]
  kScores  // natural log likelihood of each target [count]
};

// How many inputs one Dense layer has masked, of how many that it was given.
struct MaskedInputs {
  uint64_t masked = 0, total = 0;
};

// The masked inputs of each Dense layer, by its id. One thread may add while another reads.
class MaskedCounts {
 public:
  explicit MaskedCounts(size_t dense_count) : counts_(dense_count) {}

  std::vector<MaskedInputs> Get() const {
    const Lock lock(mutex_);
    return counts_;
  }
  void Add(const std::vector<MaskedInputs>& counts) {
    const Lock lock(mutex_);
    for (size_t i = 0; i < counts.size(); i++) {
      counts_[i].masked += counts[i].masked;
      counts_[i].total += counts[i].total;
    }
  }
  void Reset() {
    const Lock lock(mutex_);
    std::fill(counts_.begin(), counts_.end(), MaskedInputs());
  }

 private:
  mutable Mutex mutex_;
  std::vector<MaskedInputs> counts_;  // guarded by the mutex
};

}  // namespace sparsify

#endif  // SPARSIFY_SHARED_DECODER_OUTPUT_H_
