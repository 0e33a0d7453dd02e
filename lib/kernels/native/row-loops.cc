#include "row-loops.h"

#include "loop-targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "row-loops.cc"
#include "hwy/foreach_target.h"  // compiles this file once per target
#include "hwy/highway.h"
// After foreach_target.h, as Highway asks.
#include "activation-inl.h"
#include "hwy/cache_control.h"
#include "kept-rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sparsify {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// 512 bytes ahead of the reading, in the same row or at the start of the next. Measured at 50 % of 1536 x 576, one
// thread: no prefetch 19.3 GB/s, this 20.5, a whole row ahead 19.3, 1,024 bytes 20.0. On dense rows it costs 10 %.
constexpr size_t kAhead = 128;

// Zen 3, one thread, 1536 x 576: dense 4 rows a pass 28.5 GB/s, 8 rows 26.4; at 50 % 18.4 and 20.5.
constexpr size_t kRowsDense = 4;
constexpr size_t kRowsSkipping = 8;

size_t CompactLoop(const float* x, size_t inputs, Threshold threshold, uint32_t* index, float* value) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const size_t lanes = hn::Lanes(d);
  size_t count = 0;
  size_t k = 0;
  for (; k + lanes <= inputs; k += lanes) {
    const auto v = hn::LoadU(d, x + k);
    const auto kept = Kept(d, v, threshold, k);
    hn::CompressStore(hn::Iota(du, static_cast<uint32_t>(k)), hn::RebindMask(du, kept), du, index + count);
    count += hn::CompressStore(v, kept, d, value + count);
  }
  for (; k < inputs; k++) {
    index[count] = static_cast<uint32_t>(k);
    value[count] = x[k];
    count += IsKept(x[k], threshold, k);
  }
  return count;
}

size_t CompactUnionLoop(const float* x, size_t rows, size_t inputs, Threshold threshold, uint32_t* index,
                        float* value) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const size_t lanes = hn::Lanes(d);
  HWY_ALIGN float columns[kMaxBatch][HWY_MAX_BYTES / sizeof(float)];
  HWY_ALIGN uint32_t kept_at[HWY_MAX_BYTES / sizeof(float) + kSlack];
  size_t count = 0;
  size_t k = 0;
  for (; k + lanes <= inputs; k += lanes) {
    auto any = hn::MaskFalse(d);
    for (size_t r = 0; r < rows; r++) {
      const auto v = hn::LoadU(d, x + r * inputs + k);
      const auto kept = Kept(d, v, threshold, k);
      any = hn::Or(any, kept);
      hn::Store(hn::IfThenElseZero(kept, v), d, columns[r]);
    }
    const size_t found = hn::CompressStore(hn::Iota(du, 0), hn::RebindMask(du, any), du, kept_at);
    for (size_t i = 0; i < found; i++) {
      const uint32_t lane = kept_at[i];
      index[count + i] = static_cast<uint32_t>(k) + lane;
      for (size_t r = 0; r < rows; r++) value[(count + i) * rows + r] = columns[r][lane];
    }
    count += found;
  }
  for (; k < inputs; k++) {
    bool any = false;
    for (size_t r = 0; r < rows; r++) {
      const float entry = x[r * inputs + k];
      const bool kept = IsKept(entry, threshold, k);
      any |= kept;
      value[count * rows + r] = kept ? entry : 0.0f;
    }
    index[count] = static_cast<uint32_t>(k);
    count += any;
  }
  return count;
}

size_t CountUnionLoop(const float* x, size_t rows, size_t inputs, Threshold threshold) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t count = 0;
  size_t k = 0;
  for (; k + lanes <= inputs; k += lanes) {
    auto any = hn::MaskFalse(d);
    for (size_t r = 0; r < rows; r++) any = hn::Or(any, Kept(d, hn::LoadU(d, x + r * inputs + k), threshold, k));
    count += hn::CountTrue(d, any);
  }
  for (; k < inputs; k++) {
    bool any = false;
    for (size_t r = 0; r < rows; r++) any |= IsKept(x[r * inputs + k], threshold, k);
    count += any;
  }
  return count;
}

