// The vectorised loops of the decoder that loops.h does not have, compiled for every instruction set of interest. No
// threads here. Pointers need only the alignment of their elements.
#ifndef SPARSIFY_DECODER_LOOPS_H_
#define SPARSIFY_DECODER_LOOPS_H_

#include <cstddef>
#include <cstdint>

namespace sparsify {

// The upper half of a float.
using BFloat16 = uint16_t;

// Rounds to nearest, ties to even; NaN stays NaN.
void Narrow(const float* x, size_t n, BFloat16* y);
void Widen(const BFloat16* x, size_t n, float* y);

// Part of a kernel [K, stride] in bfloat16: columns [first, first + columns) of the rows in question.
struct NarrowPanel {
  const BFloat16* kernel;
  size_t stride;
  size_t first;
  size_t columns;
};

// SumRows of loops.h for a kernel in bfloat16; the sums are float.
void SumNarrowRows(const NarrowPanel& panel, const uint32_t* index, const float* value, size_t count, bool skipping,
                   float* sum);

// SumRowsBatch of loops.h for a kernel in bfloat16.
void SumNarrowRowsBatch(const NarrowPanel& panel, size_t rows, const uint32_t* index, const float* value, size_t count,
                        bool skipping, float* sum);

// y = x / sqrt(mean(x^2) + epsilon) * weight. y may be x.
void Normalize(const float* x, const float* weight, size_t n, float epsilon, float* y);

// x[n] += factor * (sum of parts[p * part_stride + n] over p, in order, + bias[n]). `bias` may be null.
void AddParts(const float* parts, size_t count, size_t part_stride, const float* bias, float factor, size_t n, float* x);

enum class GateActivation : uint8_t { kSilu, kGelu, kGeluTanh };

// y = activation(gate) * up. y may be either.
void Gate(GateActivation activation, const float* gate, const float* up, size_t n, float* y);

// Rotates one head [2 * half]: entries i and half + i are a point that turns by the angle of cos[i], sin[i].
void Rotate(const float* cos, const float* sin, size_t half, float* x);

// Entries with |x| <= threshold.
size_t CountMasked(const float* x, size_t n, float threshold);

// log(exp(x[target]) / sum over i of exp(x[i])), without overflow.
double LogLikelihood(const float* x, size_t n, size_t target);

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

#endif  // SPARSIFY_DECODER_LOOPS_H_
