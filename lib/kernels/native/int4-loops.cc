#include "int4-loops.h"

#include <algorithm>
#include <numeric>

#include "loop-targets.h"
#include "row-loops.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "int4-loops.cc"
#include "hwy/foreach_target.h"  // compiles this file once per target
#include "hwy/highway.h"
// After foreach_target.h, as Highway asks.
#include "hwy/cache_control.h"

#ifndef SPARSIFY_INT4_LOOPS_ONCE_
#define SPARSIFY_INT4_LOOPS_ONCE_
namespace sparsify {

constexpr size_t kBlock = 16;        // columns of 8 bytes
constexpr size_t kRun = 8;           // columns that lie side by side as halves of bytes
constexpr size_t kSegmentRows = 32;
constexpr float kSymmetricZero = 8;

// 15 times so much, and 15 times 32 roundings by a half, stay within 16 bits.
constexpr float kLargestTotal = 2168;
constexpr float kLargestInteger = 127;

constexpr size_t kPackedColumns = 128;

}  // namespace sparsify
#endif

HWY_BEFORE_NAMESPACE();
namespace sparsify {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// A run of columns: one vector, or two where these have 4 lanes.
using DF = hn::CappedTag<float, kRun>;
using VF = hn::Vec<DF>;
constexpr size_t kLanes = hn::MaxLanes(DF());

// Two runs, where a vector has that many lanes.
using DR = hn::CappedTag<float, 2 * kRun>;

// Below it float16 is subnormal: multiples of 2^-24.
constexpr float kMinNormal = 1.0f / (1 << 14);
constexpr float kSubnormalShift = 0.75f;  // adding and subtracting it leaves a multiple of 2^-24
constexpr float kSplitter = 8193;         // 2^13 + 1: c = v * kSplitter; c - (c - v) is v rounded to 11 bits

// 256 bytes ahead: 4 lines of each of up to 32 rows.
constexpr size_t kAhead = 256;
constexpr size_t kLine = 64;

// `count` float16 numbers, or a vector of them.
template <class D>
HWY_INLINE hn::Vec<D> LoadHalves(D d, const Float16Bits* halves, size_t count) {
  const hn::Rebind<uint16_t, D> d16;
  const auto bits = count >= hn::MaxLanes(d) ? hn::LoadU(d16, halves) : hn::LoadN(d16, halves, count);
  return hn::PromoteTo(d, hn::BitCast(hn::Rebind<hwy::float16_t, D>(), bits));
}

template <class D>
HWY_INLINE hn::Vec<D> LoadSome(D d, const float* numbers, size_t count) {
  return count >= hn::MaxLanes(d) ? hn::LoadU(d, numbers) : hn::LoadN(d, numbers, count);
}

template <class D>
HWY_INLINE void StoreSome(D d, hn::Vec<D> v, float* numbers, size_t count) {
  if (count >= hn::MaxLanes(d)) {
    hn::StoreU(v, d, numbers);
  } else {
    hn::StoreN(v, d, numbers, count);
  }
}

// Integers of one run, of part of it, or of it and the next, which lies kNext behind it.
template <size_t kNext, class D>
HWY_INLINE hn::Vec<hn::RebindToSigned<D>> LoadWords(D d, const int16_t* words) {
  const hn::Rebind<int16_t, D> d16;
  if constexpr (hn::MaxLanes(d) == 2 * kRun) {
    const hn::Half<decltype(d16)> half;
    return hn::PromoteTo(hn::RebindToSigned<D>(),
                         hn::Combine(d16, hn::LoadU(half, words + kNext), hn::LoadU(half, words)));
  } else {
    return hn::PromoteTo(hn::RebindToSigned<D>(), hn::LoadU(d16, words));
  }
}

// Columns from n on of a row of halves of bytes, n a multiple of the lanes; within a row's last 8 bytes there are always all of
// them.
HWY_INLINE VF LoadNibbles(const uint8_t* row, size_t n) {
  const hn::Rebind<uint8_t, DF> d8;
  const auto bytes = hn::LoadU(d8, row + n / kBlock * kRun + n % kRun);
  const auto nibbles = n % kBlock < kRun ? hn::And(bytes, hn::Set(d8, uint8_t{15})) : hn::ShiftRight<4>(bytes);
  return hn::ConvertTo(DF(), hn::PromoteTo(hn::RebindToSigned<DF>(), nibbles));
}

// scale * steps rounded to float16, ties to even; as Columns of int8-loops.cc.
HWY_INLINE VF RoundedProduct(VF scale, VF steps) {
  const DF d;
  const VF c = hn::Mul(steps, hn::Mul(scale, hn::Set(d, kSplitter)));
  const VF rounded = hn::Sub(c, hn::NegMulAdd(steps, scale, c));
  const VF shift = hn::Set(d, kSubnormalShift);
  const VF product = hn::Mul(steps, scale);
  const VF subnormal = hn::Sub(hn::Add(product, shift), shift);
  return hn::IfThenElse(hn::Lt(hn::Abs(product), hn::Set(d, kMinNormal)), subnormal, rounded);
}

void DequantizeInt4Loop(const Int4Panel& panel, size_t row, float* weights) {
  const DF d;
  const StoredKernel& kernel = panel.kernel;
  const Int4Groups& groups = kernel.groups;
  const size_t group = row / groups.size;
  const uint8_t* const values = kernel.int4() + row * kernel.stride;
  const uint8_t* const zeros = groups.zero_point ? groups.zero_point + group * kernel.stride : nullptr;
  for (size_t n = 0; n < panel.columns; n += kLanes) {
    const size_t column = panel.first + n, left = panel.columns - n;
    const VF scale = LoadHalves(d, groups.scale + group * groups.stride + column, left);
    const VF q = LoadNibbles(values, column);
    VF weight;
    if (groups.minimum) {
      weight = hn::MulAdd(scale, q, LoadHalves(d, groups.minimum + group * groups.stride + column, left));
    } else {
      const VF zero = zeros ? LoadNibbles(zeros, column) : hn::Set(d, kSymmetricZero);
      weight = RoundedProduct(scale, hn::Sub(q, zero));
    }
    StoreSome(d, weight, weights + n, left);
  }
}

void SumInt4RowsBatchLoop(const Int4Panel& panel, size_t first_row, size_t batch, const uint32_t* index, const float* value,
                          size_t count, float* sum) {
  constexpr size_t kAtOnce = 1024;
  const DF d;
  HWY_ALIGN float weights[kAtOnce];
  hwy::ZeroBytes(sum, batch * panel.columns * sizeof(float));
  for (size_t first = 0; first < panel.columns; first += kAtOnce) {
    const size_t columns = HWY_MIN(kAtOnce, panel.columns - first);
    for (size_t i = 0; i < count; i++) {
      DequantizeInt4Loop({panel.kernel, panel.first + first, columns}, index ? index[i] : first_row + i, weights);
      for (size_t r = 0; r < batch; r++) {
        const VF factor = hn::Set(d, value[i * batch + r]);
        float* const at = sum + r * panel.columns + first;
        for (size_t n = 0; n < columns; n += kLanes) {
          const size_t left = columns - n;
          StoreSome(d, hn::MulAdd(factor, hn::Load(d, weights + n), LoadSome(d, at + n, left)), at + n, left);
        }
      }
    }
  }
}

void PackInt4PanelLoop(const Int4Panel& panel, size_t first_row, size_t depth, float* packed) {
  // The strips of block-loops.cc: two vectors of the whole width.
  constexpr size_t kWidth = 2 * hn::MaxLanes(hn::ScalableTag<float>());
  const DF d;
  HWY_ALIGN float weights[kPackedColumns + kWidth];
  std::fill(weights + panel.columns, weights + panel.columns + kWidth, 0.0f);
  for (size_t k = 0; k < depth; k++) {
    const uint8_t* const ahead = panel.kernel.int4() + (first_row + (k + 8 < depth ? k + 8 : k)) * panel.kernel.stride;
    hwy::Prefetch(ahead + panel.first / 2);
    DequantizeInt4Loop(panel, first_row + k, weights);
    for (size_t n = 0; n < panel.columns; n += kWidth) {
      float* const out = packed + n * depth + k * kWidth;
      for (size_t i = 0; i < kWidth; i += kLanes) hn::Store(hn::Load(d, weights + n + i), d, out + i);
    }
  }
}

// Lanes of one row of a segment's values, with room for a vector behind them.
using Values = float[kSegmentRows + kRun];

// Rounds the values of one row of x, of which those behind the last one are 0, and lays them as Int4Inputs::factor has them. Returns
// whether it can.
HWY_INLINE bool RoundSegment(const Values& value, size_t count, size_t batch, uint32_t* factor, float* step, int32_t* total) {
  const DF d;
  const hn::RebindToSigned<DF> di;
  VF largest = hn::Zero(d), positive = hn::Zero(d), all = hn::Zero(d);
  auto finite = hn::Eq(largest, largest);
  for (size_t i = 0; i < count; i += kLanes) {
    const VF v = hn::Load(d, value + i);
    const VF magnitude = hn::Abs(v);
    // Compared, not taken from the maximum, in which a NaN can get lost.
    finite = hn::And(finite, hn::Lt(magnitude, hn::Set(d, 1e30f)));
    largest = hn::Max(largest, magnitude);
    positive = hn::Add(positive, hn::Max(v, hn::Zero(d)));
    all = hn::Add(all, magnitude);
  }
  const float most = hn::ReduceMax(d, largest), above = hn::ReduceSum(d, positive);
  const float below = hn::ReduceSum(d, all) - above;
  *step = HWY_MAX(most / kLargestInteger, HWY_MAX(above, below) / kLargestTotal);
  if (!hn::AllTrue(d, finite) || (most > 0 && *step < 1e-30f)) return false;
  const VF inverse = hn::Set(d, most > 0 ? 1 / *step : 0.0f);
  auto sum = hn::Zero(di);
  HWY_ALIGN int32_t integer[kSegmentRows + kRun];
  for (size_t i = 0; i < count; i += kLanes) {
    const auto rounded = hn::NearestInt(hn::Mul(hn::Load(d, value + i), inverse));
    hn::Store(rounded, di, integer + i);
    sum = hn::Add(sum, rounded);
  }
  *total = hn::ReduceSum(di, sum);
  for (size_t i = 0; i < count; i += 2) {
    const uint32_t both = (integer[i] & 0xFF) | (integer[i + 1] & 0xFF) << 8;
    factor[i / 2 * batch] = both | both << 16;
  }
  return true;
}

// The kept inputs [first, first + count) of one group.
HWY_INLINE bool AddSegment(const uint32_t* index, const float* value, size_t first, size_t count, size_t group,
                           Int4Inputs& inputs) {
  const size_t batch = inputs.batch, even = (count + 1) / 2 * 2, start = inputs.row.size();
  inputs.segments.push_back({static_cast<uint32_t>(start), static_cast<uint32_t>(even), static_cast<uint32_t>(group)});
  inputs.row.resize(start + even);
  uint32_t* const row = inputs.row.data() + start;
  if (index) {
    std::copy_n(index + first, count, row);
  } else {
    std::iota(row, row + count, static_cast<uint32_t>(first));
  }
  row[even - 1] = row[count - 1];
  const size_t rounded = inputs.step.size();
  inputs.factor.resize((start + even) / 2 * batch);
  inputs.step.resize(rounded + batch);
  inputs.total.resize(rounded + batch);
  uint32_t* const factor = inputs.factor.data() + start / 2 * batch;
  HWY_ALIGN Values own = {};
  for (size_t r = 0; r < batch; r++) {
    if (batch == 1) {
      std::copy_n(value + first, count, own);
    } else {
      for (size_t i = 0; i < count; i++) own[i] = value[(first + i) * batch + r];
    }
    if (!RoundSegment(own, count, batch, factor + r, &inputs.step[rounded + r], &inputs.total[rounded + r])) return false;
  }
  return true;
}

bool RoundInputsLoop(const uint32_t* index, const float* value, size_t count, size_t group_size, Int4Inputs& inputs) {
  for (size_t first = 0; first < count;) {
    const size_t group = (index ? index[first] : first) / group_size;
    const size_t end = (group + 1) * group_size;  // of its rows
    size_t last = index ? first : HWY_MIN(end, count);
    while (index && last < count && index[last] < end) last++;
    // Of nearly the same, even length, but for a last one.
    const size_t segments = (last - first + kSegmentRows - 1) / kSegmentRows;
    const size_t length = ((last - first + segments - 1) / segments + 1) / 2 * 2;
    for (; first < last; first += HWY_MIN(length, last - first)) {
      if (!AddSegment(index, value, first, HWY_MIN(length, last - first), group, inputs)) return false;
    }
  }
  return true;
}

// Where the rows of a segment lie, and those of the next.
struct SegmentRows {
  const uint8_t* row[kSegmentRows];
  const uint8_t* next[kSegmentRows];
  size_t count;
};

// What kTile rows of x have for a segment, of the first of them.
struct SegmentValues {
  const uint32_t* factor;
  const float* step;
  const int32_t* total;
  size_t batch;
};

// The group's part of a panel, and where its sums go.
struct SegmentColumns {
  const Float16Bits* scale;
  const Float16Bits* minimum;  // or null
  const uint8_t* zero_point;   // or null
  size_t columns;
  bool first;  // sets sums rather than adding
};

// Adds the integers of up to kColumns columns from column n on. Of each 16 bytes of a row, four runs lie kWords apart.
template <size_t kColumns, size_t kWords, size_t kRowWords, size_t kTile, bool kWhole>
HWY_INLINE void AddWords(const int16_t* words, const SegmentValues& values, const SegmentColumns& group, size_t n,
                         float* HWY_RESTRICT sum) {
  const DR d;
  constexpr size_t kLanesAtOnce = hn::MaxLanes(DR());
  constexpr size_t kFourRuns = HWY_MIN(4 * kRun, kColumns);
  constexpr size_t kVectorColumns = HWY_MIN(4 * kWords, kColumns);
  for (size_t first = 0; first < kColumns; first += kFourRuns) {
    const int16_t* const four = words + first / kVectorColumns * 4 * kWords + first % kVectorColumns / 4;
    for (size_t i = 0; i < kFourRuns; i += kLanesAtOnce) {
      const size_t at = n + first + i;
      const size_t left = kWhole ? kLanesAtOnce : group.columns - at;
      if (!kWhole && at >= group.columns) return;
      const auto scale = LoadHalves(d, group.scale + at, left);
      for (size_t r = 0; r < kTile; r++) {
        float* const y = sum + r * group.columns + at;
        const auto step = hn::Set(d, values.step[r]);
        const auto whole = LoadWords<kWords>(d, four + r * kRowWords + i / kRun * kWords + i % kRun);
        auto after = hn::Mul(hn::ConvertTo(d, whole), hn::Mul(step, scale));
        if (group.minimum) {
          const auto total = hn::Mul(step, hn::Set(d, static_cast<float>(values.total[r])));
          after = hn::MulAdd(total, LoadHalves(d, group.minimum + at, left), after);
        }
        if (!group.first) after = hn::Add(after, LoadSome(d, y, left));
        StoreSome(d, after, y, left);
      }
    }
  }
}

// kVectors vectors of bytes of each row of a segment, from column n of the panel on; `kHalf`: 8 bytes, of a vector of 16.
template <class D8, size_t kVectors, size_t kTile, bool kHalf>
HWY_INLINE void AddPass(const SegmentRows& rows, const SegmentValues& values, const SegmentColumns& group, size_t n,
                        const uint8_t* const* ahead, size_t ahead_offset, float* HWY_RESTRICT sum) {
  const D8 d8;
  const hn::Repartition<int8_t, D8> di8;
  const hn::Repartition<int16_t, D8> d16;
  const hn::Repartition<uint32_t, D8> d32;
  using V8 = hn::Vec<D8>;
  using V16 = hn::Vec<decltype(d16)>;
  constexpr size_t kBytes = hn::MaxLanes(D8());
  constexpr size_t kSums = 4 * kVectors;
  constexpr size_t kWords = kBytes / 2;
  const V8 low = hn::Set(d8, uint8_t{15});
  const auto load = [&](const uint8_t* bytes) HWY_ATTR {
    if constexpr (kHalf) {
      return hn::ZeroExtendVector(d8, hn::LoadU(hn::Half<D8>(), bytes));
    } else {
      return hn::LoadU(d8, bytes);
    }
  };
  V16 a[kTile * kSums];
  if (group.zero_point) {
    for (size_t v = 0; v < kVectors; v++) {
      const V8 zeros = load(group.zero_point + n / 2 + v * kBytes);
      const V8 none = hn::Zero(d8);
      const V8 lower = hn::InterleaveLower(d8, zeros, none), upper = hn::InterleaveUpper(d8, zeros, none);
      const V16 zero[4] = {
          hn::BitCast(d16, hn::And(lower, low)), hn::BitCast(d16, hn::And(hn::ShiftRight<4>(lower), low)),
          hn::BitCast(d16, hn::And(upper, low)), hn::BitCast(d16, hn::And(hn::ShiftRight<4>(upper), low))};
      for (size_t r = 0; r < kTile; r++) {
        const V16 minus = hn::Set(d16, static_cast<int16_t>(-values.total[r]));
        for (size_t i = 0; i < 4; i++) a[r * kSums + 4 * v + i] = hn::Mul(zero[i], minus);
      }
    }
  } else {
    for (size_t r = 0; r < kTile; r++) {
      const int32_t start = group.minimum ? 0 : -static_cast<int32_t>(kSymmetricZero) * values.total[r];
      for (size_t i = 0; i < kSums; i++) a[r * kSums + i] = hn::Set(d16, static_cast<int16_t>(start));
    }
  }
  const size_t offset = n / 2;
  for (size_t u = 0; u < rows.count; u += 2) {
    if (ahead) {
      hwy::Prefetch(ahead[u] + ahead_offset);
      hwy::Prefetch(ahead[u + 1] + ahead_offset);
    }
    const uint32_t* const factor = values.factor + u / 2 * values.batch;
    for (size_t v = 0; v < kVectors; v++) {
      const V8 one = load(rows.row[u] + offset + v * kBytes), other = load(rows.row[u + 1] + offset + v * kBytes);
      const V8 lower = hn::InterleaveLower(d8, one, other);
      const V8 q0 = hn::And(lower, low), q1 = hn::And(hn::ShiftRight<4>(lower), low);
      if constexpr (kHalf) {
        for (size_t r = 0; r < kTile; r++) {
          const auto f = hn::BitCast(di8, hn::Set(d32, factor[r]));
          a[r * kSums] = hn::Add(a[r * kSums], hn::SatWidenMulPairwiseAdd(d16, q0, f));
          a[r * kSums + 1] = hn::Add(a[r * kSums + 1], hn::SatWidenMulPairwiseAdd(d16, q1, f));
        }
      } else {
        const V8 upper = hn::InterleaveUpper(d8, one, other);
        const V8 q2 = hn::And(upper, low), q3 = hn::And(hn::ShiftRight<4>(upper), low);
        for (size_t r = 0; r < kTile; r++) {
          const auto f = hn::BitCast(di8, hn::Set(d32, factor[r]));
          V16* const at = a + r * kSums + 4 * v;
          at[0] = hn::Add(at[0], hn::SatWidenMulPairwiseAdd(d16, q0, f));
          at[1] = hn::Add(at[1], hn::SatWidenMulPairwiseAdd(d16, q1, f));
          at[2] = hn::Add(at[2], hn::SatWidenMulPairwiseAdd(d16, q2, f));
          at[3] = hn::Add(at[3], hn::SatWidenMulPairwiseAdd(d16, q3, f));
        }
      }
    }
  }
  HWY_ALIGN int16_t out[kTile * kSums * kWords];
  for (size_t i = 0; i < kTile * kSums; i++) hn::Store(a[i], d16, out + i * kWords);
  constexpr size_t kColumns = kHalf ? kBlock : 2 * kBytes * kVectors;
  if (n + kColumns <= group.columns) {
    AddWords<kColumns, kWords, kSums * kWords, kTile, true>(out, values, group, n, sum);
  } else {
    AddWords<kColumns, kWords, kSums * kWords, kTile, false>(out, values, group, n, sum);
  }
}

// All rows of x, in tiles whose sums stay in registers.
template <class D8, size_t kVectors, bool kHalf, bool kBatch>
HWY_INLINE void AddTiles(const SegmentRows& rows, const SegmentValues& all, const SegmentColumns& group, size_t n,
                         bool prefetching, float* sum) {
  const size_t bytes = (group.columns + kBlock - 1) / kBlock * kRun;
  const size_t offset = n / 2 + kAhead;
  const uint8_t* const* ahead = nullptr;
  size_t ahead_offset = 0;
  if (prefetching) {
    ahead = offset < bytes ? rows.row : rows.next;
    // Of rows that are shorter than that, the same columns of the next ones.
    ahead_offset = offset < bytes ? offset : bytes < kAhead ? n / 2 : offset - bytes;
  }
  if constexpr (!kBatch) {
    AddPass<D8, kVectors, 1, kHalf>(rows, all, group, n, ahead, ahead_offset, sum);
  } else {
    constexpr size_t kTile = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64 ? 4 : 2;
    for (size_t r = 0; r < all.batch;) {
      const SegmentValues values{all.factor + r, all.step + r, all.total + r, all.batch};
      float* const at = sum + r * group.columns;
      if (r + kTile <= all.batch) {
        AddPass<D8, kVectors, kTile, kHalf>(rows, values, group, n, ahead, ahead_offset, at);
        r += kTile;
      } else {
        AddPass<D8, kVectors, 1, kHalf>(rows, values, group, n, ahead, ahead_offset, at);
        r++;
      }
      ahead = nullptr;
    }
  }
}

template <bool kBatch>
HWY_INLINE void AddSegmentRows(const SegmentRows& rows, const SegmentValues& values, const SegmentColumns& group, float* sum) {
  using D8 = hn::ScalableTag<uint8_t>;
  using D128 = hn::Full128<uint8_t>;
  constexpr size_t kBytes = hn::MaxLanes(D8());
  // A line of each row; with more rows of x the registers are theirs.
  constexpr size_t kVectors = kBatch || kBytes >= kLine ? 1 : 2;
  const size_t padded = (group.columns + kBlock - 1) / kBlock * kBlock;
  size_t n = 0;
  for (; n + 2 * kVectors * kBytes <= padded; n += 2 * kVectors * kBytes) {
    AddTiles<D8, kVectors, false, kBatch>(rows, values, group, n, n / 2 % kLine == 0, sum);
  }
  if (kVectors == 2 && n + 2 * kBytes <= padded) {
    AddTiles<D8, 1, false, kBatch>(rows, values, group, n, true, sum);
    n += 2 * kBytes;
  }
  if (kBytes == kLine && n + kBytes <= padded) {
    AddTiles<hn::CappedTag<uint8_t, kLine / 2>, 1, false, kBatch>(rows, values, group, n, true, sum);
    n += kBytes;
  }
  for (; n + 2 * kBlock <= padded; n += 2 * kBlock) {
    AddTiles<D128, 1, false, kBatch>(rows, values, group, n, n / 2 % kLine == 0, sum);
  }
  if (n < padded) AddTiles<D128, 1, true, kBatch>(rows, values, group, n, n / 2 % kLine == 0, sum);
}

void SumInt4SegmentsLoop(const Int4Panel& panel, const Int4Inputs& inputs, size_t first, size_t last, float* sum) {
  const StoredKernel& kernel = panel.kernel;
  const Int4Groups& groups = kernel.groups;
  const uint8_t* const values = kernel.int4() + panel.first / 2;
  for (size_t s = first; s < last; s++) {
    const Int4Segment& segment = inputs.segments[s];
    const Int4Segment& after = inputs.segments[s + 1 < last ? s + 1 : s];
    SegmentRows rows;
    rows.count = segment.count;
    for (size_t i = 0; i < segment.count; i++) {
      rows.row[i] = values + inputs.row[segment.first + i] * kernel.stride;
      rows.next[i] = values + inputs.row[after.first + HWY_MIN(i, size_t{after.count} - 1)] * kernel.stride;
    }
    const size_t batch = inputs.batch;
    const SegmentValues own{inputs.factor.data() + segment.first / 2 * batch, inputs.step.data() + s * batch,
                            inputs.total.data() + s * batch, batch};
    const size_t halves = segment.group * groups.stride + panel.first;
    const SegmentColumns group{
        groups.scale + halves, groups.minimum ? groups.minimum + halves : nullptr,
        groups.zero_point ? groups.zero_point + segment.group * kernel.stride + panel.first / 2 : nullptr, panel.columns,
        s == first};
    if (batch == 1) {
      AddSegmentRows<false>(rows, own, group, sum);
    } else {
      AddSegmentRows<true>(rows, own, group, sum);
    }
  }
  if (first == last) hwy::ZeroBytes(sum, inputs.batch * panel.columns * sizeof(float));
}

}  // namespace HWY_NAMESPACE
}  // namespace sparsify
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sparsify {

HWY_EXPORT(RoundInputsLoop);
HWY_EXPORT(SumInt4SegmentsLoop);
HWY_EXPORT(SumInt4RowsBatchLoop);
HWY_EXPORT(PackInt4PanelLoop);
HWY_EXPORT(DequantizeInt4Loop);

bool RoundInputs(const uint32_t* index, const float* value, size_t count, size_t batch, size_t group_size,
                 Int4Inputs& inputs) {
  inputs.batch = batch;
  inputs.segments.clear();
  inputs.row.clear();
  inputs.factor.clear();
  inputs.step.clear();
  inputs.total.clear();
  return HWY_DYNAMIC_DISPATCH(RoundInputsLoop)(index, value, count, group_size, inputs);
}

void SumInt4Segments(const Int4Panel& panel, const Int4Inputs& inputs, size_t first, size_t last, float* sum) {
  HWY_DYNAMIC_DISPATCH(SumInt4SegmentsLoop)(panel, inputs, first, last, sum);
}

void SumInt4RowsBatch(const Int4Panel& panel, size_t first_row, size_t batch, const uint32_t* index, const float* value,
                      size_t count, float* sum) {
  HWY_DYNAMIC_DISPATCH(SumInt4RowsBatchLoop)(panel, first_row, batch, index, value, count, sum);
}

void PackInt4Panel(const Int4Panel& panel, size_t first_row, size_t depth, float* packed) {
  HWY_DYNAMIC_DISPATCH(PackInt4PanelLoop)(panel, first_row, depth, packed);
}

void DequantizeInt4(const Int4Panel& panel, size_t row, float* weights) {
  HWY_DYNAMIC_DISPATCH(DequantizeInt4Loop)(panel, row, weights);
}

void DequantizeInt4Column(const StoredKernel& kernel, size_t rows, size_t column, float* weights) {
  // Columns lie in other lines of every row, so that reading them is all that takes time: a block of each is dequantized.
  const size_t first = column / kBlock * kBlock;
  float block[kBlock];
  for (size_t row = 0; row < rows; row++) {
    DequantizeInt4({kernel, first, column - first + 1}, row, block);
    weights[row] = block[column - first];
  }
}

}  // namespace sparsify
#endif  // HWY_ONCE