void MaskLoop(const float* x, size_t inputs, Threshold threshold, float* y) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t k = 0;
  for (; k + lanes <= inputs; k += lanes) {
    const auto v = hn::LoadU(d, x + k);
    hn::StoreU(hn::IfThenElseZero(Kept(d, v, threshold, k), v), d, y + k);
  }
  for (; k < inputs; k++) y[k] = IsKept(x[k], threshold, k) ? x[k] : 0.0f;
}

// Rows of a panel by their place in the list.
struct RowList {
  const float* origin;  // first column of row 0
  size_t stride;
  const uint32_t* index;
  const float* Row(size_t i) const { return origin + (index ? index[i] : i) * stride; }
};

// Fetches what these rows hold kAhead columns after n, or beyond their end what the next rows begin with.
template <size_t kRows>
HWY_INLINE void PrefetchAhead(const float* const* HWY_RESTRICT row, const float* const* HWY_RESTRICT next, size_t n,
                              size_t columns) {
  const size_t ahead = n + kAhead;
  if (ahead < columns) {
    for (size_t u = 0; u < kRows; u++) hwy::Prefetch(row[u] + ahead);
  } else if (ahead - columns < columns) {
    for (size_t u = 0; u < kRows; u++) hwy::Prefetch(next[u] + (ahead - columns));
  }
}

// sum[n] += value[u] * row[u][n] over kRows rows; kFirst: sum[n] = instead. Prefetches `next` if kSkipping.
template <size_t kRows, bool kFirst, bool kSkipping>
HWY_INLINE void AddRows(const float* const* HWY_RESTRICT row, const float* const* HWY_RESTRICT next,
                        const float* HWY_RESTRICT value, size_t columns, float* HWY_RESTRICT sum) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  using V = hn::Vec<decltype(d)>;
  V factor[kRows];
  for (size_t u = 0; u < kRows; u++) factor[u] = hn::Set(d, value[u]);

  size_t n = 0;
  // Two vectors at a time: two chains of additions hide their latency, and on AVX2 it is one cache line.
  for (; n + 2 * lanes <= columns; n += 2 * lanes) {
    if constexpr (kSkipping) PrefetchAhead<kRows>(row, next, n, columns);
    V a = kFirst ? hn::Zero(d) : hn::LoadU(d, sum + n);
    V b = kFirst ? hn::Zero(d) : hn::LoadU(d, sum + n + lanes);
    for (size_t u = 0; u < kRows; u++) {
      a = hn::MulAdd(factor[u], hn::LoadU(d, row[u] + n), a);
      b = hn::MulAdd(factor[u], hn::LoadU(d, row[u] + n + lanes), b);
    }
    hn::StoreU(a, d, sum + n);
    hn::StoreU(b, d, sum + n + lanes);
  }
  for (; n + lanes <= columns; n += lanes) {
    V a = kFirst ? hn::Zero(d) : hn::LoadU(d, sum + n);
    for (size_t u = 0; u < kRows; u++) a = hn::MulAdd(factor[u], hn::LoadU(d, row[u] + n), a);
    hn::StoreU(a, d, sum + n);
  }
  for (; n < columns; n++) {
    float a = kFirst ? 0.0f : sum[n];
    for (size_t u = 0; u < kRows; u++) a += value[u] * row[u][n];
    sum[n] = a;
  }
}

