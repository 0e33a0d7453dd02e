// The product of 2 to kMaxBatch rows of x with rows of a kernel that is narrower than float: INT8 or bfloat16. Included once for
// each instruction set, as activation-inl.h.
#if defined(SPARSIFY_FEW_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SPARSIFY_FEW_ROWS_INL_H_
#undef SPARSIFY_FEW_ROWS_INL_H_
#else
#define SPARSIFY_FEW_ROWS_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace sparsify {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// sum[r][n] += value[u][r] * row[u][n] for kTile rows of x, over kRows rows of the kernel; `first`: sum[r][n] = instead.
// `value` is [kRows, kTile]. 8 sums, 2 columns and a factor of the 16 registers of AVX2; the more rows of the kernel, the
// less the loads and stores of the sums weigh: what is narrow is bound by arithmetic, not by memory.
template <size_t kRows, size_t kTile, class T, class LoadVector, class LoadOne>
HWY_INLINE void AddFewRowsTile(const LoadVector& load, const LoadOne& load_one, const T* const* HWY_RESTRICT row,
                               const float* HWY_RESTRICT value, bool first, size_t columns, float* HWY_RESTRICT sum) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  using V = hn::Vec<decltype(d)>;
  size_t n = 0;
  for (; n + 2 * lanes <= columns; n += 2 * lanes) {
    V a[kTile], b[kTile];
    for (size_t r = 0; r < kTile; r++) {
      a[r] = first ? hn::Zero(d) : hn::LoadU(d, sum + r * columns + n);
      b[r] = first ? hn::Zero(d) : hn::LoadU(d, sum + r * columns + n + lanes);
    }
    for (size_t u = 0; u < kRows; u++) {
      const V wa = load(row[u] + n);
      const V wb = load(row[u] + n + lanes);
      for (size_t r = 0; r < kTile; r++) {
        const V factor = hn::Set(d, value[u * kTile + r]);
        a[r] = hn::MulAdd(factor, wa, a[r]);
        b[r] = hn::MulAdd(factor, wb, b[r]);
      }
    }
    for (size_t r = 0; r < kTile; r++) {
      hn::StoreU(a[r], d, sum + r * columns + n);
      hn::StoreU(b[r], d, sum + r * columns + n + lanes);
    }
  }
  for (; n < columns; n++) {
    for (size_t r = 0; r < kTile; r++) {
      float a = first ? 0.0f : sum[r * columns + n];
      for (size_t u = 0; u < kRows; u++) a += value[u * kTile + r] * load_one(row[u][n]);
      sum[r * columns + n] = a;
    }
  }
}

// Adds rows [done, count) of a list to the sums of the `batch` rows of x. A pass takes kRows rows of the kernel, which are a
// kRows-th of the list apart (row-loops.cc says why), and goes through the rows of x in tiles of at most 4, so that the rows
// of the kernel stay in the L1 cache. `value` is [count, batch]. Returns how many rows of the list it took.
template <size_t kRows, class RowAt, class LoadVector, class LoadOne>
HWY_INLINE size_t AddFewRows(const RowAt& row_at, const LoadVector& load, const LoadOne& load_one, const float* value,
                             size_t batch, size_t done, size_t count, size_t columns, float* sum) {
  const size_t part = (count - done) / kRows;
  for (size_t j = 0; j < part; j++) {
    decltype(row_at(size_t{0})) row[kRows];
    for (size_t u = 0; u < kRows; u++) row[u] = row_at(done + u * part + j);
    const bool first = done == 0 && j == 0;
    size_t r = 0;
    for (size_t left = (batch + 3) / 4; left > 0; left--) {
      const size_t tile = (batch - r + left - 1) / left;
      float own[kRows * 4];
      for (size_t u = 0; u < kRows; u++) {
        for (size_t i = 0; i < tile; i++) own[u * tile + i] = value[(done + u * part + j) * batch + r + i];
      }
      float* const at = sum + r * columns;
      switch (tile) {
        case 4:
          AddFewRowsTile<kRows, 4>(load, load_one, row, own, first, columns, at);
          break;
        case 3:
          AddFewRowsTile<kRows, 3>(load, load_one, row, own, first, columns, at);
          break;
        case 2:
          AddFewRowsTile<kRows, 2>(load, load_one, row, own, first, columns, at);
          break;
        default:
          AddFewRowsTile<kRows, 1>(load, load_one, row, own, first, columns, at);
      }
      r += tile;
    }
  }
  return part * kRows;
}

// sum[r * columns + n] = sum over i < count of value[i * batch + r] * row_at(i)[n].
template <class RowAt, class LoadVector, class LoadOne>
HWY_INLINE void SumFewRows(const RowAt& row_at, const LoadVector& load, const LoadOne& load_one, const float* value,
                           size_t batch, size_t count, size_t columns, float* sum) {
  size_t done = AddFewRows<8>(row_at, load, load_one, value, batch, 0, count, columns, sum);
  done += AddFewRows<4>(row_at, load, load_one, value, batch, done, count, columns, sum);
  AddFewRows<1>(row_at, load, load_one, value, batch, done, count, columns, sum);
  if (count == 0) hwy::ZeroBytes(sum, batch * columns * sizeof(float));
}

}  // namespace HWY_NAMESPACE
}  // namespace sparsify
HWY_AFTER_NAMESPACE();

#endif  // toggle
