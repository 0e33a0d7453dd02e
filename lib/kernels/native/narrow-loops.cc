#include "narrow-loops.h"

#include "loop-targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "narrow-loops.cc"
#include "hwy/foreach_target.h"  // compiles this file once per target
#include "hwy/highway.h"
// After foreach_target.h, as Highway asks.
#include "few-rows-inl.h"
#include "hwy/cache_control.h"
#include "load-wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sparsify {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// As in row-loops.cc; 256 columns of bfloat16 are its 512 bytes.
constexpr size_t kAheadNarrow = 256;
constexpr size_t kRowsAPass = 8;

void NarrowLoop(const float* x, size_t n, BFloat16* y) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const hn::Rebind<uint16_t, decltype(d)> dh;
  const size_t lanes = hn::Lanes(d);
  const auto one = hn::Set(du, 1), half = hn::Set(du, 0x7fff), quiet = hn::Set(du, 0x7fc0);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const auto v = hn::LoadU(d, x + i);
    const auto bits = hn::BitCast(du, v);
    const auto rounded =
        hn::ShiftRight<16>(hn::Add(bits, hn::Add(half, hn::And(hn::ShiftRight<16>(bits), one))));
    const auto narrow = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded);
    hn::StoreU(hn::TruncateTo(dh, narrow), dh, y + i);
  }
  for (; i < n; i++) {
    const auto bits = hwy::BitCastScalar<uint32_t>(x[i]);
    y[i] = hwy::ScalarIsNaN(x[i]) ? 0x7fc0 : static_cast<BFloat16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
}

void WidenLoop(const BFloat16* x, size_t n, float* y) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(LoadWide(d, x + i), d, y + i);
  for (; i < n; i++) y[i] = Wide(x[i]);
}

// sum[n] += value[u] * row[u][n] over kRows rows; kFirst: sum[n] = instead. Prefetches `next` if kSkipping.
template <size_t kRows, bool kFirst, bool kSkipping>
HWY_INLINE void AddNarrowRows(const BFloat16* const* HWY_RESTRICT row, const BFloat16* const* HWY_RESTRICT next,
                              const float* HWY_RESTRICT value, size_t columns, float* HWY_RESTRICT sum) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  using V = hn::Vec<decltype(d)>;
  V factor[kRows];
  for (size_t u = 0; u < kRows; u++) factor[u] = hn::Set(d, value[u]);
  size_t n = 0;
  // A cache line of each row is 32 columns.
  for (; n + 2 * lanes <= columns; n += 2 * lanes) {
    if (kSkipping && n % 32 == 0) {
      const size_t ahead = n + kAheadNarrow;
      if (ahead < columns) {
        for (size_t u = 0; u < kRows; u++) hwy::Prefetch(row[u] + ahead);
      } else if (ahead - columns < columns) {
        for (size_t u = 0; u < kRows; u++) hwy::Prefetch(next[u] + (ahead - columns));
      }
    }
    V a = kFirst ? hn::Zero(d) : hn::LoadU(d, sum + n);
    V b = kFirst ? hn::Zero(d) : hn::LoadU(d, sum + n + lanes);
    for (size_t u = 0; u < kRows; u++) {
      a = hn::MulAdd(factor[u], LoadWide(d, row[u] + n), a);
      b = hn::MulAdd(factor[u], LoadWide(d, row[u] + n + lanes), b);
    }
    hn::StoreU(a, d, sum + n);
    hn::StoreU(b, d, sum + n + lanes);
  }
  for (; n < columns; n++) {
    float a = kFirst ? 0.0f : sum[n];
    for (size_t u = 0; u < kRows; u++) a += value[u] * Wide(row[u][n]);
    sum[n] = a;
  }
}

// Adds rows [first, first + count) of the list, kRows a pass, which lie a kRows-th of the list apart (see row-loops.cc).
template <size_t kRows, bool kSkipping>
HWY_INLINE size_t AddNarrowParts(const NarrowPanel& panel, const uint32_t* index, size_t first, size_t count,
                                 const float* value, bool& started, float* sum) {
  const auto row_at = [&](size_t i) { return panel.kernel + (index ? index[i] : i) * panel.stride + panel.first; };
  const size_t part = count / kRows;
  for (size_t j = 0; j < part; j++) {
    const BFloat16* row[kRows];
    const BFloat16* next[kRows];
    float factor[kRows];
    for (size_t u = 0; u < kRows; u++) {
      const size_t i = first + u * part + j;
      row[u] = row_at(i);
      factor[u] = value[i];
      next[u] = kSkipping && i + 1 < first + count ? row_at(i + 1) : row[u];
    }
    if (started) {
      AddNarrowRows<kRows, false, kSkipping>(row, next, factor, panel.columns, sum);
    } else {
      AddNarrowRows<kRows, true, kSkipping>(row, next, factor, panel.columns, sum);
      started = true;
    }
  }
  return part * kRows;
}

void SumNarrowRowsLoop(const NarrowPanel& panel, const uint32_t* index, const float* value, size_t count,
                       bool skipping, float* sum) {
  bool started = false;
  size_t done = 0;
  if (skipping) done += AddNarrowParts<kRowsAPass, true>(panel, index, done, count - done, value, started, sum);
  done += AddNarrowParts<kRowsAPass, false>(panel, index, done, count - done, value, started, sum);
  done += AddNarrowParts<4, false>(panel, index, done, count - done, value, started, sum);
  done += AddNarrowParts<2, false>(panel, index, done, count - done, value, started, sum);
  AddNarrowParts<1, false>(panel, index, done, count - done, value, started, sum);
  if (!started) hwy::ZeroBytes(sum, panel.columns * sizeof(float));
}

// Without a prefetch: rows together keep most of the kernel.
void SumNarrowRowsBatchLoop(const NarrowPanel& panel, size_t batch, const uint32_t* index, const float* value, size_t count,
                            bool skipping, float* sum) {
  if (batch == 1) return SumNarrowRowsLoop(panel, index, value, count, skipping, sum);
  const auto row_at = [&](size_t i) { return panel.kernel + (index ? index[i] : i) * panel.stride + panel.first; };
  const auto load = [](const BFloat16* x) HWY_ATTR { return LoadWide(hn::ScalableTag<float>(), x); };
  SumFewRows(row_at, load, [](BFloat16 x) { return Wide(x); }, value, batch, count, panel.columns, sum);
}

}  // namespace HWY_NAMESPACE
}  // namespace sparsify
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sparsify {

HWY_EXPORT(NarrowLoop);
HWY_EXPORT(WidenLoop);
HWY_EXPORT(SumNarrowRowsLoop);
HWY_EXPORT(SumNarrowRowsBatchLoop);

void Narrow(const float* x, size_t n, BFloat16* y) { HWY_DYNAMIC_DISPATCH(NarrowLoop)(x, n, y); }

void Widen(const BFloat16* x, size_t n, float* y) { HWY_DYNAMIC_DISPATCH(WidenLoop)(x, n, y); }

void SumNarrowRows(const NarrowPanel& panel, const uint32_t* index, const float* value, size_t count, bool skipping,
                   float* sum) {
  HWY_DYNAMIC_DISPATCH(SumNarrowRowsLoop)(panel, index, value, count, skipping, sum);
}

void SumNarrowRowsBatch(const NarrowPanel& panel, size_t rows, const uint32_t* index, const float* value, size_t count,
                        bool skipping, float* sum) {
  HWY_DYNAMIC_DISPATCH(SumNarrowRowsBatchLoop)(panel, rows, index, value, count, skipping, sum);
}

}  // namespace sparsify
#endif  // HWY_ONCE
