#include "decoder-loops.h"

#include <cmath>
#include <limits>

// The same targets as loops.cc.
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_AVX10_2 | HWY_AVX3_SPR | HWY_AVX3_ZEN4 | HWY_AVX3_DL | HWY_SSSE3)
#endif
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "decoder-loops.cc"
#include "hwy/foreach_target.h"  // compiles this file once per target
#include "hwy/highway.h"
// After foreach_target.h, as Highway asks.
#include "activation-inl.h"
#include "few-rows-inl.h"
#include "hwy/cache_control.h"

HWY_BEFORE_NAMESPACE();
namespace sparsify {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// As in loops.cc; 256 columns of bfloat16 are its 512 bytes.
constexpr size_t kAheadNarrow = 256;
constexpr size_t kRowsAPass = 8;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

template <class D, class V = hn::Vec<D>>
HWY_INLINE V LoadWide(D d, const float* x) {
  return hn::LoadU(d, x);
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V LoadWide(D d, const BFloat16* x) {
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, D> dh;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(dh, x))));
}
HWY_INLINE float Wide(float x) { return x; }
HWY_INLINE float Wide(BFloat16 x) { return hwy::BitCastScalar<float>(static_cast<uint32_t>(x) << 16); }

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

// Adds rows [first, first + count) of the list, kRows a pass, which lie a kRows-th of the list apart (see loops.cc).
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

void NormalizeLoop(const float* x, const float* weight, size_t n, float epsilon, float* y) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto a = hn::Zero(d), b = hn::Zero(d);
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    const auto v = hn::LoadU(d, x + i), w = hn::LoadU(d, x + i + lanes);
    a = hn::MulAdd(v, v, a);
    b = hn::MulAdd(w, w, b);
  }
  float squares = hn::ReduceSum(d, hn::Add(a, b));
  for (; i < n; i++) squares += x[i] * x[i];
  const float scale = 1.0f / std::sqrt(squares / static_cast<float>(n) + epsilon);
  const auto scales = hn::Set(d, scale);
  for (i = 0; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + i), scales), hn::LoadU(d, weight + i)), d, y + i);
  }
  for (; i < n; i++) y[i] = x[i] * scale * weight[i];
}

void AddPartsLoop(const float* parts, size_t count, size_t part_stride, const float* bias, float factor, size_t n,
                  float* x) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto factors = hn::Set(d, factor);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    auto v = hn::LoadU(d, parts + i);
    for (size_t p = 1; p < count; p++) v = hn::Add(v, hn::LoadU(d, parts + p * part_stride + i));
    if (bias) v = hn::Add(v, hn::LoadU(d, bias + i));
    hn::StoreU(hn::MulAdd(factors, v, hn::LoadU(d, x + i)), d, x + i);
  }
  for (; i < n; i++) {
    float v = parts[i];
    for (size_t p = 1; p < count; p++) v += parts[p * part_stride + i];
    if (bias) v += bias[i];
    x[i] += factor * v;
  }
}

// 0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))), which is x * sigmoid of twice that argument.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V GeluTanh(D d, V x) {
  const V cube = hn::Mul(hn::Mul(x, x), x);
  const V argument = hn::Mul(hn::Set(d, 1.5957691216057308f), hn::MulAdd(hn::Set(d, 0.044715f), cube, x));
  return hn::Mul(x, Sigmoid(d, argument));
}

template <class F>
HWY_INLINE void GateBy(const F& activate, const float* gate, const float* up, size_t n, float* y) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    hn::StoreU(hn::Mul(activate(d, hn::LoadU(d, gate + i)), hn::LoadU(d, up + i)), d, y + i);
  }
  if (i == n) return;
  const auto last = hn::Mul(activate(d, hn::LoadN(d, gate + i, n - i)), hn::LoadN(d, up + i, n - i));
  hn::StoreN(last, d, y + i, n - i);
}

void GateLoop(GateActivation activation, const float* gate, const float* up, size_t n, float* y) {
  switch (activation) {
    case GateActivation::kSilu:
      return GateBy([](auto d, auto x) HWY_ATTR { return Activate<Activation::kSilu>(d, x); }, gate, up, n, y);
    case GateActivation::kGelu:
      return GateBy([](auto d, auto x) HWY_ATTR { return Activate<Activation::kGelu>(d, x); }, gate, up, n, y);
    case GateActivation::kGeluTanh:
      return GateBy([](auto d, auto x) HWY_ATTR { return GeluTanh(d, x); }, gate, up, n, y);
  }
}

void RotateLoop(const float* cos, const float* sin, size_t half, float* x) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= half; i += lanes) {
    const auto c = hn::LoadU(d, cos + i), s = hn::LoadU(d, sin + i);
    const auto a = hn::LoadU(d, x + i), b = hn::LoadU(d, x + half + i);
    hn::StoreU(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, x + i);
    hn::StoreU(hn::MulAdd(a, s, hn::Mul(b, c)), d, x + half + i);
  }
  for (; i < half; i++) {
    const float a = x[i], b = x[half + i];
    x[i] = a * cos[i] - b * sin[i];
    x[half + i] = b * cos[i] + a * sin[i];
  }
}

