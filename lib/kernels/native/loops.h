// The vectorised loops, compiled for every instruction set of interest; the best one for this machine is chosen at
// run time. No threads here: sparsified-matmul.cc divides the work.
//
// Pointers need only the alignment of float. Arrays that are written with a count known only afterwards (Compact)
// must have room for kSlack more entries.
#ifndef SPARSIFY_LOOPS_H_
#define SPARSIFY_LOOPS_H_

#include <cstddef>
#include <cstdint>

#include "activation.h"

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
// `skipping`: rows are missing between those of the list, so the next ones are prefetched.
void SumRows(const Panel& panel, const uint32_t* index, const float* value, size_t count, bool skipping,
             float* sum);

// The same for `rows` rows at a time, values as CompactUnion lays them: sum[r * columns + n].
void SumRowsBatch(const Panel& panel, size_t rows, const uint32_t* index, const float* value, size_t count,
                  bool skipping, float* sum);

// x for dense multiplication, cut into tiles of nearly equal numbers of rows, at most TileRows(). A tile of R rows lies as
// [stride / kChunk, R, kChunk]: read as one stream, where R rows apart would be R.
constexpr size_t kChunk = 16;
struct Tiles {
  const float* data;  // aligned to 64 bytes
  size_t rows, inputs;
  size_t stride;  // inputs, rounded up to kChunk
  size_t count;
  size_t First(size_t tile) const { return rows * tile / count; }
};
size_t TileRows();

// One tile of x, with +0 where masked.
void MaskTile(const float* x, size_t rows, size_t inputs, Threshold threshold, float* tile);

// Inputs that MultiplyBlock takes at a time: with 16 columns they fill half of an L1 cache of 32 KB.
constexpr size_t kBlockDepth = 256;

// Columns of a panel lie together as strips two vectors wide, [strips, depth, width], aligned to 64 bytes and 0 beyond
// the last column; of at most kBlockDepth rows of the kernel, those from `first_input` on.
struct PackedPanel {
  const float* data;
  size_t first_input;
  size_t depth;
  size_t columns;
};

// y[r][n] += sum over the panel's inputs of x[r][k] * panel[k][n] for the rows of these tiles; = if it has the first input.
// y is the panel's first column in row 0, whose rows are y_stride apart.
void MultiplyPacked(const Tiles& x, size_t first_tile, size_t last_tile, const PackedPanel& panel, float* y,
                    size_t y_stride);

// y[r][n] = sum over k of x[r][k] * kernel[k][n] for the rows of these tiles and the columns of the panel, whose stride and
// first column are those of y too. `packed` has room for kBlockDepth times the columns, rounded up to 32, and is aligned
// to 64 bytes.
void MultiplyBlock(const Tiles& x, size_t first_tile, size_t last_tile, const Panel& panel, float* packed, float* y);

// y[n] = activation(sum of parts[p * part_stride + n] over p, in order, + bias[n]). `bias` may be null, y may be
// parts. Returns whether all of y is finite.
bool Finish(const float* parts, size_t count, size_t part_stride, const float* bias, Activation activation,
            size_t n, float* y);

// Sum of n floats: the plainest way to read memory.
float SumAll(const float* data, size_t n);

// Name of the instruction set in use, such as AVX2.
const char* LoopTarget();

}  // namespace sparsify

#endif  // SPARSIFY_LOOPS_H_
