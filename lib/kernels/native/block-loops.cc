#include "block-loops.h"

#include "loop-targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "block-loops.cc"
#include "hwy/foreach_target.h"  // compiles this file once per target
#include "hwy/highway.h"
// After foreach_target.h, as Highway asks.
#include "hwy/cache_control.h"
#include "kept-rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sparsify {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows of x a tile: with 2 vectors of columns that is 12 sums, 2 columns and a factor of 16 registers, or 24 sums of the
// 32 of AVX-512.
constexpr size_t kTileRows = HWY_MAX_BYTES == 64 ? 12 : 6;

size_t TileRowsLoop() { return kTileRows; }

void MaskTileLoop(const float* x, size_t rows, size_t inputs, Threshold threshold, float* tile) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t r = 0; r < rows; r++) {
    const float* const row = x + r * inputs;
    float* out = tile + r * kChunk;
    size_t k = 0;
    for (; k + kChunk <= inputs; k += kChunk, out += rows * kChunk) {
      for (size_t i = 0; i < kChunk; i += lanes) {
        const auto v = hn::LoadU(d, row + k + i);
        hn::Store(hn::IfThenElseZero(Kept(d, v, threshold, k + i), v), d, out + i);
      }
    }
    for (size_t i = 0; k < inputs; i++, k++) out[i] = IsKept(row[k], threshold, k) ? row[k] : 0.0f;
  }
}

// y[r][n] = (first ? 0 : y[r][n]) + sum over k < depth of a[r][k] * b[k][n], for the kRows rows of a tile and `columns`
// columns of at most 2 vectors, which is the width of b.
template <size_t kRows>
HWY_INLINE void MultiplyTile(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, size_t depth, bool first,
                             size_t columns, float* HWY_RESTRICT y, size_t y_stride) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  using V = hn::Vec<decltype(d)>;
  V left[kRows], right[kRows];
  for (size_t r = 0; r < kRows; r++) left[r] = right[r] = hn::Zero(d);
  const auto multiply = [&](size_t count) HWY_ATTR {
    for (size_t k = 0; k < count; k++) {
      const V b0 = hn::Load(d, b);
      const V b1 = hn::Load(d, b + lanes);
      for (size_t r = 0; r < kRows; r++) {
        const V factor = hn::Set(d, a[r * kChunk + k]);
        left[r] = hn::MulAdd(factor, b0, left[r]);
        right[r] = hn::MulAdd(factor, b1, right[r]);
      }
      b += 2 * lanes;
    }
    a += kRows * kChunk;
  };
  for (size_t k = 0; k + kChunk <= depth; k += kChunk) multiply(kChunk);
  if (depth % kChunk != 0) multiply(depth % kChunk);
  if (HWY_LIKELY(columns == 2 * lanes)) {
    for (size_t r = 0; r < kRows; r++) {
      float* const out = y + r * y_stride;
      hn::StoreU(first ? left[r] : hn::Add(left[r], hn::LoadU(d, out)), d, out);
      hn::StoreU(first ? right[r] : hn::Add(right[r], hn::LoadU(d, out + lanes)), d, out + lanes);
    }
  } else {
    HWY_ALIGN float sums[2 * HWY_MAX_BYTES / sizeof(float)];
    for (size_t r = 0; r < kRows; r++) {
      hn::Store(left[r], d, sums);
      hn::Store(right[r], d, sums + lanes);
      float* const out = y + r * y_stride;
      for (size_t n = 0; n < columns; n++) out[n] = first ? sums[n] : out[n] + sums[n];
    }
  }
}

template <size_t kRows>
void MultiplyTileOf(size_t rows, const float* a, const float* b, size_t depth, bool first, size_t columns, float* y,
                    size_t y_stride) {
  if constexpr (kRows > 1) {
    if (rows < kRows) return MultiplyTileOf<kRows - 1>(rows, a, b, depth, first, columns, y, y_stride);
  }
  MultiplyTile<kRows>(a, b, depth, first, columns, y, y_stride);
}

// `depth` rows of a panel as strips of 2 vectors of columns, each strip contiguous; 0 beyond the last column.
void PackPanel(const Panel& panel, size_t depth, float* packed) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const size_t width = 2 * lanes;
  const size_t full = panel.columns / width;
  const size_t rest = panel.columns % width;
  for (size_t k = 0; k < depth; k++) {
    const float* const row = panel.kernel + k * panel.stride + panel.first;
    float* out = packed + k * width;
    // The hardware's prefetch does not follow pieces of rows.
    const float* const ahead = row + (k + 8 < depth ? 8 * panel.stride : 0);
    for (size_t strip = 0; strip < full; strip++, out += depth * width) {
      for (size_t n = 0; n < width; n += 16) hwy::Prefetch(ahead + strip * width + n);
      hn::Store(hn::LoadU(d, row + strip * width), d, out);
      hn::Store(hn::LoadU(d, row + strip * width + lanes), d, out + lanes);
    }
    if (rest != 0) {
      for (size_t n = 0; n < width; n++) out[n] = n < rest ? row[full * width + n] : 0.0f;
    }
  }
}

void MultiplyPackedLoop(const Tiles& x, size_t first_tile, size_t last_tile, const PackedPanel& panel, float* y,
                        size_t y_stride) {
  const size_t width = 2 * hn::Lanes(hn::ScalableTag<float>());
  for (size_t n = 0; n < panel.columns; n += width) {
    const size_t columns = HWY_MIN(width, panel.columns - n);
    for (size_t tile = first_tile; tile < last_tile; tile++) {
      const size_t first = x.First(tile);
      const size_t rows = x.First(tile + 1) - first;
      MultiplyTileOf<kTileRows>(rows, x.data + first * x.stride + panel.first_input * rows, panel.data + n * panel.depth,
                                panel.depth, panel.first_input == 0, columns, y + first * y_stride + n, y_stride);
    }
  }
}

void MultiplyBlockLoop(const Tiles& x, size_t first_tile, size_t last_tile, const Panel& panel, float* packed,
                       float* y) {
  for (size_t k = 0; k < x.inputs || k == 0; k += kBlockDepth) {
    const size_t depth = HWY_MIN(kBlockDepth, x.inputs - k);
    PackPanel({panel.kernel + k * panel.stride, panel.stride, panel.first, panel.columns}, depth, packed);
    MultiplyPackedLoop(x, first_tile, last_tile, {packed, k, depth, panel.columns}, y + panel.first, panel.stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace sparsify
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sparsify {

HWY_EXPORT(TileRowsLoop);
HWY_EXPORT(MaskTileLoop);
HWY_EXPORT(MultiplyPackedLoop);
HWY_EXPORT(MultiplyBlockLoop);

size_t TileRows() { return HWY_DYNAMIC_DISPATCH(TileRowsLoop)(); }

void MaskTile(const float* x, size_t rows, size_t inputs, Threshold threshold, float* tile) {
  HWY_DYNAMIC_DISPATCH(MaskTileLoop)(x, rows, inputs, threshold, tile);
}

void MultiplyPacked(const Tiles& x, size_t first_tile, size_t last_tile, const PackedPanel& panel, float* y,
                    size_t y_stride) {
  HWY_DYNAMIC_DISPATCH(MultiplyPackedLoop)(x, first_tile, last_tile, panel, y, y_stride);
}

void MultiplyBlock(const Tiles& x, size_t first_tile, size_t last_tile, const Panel& panel, float* packed, float* y) {
  HWY_DYNAMIC_DISPATCH(MultiplyBlockLoop)(x, first_tile, last_tile, panel, packed, y);
}

}  // namespace sparsify
#endif  // HWY_ONCE
