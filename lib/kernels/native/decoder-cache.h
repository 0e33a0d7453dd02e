// Keys and values of one sequence, in float or bfloat16, in blocks that are allocated as the sequence grows; and the
// attention over them.
#ifndef SPARSIFY_DECODER_CACHE_H_
#define SPARSIFY_DECODER_CACHE_H_

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <vector>

#include "attention-loops.h"
#include "pool.h"
#include "shared/decoder-numbers.h"
#include "shared/stored-kernel.h"

namespace sparsify {

class DecoderCache;

// The token at `position` attends to all that it sees. Its queries [heads, head_size] are scaled in place; `output` is
// [heads * head_size].
struct AttendRequest {
  const DecoderCache* cache;
  size_t position;
  float* queries;
  float* output;
};

// What AttendEach uses.
struct AttendScratch {
  struct Seen {
    size_t first, blocks, splits;
  };
  std::vector<Seen> seen;
  std::vector<float> sums;
  std::vector<Attending> parts;
};

class DecoderCache {
 public:
  DecoderCache(const DecoderNumbers& numbers, bool narrow);

  // Makes room for positions [0, length).
  void Reserve(size_t length);
  // Gives back the blocks beyond `length`.
  void Truncate(size_t length);

  // Keys and values of one token, each [key_heads, head_size].
  void Store(size_t layer, size_t position, const float* keys, const float* values);

  // `count` tokens at the positions from `start` on attend to all that they see. Queries are [count, heads, head_size] with
  // `stride` floats between tokens, and are scaled in place; `output` is [count, heads * head_size].
  void AttendMany(size_t layer, size_t start, size_t count, float* queries, size_t stride, float* output, Pool& pool);

  // One token of each of several sequences of one model.
  static void AttendEach(size_t layer, const std::vector<AttendRequest>& requests, AttendScratch& scratch, Pool& pool);

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };

  // First element of the block's keys for a key head; its values lie behind them.
  template <class T>
  T* Keys(size_t block, size_t layer, size_t key_head) const {
    return static_cast<T*>(blocks_[block].get()) + (layer * n_.key_heads + key_head) * 2 * kCacheBlock * n_.head_size;
  }
  template <class T>
  void StoreAs(size_t layer, size_t position, const T* keys, const T* values);
  void AttendRows(size_t layer, size_t key_head, size_t first_block, size_t last_block, const size_t* positions,
                  Attending* rows, size_t count) const;

  const DecoderNumbers n_;
  const bool narrow_;
  std::vector<std::unique_ptr<void, Free>> blocks_;  // each [layers, key_heads, 2, kCacheBlock * head_size]
  std::vector<BFloat16> narrowed_;                   // of one token
};

}  // namespace sparsify

#endif  // SPARSIFY_DECODER_CACHE_H_
