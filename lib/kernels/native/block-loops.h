// The vectorised loops over many rows of x, which are masked and multiplied densely in blocks. Compiled for every instruction
// set of interest. No threads here: sparsified-matmul.cc divides the work.
#ifndef SPARSIFY_BLOCK_LOOPS_H_
#define SPARSIFY_BLOCK_LOOPS_H_

#include <cstddef>

#include "row-loops.h"

namespace sparsify {

// x for dense multiplication, cut into tiles of nearly equal numbers of rows, at most TileRows(). A tile of R rows lies as
// [stride / kChunk, R, kChunk], so that it is read as one stream; R rows one after another would be R streams.
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

// Part of a kernel: all columns of a panel, for at most kBlockDepth rows from row `first_input` on. It lies as strips that
// are two vectors wide, [strips, depth, width], aligned to 64 bytes; beyond the last column stands 0.
struct PackedPanel {
  const float* data;
  size_t first_input;
  size_t depth;
  size_t columns;
};

// y[r][n] += sum over the panel's inputs of x[r][k] * panel[k][n] for the rows of these tiles; a panel that has the first input
// sets y[r][n] instead. `y` is where the panel's first column stands in row 0; rows are y_stride apart.
void MultiplyPacked(const Tiles& x, size_t first_tile, size_t last_tile, const PackedPanel& panel, float* y,
                    size_t y_stride);

// y[r][n] = sum over k of x[r][k] * kernel[k][n] for the rows of these tiles and the columns of the panel. y has the panel's
// stride and first column. `packed` has room for kBlockDepth times the columns, rounded up to 32, and is aligned to 64 bytes.
void MultiplyBlock(const Tiles& x, size_t first_tile, size_t last_tile, const Panel& panel, float* packed, float* y);

}  // namespace sparsify

#endif  // SPARSIFY_BLOCK_LOOPS_H_