// Adds rows [first, first + count) of the list, kRows a pass. A pass takes the j-th row of each of kRows equal
// parts: neighbours would look like one stream of odd strides to the prefetcher (1536 x 576: 18 against 28 GB/s).
// Returns how many rows it took.
template <size_t kRows, bool kSkipping>
HWY_INLINE size_t AddParts(const RowList& rows, size_t first, size_t count, const float* value, size_t columns,
                           bool& started, float* sum) {
  const size_t part = count / kRows;
  for (size_t j = 0; j < part; j++) {
    const float* row[kRows];
    const float* next[kRows];
    float factor[kRows];
    for (size_t u = 0; u < kRows; u++) {
      const size_t i = first + u * part + j;
      row[u] = rows.Row(i);
      factor[u] = value[i];
      // Past the end of its part stands the first row of the next: taken already, and in the cache or not, harmless.
      next[u] = kSkipping && i + 1 < first + count ? rows.Row(i + 1) : row[u];
    }
    if (started) {
      AddRows<kRows, false, kSkipping>(row, next, factor, columns, sum);
    } else {
      AddRows<kRows, true, kSkipping>(row, next, factor, columns, sum);
      started = true;
    }
  }
  return part * kRows;
}

void SumRowsLoop(const Panel& panel, const uint32_t* index, const float* value, size_t count, bool skipping,
                 float* sum) {
  const RowList rows{panel.kernel + panel.first, panel.stride, index};
  const size_t columns = panel.columns;
  bool started = false;
  size_t done = 0;
  if (skipping) done += AddParts<kRowsSkipping, true>(rows, done, count - done, value, columns, started, sum);
  done += AddParts<kRowsDense, false>(rows, done, count - done, value, columns, started, sum);
  done += AddParts<2, false>(rows, done, count - done, value, columns, started, sum);
  AddParts<1, false>(rows, done, count - done, value, columns, started, sum);
  if (!started) hwy::ZeroBytes(sum, columns * sizeof(float));
}

// sum[r][n] += value[u][r] * row[u][n] for kTile rows r of x and the 2 vectors of columns from n on. The sums stay in
// registers for all kRows rows of the kernel: with a tile of 4 that is 8 sums, 2 columns and a factor of the 16
// registers of AVX2, and 8 multiplications for 6 loads.
template <size_t kRows, size_t kTile>
HWY_INLINE void AddTile(const float* const* HWY_RESTRICT row, const float* const* HWY_RESTRICT value, size_t r0,
                        bool first, size_t n, size_t columns, float* HWY_RESTRICT sum) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  using V = hn::Vec<decltype(d)>;
  V a[kTile], b[kTile];
  for (size_t r = 0; r < kTile; r++) {
    a[r] = first ? hn::Zero(d) : hn::LoadU(d, sum + (r0 + r) * columns + n);
    b[r] = first ? hn::Zero(d) : hn::LoadU(d, sum + (r0 + r) * columns + n + lanes);
  }
  for (size_t u = 0; u < kRows; u++) {
    const V wa = hn::LoadU(d, row[u] + n);
    const V wb = hn::LoadU(d, row[u] + n + lanes);
    for (size_t r = 0; r < kTile; r++) {
      const V factor = hn::Set(d, value[u][r0 + r]);
      a[r] = hn::MulAdd(factor, wa, a[r]);
      b[r] = hn::MulAdd(factor, wb, b[r]);
    }
  }
  for (size_t r = 0; r < kTile; r++) {
    hn::StoreU(a[r], d, sum + (r0 + r) * columns + n);
    hn::StoreU(b[r], d, sum + (r0 + r) * columns + n + lanes);
  }
}

template <size_t kRows, bool kSkipping>
HWY_INLINE void AddRowsBatch(const float* const* HWY_RESTRICT row, const float* const* HWY_RESTRICT next,
                             const float* const* HWY_RESTRICT value, size_t batch, bool first, size_t columns,
                             float* HWY_RESTRICT sum) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const size_t tiles = (batch + 3) / 4;
  size_t n = 0;
  for (; n + 2 * lanes <= columns; n += 2 * lanes) {
    if constexpr (kSkipping) PrefetchAhead<kRows>(row, next, n, columns);
    size_t r = 0;
    for (size_t left = tiles; left > 0; left--) {
      const size_t tile = (batch - r + left - 1) / left;
      switch (tile) {
        case 4:
          AddTile<kRows, 4>(row, value, r, first, n, columns, sum);
          break;
        case 3:
          AddTile<kRows, 3>(row, value, r, first, n, columns, sum);
          break;
        case 2:
          AddTile<kRows, 2>(row, value, r, first, n, columns, sum);
          break;
        default:
          AddTile<kRows, 1>(row, value, r, first, n, columns, sum);
      }
      r += tile;
    }
  }
  for (; n < columns; n++) {
    for (size_t r = 0; r < batch; r++) {
      float a = first ? 0.0f : sum[r * columns + n];
      for (size_t u = 0; u < kRows; u++) a += value[u][r] * row[u][n];
      sum[r * columns + n] = a;
    }
  }
}

