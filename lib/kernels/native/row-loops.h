// The vectorised loops over few rows of x, which read only the kept rows of a kernel: compiled for every instruction set of
// interest (loop-targets.h), of which the best one for this machine is chosen at run time. No threads here:
// sparsified-matmul.cc divides the work.
//
// Pointers need only the alignment of float. Arrays that are written with a count that is known only afterwards (Compact)
// must have room for kSlack more entries.
#ifndef SPARSIFY_ROW_LOOPS_H_
#define SPARSIFY_ROW_LOOPS_H_

#include <cstddef>
#include <cstdint>

#include "shared/activation.h"

namespace sparsify {

constexpr size_t kSlack = 64;

// Rows of x that are multiplied together.
constexpr size_t kMaxBatch = 16;

// A threshold for each of K inputs: step 1, or one for all: step 0.
struct Threshold {
  const float* values;
  size_t step;
};

// The kept inputs of one row, in order: index[i] and x[index[i]]. Kept means !(|x| <= threshold), so NaN is kept.
// Returns their number.
size_t Compact(const float* x, size_t inputs, Threshold threshold, uint32_t* index, float* value);

// The same for `rows` <= kMaxBatch rows together: inputs that at least one row keeps. value[i * rows + r] is the
// entry of row r, 0 where that row masks it.
size_t CompactUnion(const float* x, size_t rows, size_t inputs, Threshold threshold, uint32_t* index,
                    float* value);

// How many inputs that finds.
size_t CountUnion(const float* x, size_t rows, size_t inputs, Threshold threshold);

// x with +0 where masked. y may be x.
void Mask(const float* x, size_t inputs, Threshold threshold, float* y);

// Part of a kernel [K, stride]: columns [first, first + columns) of the rows in question.
struct Panel {
  const float* kernel;
  size_t stride;
  size_t first;
  size_t columns;
};

// sum[n] = sum over i < count of value[i] * kernel[index[i]][n]. `index` null: rows 0 to count.
// `skipping` says that the list leaves rows out: then the next rows of the list are prefetched.
void SumRows(const Panel& panel, const uint32_t* index, const float* value, size_t count, bool skipping,
             float* sum);

// The same for `rows` rows at a time, values as CompactUnion lays them: sum[r * columns + n].
void SumRowsBatch(const Panel& panel, size_t rows, const uint32_t* index, const float* value, size_t count,
                  bool skipping, float* sum);

// y[n] = activation(sum of parts[p * part_stride + n] over p, in order, + bias[n]). `bias` may be null, y may be
// parts. Returns whether all of y is finite.
bool Finish(const float* parts, size_t count, size_t part_stride, const float* bias, Activation activation,
            size_t n, float* y);

// Sum of n floats: the plainest way to read memory.
float SumAll(const float* data, size_t n);

// Name of the instruction set in use, such as AVX2.
const char* LoopTarget();

}  // namespace sparsify

#endif  // SPARSIFY_ROW_LOOPS_H_