size_t CountMaskedLoop(const float* x, size_t n, float threshold) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto limit = hn::Set(d, threshold);
  size_t count = 0;
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) count += hn::CountTrue(d, hn::Le(hn::Abs(hn::LoadU(d, x + i)), limit));
  for (; i < n; i++) count += hwy::ScalarAbs(x[i]) <= threshold;
  return count;
}

double LogLikelihoodLoop(const float* x, size_t n, size_t target) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  auto highest = hn::Set(d, kMinusInfinity);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) highest = hn::Max(highest, hn::LoadU(d, x + i));
  float maximum = hn::ReduceMax(d, highest);
  for (; i < n; i++) maximum = x[i] > maximum ? x[i] : maximum;
  // In pieces, so that the float sums stay short.
  double total = 0;
  const auto shift = hn::Set(d, maximum);
  for (i = 0; i + lanes <= n;) {
    auto sum = hn::Zero(d);
    for (size_t piece = 0; piece < 256 && i + lanes <= n; piece++, i += lanes) {
      sum = hn::Add(sum, Exp(d, hn::Sub(hn::LoadU(d, x + i), shift)));
    }
    total += static_cast<double>(hn::ReduceSum(d, sum));
  }
  for (; i < n; i++) total += std::exp(static_cast<double>(x[i]) - maximum);
  return static_cast<double>(x[target]) - maximum - std::log(total);
}

// At most 8 lanes: a group of keys is two such vectors, or more of shorter ones.
using DAttend = hn::CappedTag<float, kKeyGroup / 2>;

// score[r * kCacheBlock + i] for the positions of one group.
template <size_t kRows, class T>
HWY_INLINE void ScoreGroup(const T* HWY_RESTRICT keys, size_t head_size, const Attending* rows, float* score) {
  const DAttend d;
  const size_t lanes = hn::Lanes(d);
  using V = hn::Vec<DAttend>;
  for (size_t i = 0; i < kKeyGroup; i += 2 * lanes) {
    V a[kRows], b[kRows];
    for (size_t r = 0; r < kRows; r++) a[r] = b[r] = hn::Zero(d);
    for (size_t k = 0; k < head_size; k++) {
      const V left = LoadWide(d, keys + k * kKeyGroup + i);
      const V right = LoadWide(d, keys + k * kKeyGroup + i + lanes);
      for (size_t r = 0; r < kRows; r++) {
        const V q = hn::Set(d, rows[r].query[k]);
        a[r] = hn::MulAdd(q, left, a[r]);
        b[r] = hn::MulAdd(q, right, b[r]);
      }
    }
    for (size_t r = 0; r < kRows; r++) {
      hn::Store(a[r], d, score + r * kCacheBlock + i);
      hn::Store(b[r], d, score + r * kCacheBlock + i + lanes);
    }
  }
}

// Turns the scores of positions [low, high) into exp(score - maximum) and moves the sums so far to the new maximum.
HWY_INLINE void SoftmaxBlock(size_t head_size, size_t low, size_t high, Attending& row, float* score) {
  const DAttend d;
  const size_t lanes = hn::Lanes(d);
  for (size_t t = low; t < high; t++) {
    if (t < row.first || t >= row.last) score[t] = kMinusInfinity;
  }
  auto highest = hn::Set(d, row.maximum);
  for (size_t t = low; t < high; t += lanes) highest = hn::Max(highest, hn::Load(d, score + t));
  const float maximum = hn::ReduceMax(d, highest);
  // Nothing seen yet: any finite number will do.
  const float shift = maximum == kMinusInfinity ? 0.0f : maximum;
  auto total = hn::Zero(d);
  for (size_t t = low; t < high; t += lanes) {
    const auto p = Exp(d, hn::Sub(hn::Load(d, score + t), hn::Set(d, shift)));
    hn::Store(p, d, score + t);
    total = hn::Add(total, p);
  }
  if (row.maximum == kMinusInfinity) {
    hwy::ZeroBytes(row.sum, head_size * sizeof(float));
    row.total = 0;
  } else if (maximum != row.maximum) {
    const float factor = std::exp(row.maximum - maximum);
    for (size_t k = 0; k < head_size; k++) row.sum[k] *= factor;
    row.total *= factor;
  }
  row.total += hn::ReduceSum(d, total);
  row.maximum = maximum;
}