template <size_t kRows, bool kSkipping>
HWY_INLINE size_t AddPartsBatch(const RowList& rows, size_t first, size_t count, const float* value, size_t batch,
                                size_t columns, bool& started, float* sum) {
  const size_t part = count / kRows;
  for (size_t j = 0; j < part; j++) {
    const float* row[kRows];
    const float* next[kRows];
    const float* factor[kRows];
    for (size_t u = 0; u < kRows; u++) {
      const size_t i = first + u * part + j;
      row[u] = rows.Row(i);
      factor[u] = value + i * batch;
      next[u] = kSkipping && i + 1 < first + count ? rows.Row(i + 1) : row[u];
    }
    AddRowsBatch<kRows, kSkipping>(row, next, factor, batch, !started, columns, sum);
    started = true;
  }
  return part * kRows;
}

void SumRowsBatchLoop(const Panel& panel, size_t batch, const uint32_t* index, const float* value, size_t count,
                      bool skipping, float* sum) {
  if (batch == 1) return SumRowsLoop(panel, index, value, count, skipping, sum);
  const RowList rows{panel.kernel + panel.first, panel.stride, index};
  const size_t columns = panel.columns;
  bool started = false;
  size_t done = 0;
  if (skipping) {
    done += AddPartsBatch<8, true>(rows, done, count - done, value, batch, columns, started, sum);
  } else {
    done += AddPartsBatch<8, false>(rows, done, count - done, value, batch, columns, started, sum);
  }
  AddPartsBatch<1, false>(rows, done, count - done, value, batch, columns, started, sum);
  if (!started) hwy::ZeroBytes(sum, batch * columns * sizeof(float));
}

template <Activation kActivation>
bool FinishAs(const float* parts, size_t count, size_t part_stride, const float* bias, size_t columns, float* y) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto finite = hn::Not(hn::MaskFalse(d));
  size_t n = 0;
  for (; n < columns; n += lanes) {
    const size_t left = columns - n;
    if (HWY_LIKELY(left >= lanes)) {
      auto v = hn::LoadU(d, parts + n);
      for (size_t p = 1; p < count; p++) v = hn::Add(v, hn::LoadU(d, parts + p * part_stride + n));
      if (bias) v = hn::Add(v, hn::LoadU(d, bias + n));
      v = Activate<kActivation>(d, v);
      finite = hn::And(finite, hn::IsFinite(v));
      hn::StoreU(v, d, y + n);
    } else {
      auto v = hn::LoadN(d, parts + n, left);
      for (size_t p = 1; p < count; p++) v = hn::Add(v, hn::LoadN(d, parts + p * part_stride + n, left));
      if (bias) v = hn::Add(v, hn::LoadN(d, bias + n, left));
      v = Activate<kActivation>(d, v);
      finite = hn::And(finite, hn::IsFinite(v));
      hn::StoreN(v, d, y + n, left);
    }
  }
  return hn::AllTrue(d, finite);
}

