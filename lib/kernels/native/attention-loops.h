// The vectorised loops of attention, compiled for every instruction set of interest. No threads here. Pointers need only the
// alignment of their elements.
#ifndef SPARSIFY_ATTENTION_LOOPS_H_
#define SPARSIFY_ATTENTION_LOOPS_H_

#include <cstddef>

#include "shared/stored-kernel.h"

namespace sparsify {

// Positions that lie together in the cache. For one key head: keys [kCacheBlock / kKeyGroup, head_size, kKeyGroup], so
// that the scores of neighbouring positions are neighbouring lanes and need no sum across a vector; values
// [kCacheBlock, head_size].
constexpr size_t kCacheBlock = 64;
constexpr size_t kKeyGroup = 16;

// Queries that AttendBlock takes together: they read each cached key and value once. With 2 vectors of positions that is
// 12 sums of the 16 registers of AVX2.
constexpr size_t kAttendRows = 6;

// One query and its softmax so far, over the blocks seen.
struct Attending {
  const float* query;   // [head_size], times the scale
  float* sum;           // [head_size]: sum of exp(score - maximum) * value
  float maximum;        // -inf before the first block
  float total;          // sum of exp(score - maximum)
  size_t first, last;   // positions of this block that it sees: [first, last), relative to the block; may be empty
};

// Adds one block to `rows` <= kAttendRows queries. `sum` need not be set before the first block.
void AttendBlock(const float* keys, const float* values, size_t head_size, Attending* rows, size_t count);
void AttendBlock(const BFloat16* keys, const BFloat16* values, size_t head_size, Attending* rows, size_t count);

}  // namespace sparsify

#endif  // SPARSIFY_ATTENTION_LOOPS_H_