template <size_t kRows, class T>
HWY_INLINE void AddValues(const T* HWY_RESTRICT values, size_t head_size, size_t low, size_t high,
                          const float* weight, const Attending* rows) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  using V = hn::Vec<decltype(d)>;
  size_t k = 0;
  for (; k + 2 * lanes <= head_size; k += 2 * lanes) {
    V a[kRows], b[kRows];
    for (size_t r = 0; r < kRows; r++) {
      a[r] = hn::LoadU(d, rows[r].sum + k);
      b[r] = hn::LoadU(d, rows[r].sum + k + lanes);
    }
    for (size_t t = low; t < high; t++) {
      const V left = LoadWide(d, values + t * head_size + k);
      const V right = LoadWide(d, values + t * head_size + k + lanes);
      for (size_t r = 0; r < kRows; r++) {
        const V p = hn::Set(d, weight[r * kCacheBlock + t]);
        a[r] = hn::MulAdd(p, left, a[r]);
        b[r] = hn::MulAdd(p, right, b[r]);
      }
    }
    for (size_t r = 0; r < kRows; r++) {
      hn::StoreU(a[r], d, rows[r].sum + k);
      hn::StoreU(b[r], d, rows[r].sum + k + lanes);
    }
  }
  for (; k < head_size; k++) {
    for (size_t r = 0; r < kRows; r++) {
      float sum = rows[r].sum[k];
      for (size_t t = low; t < high; t++) sum += weight[r * kCacheBlock + t] * Wide(values[t * head_size + k]);
      rows[r].sum[k] = sum;
    }
  }
}

template <size_t kRows, class T>
HWY_NOINLINE void AttendBlockOf(const T* keys, const T* values, size_t head_size, Attending* rows) {
  HWY_ALIGN float score[kRows * kCacheBlock];
  size_t first = kCacheBlock, last = 0;
  for (size_t r = 0; r < kRows; r++) {
    if (rows[r].first >= rows[r].last) continue;
    first = HWY_MIN(first, rows[r].first);
    last = HWY_MAX(last, rows[r].last);
  }
  if (first >= last) return;
  const size_t low = first / kKeyGroup * kKeyGroup;
  const size_t high = (last + kKeyGroup - 1) / kKeyGroup * kKeyGroup;
  for (size_t t = low; t < high; t += kKeyGroup) ScoreGroup<kRows>(keys + t * head_size, head_size, rows, score + t);
  for (size_t r = 0; r < kRows; r++) SoftmaxBlock(head_size, low, high, rows[r], score + r * kCacheBlock);
  AddValues<kRows>(values, head_size, first, last, score, rows);
}

template <class T>
HWY_INLINE void AttendBlockLoop(const T* keys, const T* values, size_t head_size, Attending* rows, size_t count) {
  switch (count) {
    case 1:
      return AttendBlockOf<1>(keys, values, head_size, rows);
    case 2:
      return AttendBlockOf<2>(keys, values, head_size, rows);
    case 3:
      return AttendBlockOf<3>(keys, values, head_size, rows);
    case 4:
      return AttendBlockOf<4>(keys, values, head_size, rows);
    case 5:
      return AttendBlockOf<5>(keys, values, head_size, rows);
    case 6:
      return AttendBlockOf<6>(keys, values, head_size, rows);
    default:
      HWY_ABORT("AttendBlock takes 1 to %d queries", static_cast<int>(kAttendRows));
  }
}

void AttendWideLoop(const float* keys, const float* values, size_t head_size, Attending* rows, size_t count) {
  AttendBlockLoop(keys, values, head_size, rows, count);
}
void AttendNarrowLoop(const BFloat16* keys, const BFloat16* values, size_t head_size, Attending* rows, size_t count) {
  AttendBlockLoop(keys, values, head_size, rows, count);
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
HWY_EXPORT(NormalizeLoop);
HWY_EXPORT(AddPartsLoop);
HWY_EXPORT(GateLoop);
HWY_EXPORT(RotateLoop);
HWY_EXPORT(CountMaskedLoop);
HWY_EXPORT(LogLikelihoodLoop);
HWY_EXPORT(AttendWideLoop);
HWY_EXPORT(AttendNarrowLoop);

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

void Normalize(const float* x, const float* weight, size_t n, float epsilon, float* y) {
  HWY_DYNAMIC_DISPATCH(NormalizeLoop)(x, weight, n, epsilon, y);
}

void AddParts(const float* parts, size_t count, size_t part_stride, const float* bias, float factor, size_t n,
              float* x) {
  HWY_DYNAMIC_DISPATCH(AddPartsLoop)(parts, count, part_stride, bias, factor, n, x);
}

void Gate(GateActivation activation, const float* gate, const float* up, size_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(GateLoop)(activation, gate, up, n, y);
}

void Rotate(const float* cos, const float* sin, size_t half, float* x) {
  HWY_DYNAMIC_DISPATCH(RotateLoop)(cos, sin, half, x);
}

size_t CountMasked(const float* x, size_t n, float threshold) {
  return HWY_DYNAMIC_DISPATCH(CountMaskedLoop)(x, n, threshold);
}

double LogLikelihood(const float* x, size_t n, size_t target) {
  return HWY_DYNAMIC_DISPATCH(LogLikelihoodLoop)(x, n, target);
}

void AttendBlock(const float* keys, const float* values, size_t head_size, Attending* rows, size_t count) {
  HWY_DYNAMIC_DISPATCH(AttendWideLoop)(keys, values, head_size, rows, count);
}

void AttendBlock(const BFloat16* keys, const BFloat16* values, size_t head_size, Attending* rows, size_t count) {
  HWY_DYNAMIC_DISPATCH(AttendNarrowLoop)(keys, values, head_size, rows, count);
}

}  // namespace sparsify
#endif  // HWY_ONCE