bool FinishLoop(const float* parts, size_t count, size_t part_stride, const float* bias, Activation activation,
                size_t n, float* y) {
  switch (activation) {
    case Activation::kLinear:
      return FinishAs<Activation::kLinear>(parts, count, part_stride, bias, n, y);
    case Activation::kRelu:
      return FinishAs<Activation::kRelu>(parts, count, part_stride, bias, n, y);
    case Activation::kSilu:
      return FinishAs<Activation::kSilu>(parts, count, part_stride, bias, n, y);
    case Activation::kGelu:
      return FinishAs<Activation::kGelu>(parts, count, part_stride, bias, n, y);
    case Activation::kTanh:
      return FinishAs<Activation::kTanh>(parts, count, part_stride, bias, n, y);
    case Activation::kSigmoid:
      return FinishAs<Activation::kSigmoid>(parts, count, part_stride, bias, n, y);
  }
  HWY_ABORT("activation %d", static_cast<int>(activation));
}

float SumAllLoop(const float* data, size_t n) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  // Four streams far apart, as in the dense kernel: one alone is up to a third slower.
  const size_t part = n / 4 / lanes * lanes;
  auto a = hn::Zero(d), b = a, c = a, e = a;
  for (size_t i = 0; i < part; i += lanes) {
    a = hn::Add(a, hn::LoadU(d, data + i));
    b = hn::Add(b, hn::LoadU(d, data + part + i));
    c = hn::Add(c, hn::LoadU(d, data + 2 * part + i));
    e = hn::Add(e, hn::LoadU(d, data + 3 * part + i));
  }
  float sum = hn::ReduceSum(d, hn::Add(hn::Add(a, b), hn::Add(c, e)));
  for (size_t i = 4 * part; i < n; i++) sum += data[i];
  return sum;
}

const char* LoopTargetName() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace sparsify
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sparsify {

HWY_EXPORT(CompactLoop);
HWY_EXPORT(CompactUnionLoop);
HWY_EXPORT(CountUnionLoop);
HWY_EXPORT(MaskLoop);
HWY_EXPORT(SumRowsLoop);
HWY_EXPORT(SumRowsBatchLoop);
HWY_EXPORT(FinishLoop);
HWY_EXPORT(SumAllLoop);
HWY_EXPORT(LoopTargetName);

size_t Compact(const float* x, size_t inputs, Threshold threshold, uint32_t* index, float* value) {
  return HWY_DYNAMIC_DISPATCH(CompactLoop)(x, inputs, threshold, index, value);
}

size_t CompactUnion(const float* x, size_t rows, size_t inputs, Threshold threshold, uint32_t* index,
                    float* value) {
  return HWY_DYNAMIC_DISPATCH(CompactUnionLoop)(x, rows, inputs, threshold, index, value);
}

size_t CountUnion(const float* x, size_t rows, size_t inputs, Threshold threshold) {
  return HWY_DYNAMIC_DISPATCH(CountUnionLoop)(x, rows, inputs, threshold);
}

void Mask(const float* x, size_t inputs, Threshold threshold, float* y) {
  HWY_DYNAMIC_DISPATCH(MaskLoop)(x, inputs, threshold, y);
}

void SumRows(const Panel& panel, const uint32_t* index, const float* value, size_t count, bool skipping,
             float* sum) {
  HWY_DYNAMIC_DISPATCH(SumRowsLoop)(panel, index, value, count, skipping, sum);
}

void SumRowsBatch(const Panel& panel, size_t rows, const uint32_t* index, const float* value, size_t count,
                  bool skipping, float* sum) {
  HWY_DYNAMIC_DISPATCH(SumRowsBatchLoop)(panel, rows, index, value, count, skipping, sum);
}

bool Finish(const float* parts, size_t count, size_t part_stride, const float* bias, Activation activation,
            size_t n, float* y) {
  return HWY_DYNAMIC_DISPATCH(FinishLoop)(parts, count, part_stride, bias, activation, n, y);
}

float SumAll(const float* data, size_t n) { return HWY_DYNAMIC_DISPATCH(SumAllLoop)(data, n); }

const char* LoopTarget() { return HWY_DYNAMIC_DISPATCH(LoopTargetName)(); }

}  // namespace sparsify
#endif  // HWY_ONCE
