#include "attention-loops.h"

#include <cmath>
#include <limits>

#include "loop-targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "attention-loops.cc"
#include "hwy/foreach_target.h"  // compiles this file once per target
#include "hwy/highway.h"
// After foreach_target.h, as Highway asks.
#include "activation-inl.h"
#include "load-wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sparsify {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

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

HWY_EXPORT(AttendWideLoop);
HWY_EXPORT(AttendNarrowLoop);

void AttendBlock(const float* keys, const float* values, size_t head_size, Attending* rows, size_t count) {
  HWY_DYNAMIC_DISPATCH(AttendWideLoop)(keys, values, head_size, rows, count);
}

void AttendBlock(const BFloat16* keys, const BFloat16* values, size_t head_size, Attending* rows, size_t count) {
  HWY_DYNAMIC_DISPATCH(AttendNarrowLoop)(keys, values, head_size, rows, count);
}

}  // namespace sparsify
#endif  // HWY_ONCE
