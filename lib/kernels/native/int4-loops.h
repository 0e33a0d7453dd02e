// The vectorised loops over INT4 kernels, compiled for every instruction set of interest. No threads here.
//
// A few rows of x are multiplied in integers, two rows of a kernel at a time: to make floats of 4 bits takes three times the
// time of reading them. For that x is rounded to 8 bits with a step for each segment, which is up to 32 kept rows of one group:
// the largest whose sum cannot leave 16 bits. It moves an output by at most the sum over segments of half the step times the sum of
// |weight|. Weights are not rounded to float16 then, as int8-loops.h says of INT8 (2^-11 of each).
#ifndef SPARSIFY_INT4_LOOPS_H_
#define SPARSIFY_INT4_LOOPS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "shared/stored-kernel.h"

namespace sparsify {

// Kept rows of one group of a kernel that are multiplied in integers.
struct Int4Segment {
  uint32_t first;  // of Int4Inputs::row; even
  uint32_t count;  // even
  uint32_t group;
};

// The kept inputs of a few rows of x, rounded to 8 bits: value = step * integer.
struct Int4Inputs {
  size_t batch = 0;  // rows of x
  std::vector<Int4Segment> segments;
  std::vector<uint32_t> row;     // of the kernel; the last one of a segment twice if their number was odd
  std::vector<uint32_t> factor;  // [row / 2, batch]: two integers of 8 bits, twice
  std::vector<float> step;       // [segments, batch]
  std::vector<int32_t> total;    // [segments, batch]: the sum of the integers
};

// Rounds the inputs that `index` lists (null: rows 0 to count), `value` as CompactUnion of row-loops.h lays them. Returns
// whether they can be: not with an Inf or NaN, or numbers next to float's limits.
bool RoundInputs(const uint32_t* index, const float* value, size_t count, size_t batch, size_t group_size,
                 Int4Inputs& inputs);

// Part of an INT4 kernel: columns [first, first + columns), of which the first is a multiple of 16.
struct Int4Panel {
  const StoredKernel& kernel;
  size_t first;
  size_t columns;
};

// sum[r * columns + n] = sum of value * weight over segments [first, last).
void SumInt4Segments(const Int4Panel& panel, const Int4Inputs& inputs, size_t first, size_t last, float* sum);

// SumRowsBatch of row-loops.h with the weights as they are defined. Without a list of indices it begins at `first_row`.
void SumInt4RowsBatch(const Int4Panel& panel, size_t first_row, size_t batch, const uint32_t* index, const float* value,
                      size_t count, float* sum);

// The weights of `depth` rows from `first_row` on as MultiplyPacked of block-loops.h reads them; up to 128 columns.
void PackInt4Panel(const Int4Panel& panel, size_t first_row, size_t depth, float* packed);

// The weights of a row of the panel, [columns].
void DequantizeInt4(const Int4Panel& panel, size_t row, float* weights);

// The weights of a column of the first `rows` rows.
void DequantizeInt4Column(const StoredKernel& kernel, size_t rows, size_t column, float* weights);

}  // namespace sparsify

#endif  // SPARSIFY_INT4_LOOPS_H_
