#include "int8-loops.h"

#include <algorithm>

#include "loop-targets.h"
#include "row-loops.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "int8-loops.cc"
#include "hwy/foreach_target.h"  // compiles this file once per target
#include "hwy/highway.h"
// After foreach_target.h, as Highway asks.
#include "few-rows-inl.h"
#include "hwy/cache_control.h"

HWY_BEFORE_NAMESPACE();
namespace sparsify {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::ScalableTag<float>;
using VF = hn::Vec<DF>;

// What one row of the kernel is made into before it is multiplied.
enum class Kind : uint8_t {
  kSteps,    // q
  kNormal,   // the weight, of columns whose products are 0 or at least 2^-14: normal in float16
  kGeneral,  // the weight
};

// 512 bytes ahead, as in row-loops.cc, here so many columns.
constexpr size_t kAhead = 512;
constexpr size_t kLine = 64;

// Below it float16 is subnormal: multiples of 2^-24.
constexpr float kMinNormal = 1.0f / (1 << 14);
constexpr float kSubnormalShift = 0.75f;  // adding and subtracting it leaves a multiple of 2^-24
constexpr float kSplitter = 8193;         // 2^13 + 1: c = v * kSplitter; c - (c - v) is v rounded to 11 bits

// The scales and zero points of a vector of columns; for Kind::kSteps nothing.
template <Kind kKind>
struct Columns {
  VF scale, split, zero;
  HWY_INLINE Columns(const float* scales, const float* zero_points) {
    const DF d;
    scale = hn::LoadU(d, scales);
    // Exact: 11 bits of scale, twice, 13 apart. Hence scale * steps * kSplitter is rounded once, as it must be.
    split = hn::Mul(scale, hn::Set(d, kSplitter));
    zero = hn::LoadU(d, zero_points);
  }
  HWY_INLINE VF Weights(VF q) const {
    const VF steps = hn::Sub(q, zero);
    const VF c = hn::Mul(steps, split);
    const VF rounded = hn::Sub(c, hn::NegMulAdd(steps, scale, c));
    if constexpr (kKind == Kind::kNormal) {
      return rounded;
    } else {
      const DF d;
      const VF shift = hn::Set(d, kSubnormalShift);
      const VF product = hn::Mul(steps, scale);
      const VF subnormal = hn::Sub(hn::Add(product, shift), shift);
      return hn::IfThenElse(hn::Lt(hn::Abs(product), hn::Set(d, kMinNormal)), subnormal, rounded);
    }
  }
};

template <>
struct Columns<Kind::kSteps> {
  HWY_INLINE Columns(const float*, const float*) {}
  HWY_INLINE VF Weights(VF q) const { return q; }
};

HWY_INLINE VF Widen(const int8_t* q) {
  const DF d;
  return hn::ConvertTo(d, hn::PromoteTo(hn::RebindToSigned<DF>(), hn::LoadU(hn::Rebind<int8_t, DF>(), q)));
}

template <Kind kKind>
HWY_INLINE float WeightOf(int8_t q, float scale, float zero_point) {
  if constexpr (kKind == Kind::kSteps) return q;
  const float product = scale * (static_cast<float>(q) - zero_point);
  if (hwy::ScalarAbs(product) < kMinNormal) return (product + kSubnormalShift) - kSubnormalShift;
  // By its bits: compilers make one operation of a product and a difference, which would not round the product.
  const auto bits = hwy::BitCastScalar<uint32_t>(product);
  return hwy::BitCastScalar<float>((bits + 0xFFF + (bits >> 13 & 1)) & ~uint32_t{0x1FFF});
}

HWY_INLINE Kind KindOf(const Int8Panel& panel) {
  for (size_t n = panel.first; n < panel.first + panel.columns; n++) {
    if (!(hwy::ScalarAbs(panel.scale[n]) >= kMinNormal)) return Kind::kGeneral;
  }
  return Kind::kNormal;
}

// kRows rows of the kernel, from their first column: where they lie, where the next ones do, and their values for each
// row of x.
template <size_t kRows>
struct Pass {
  const int8_t* row[kRows];
  const int8_t* next[kRows];
  const float* value[kRows];
};

// Fetches what these rows hold kAhead columns after n, or beyond their end what the next rows begin with; of rows shorter
// than that, the same columns of rows so far behind.
template <size_t kRows>
HWY_INLINE void PrefetchAhead(const Pass<kRows>& pass, size_t n, size_t columns) {
  const size_t ahead = n + kAhead;
  if (ahead < columns) {
    for (size_t u = 0; u < kRows; u++) hwy::Prefetch(pass.row[u] + ahead);
  } else {
    const size_t next = columns < kAhead ? n : ahead - columns;
    for (size_t u = 0; u < kRows; u++) hwy::Prefetch(pass.next[u] + next);
  }
}

// sum[r][n] += value[u][r] * weight[u][n] for kTile rows r of x and the kVectors vectors of columns from n on; sum starts at
// row 0 of the tile. `factor(u, r)` is value[u][r] in all lanes.
template <Kind kKind, size_t kRows, size_t kTile, size_t kVectors, class F>
HWY_INLINE void AddTile(const Pass<kRows>& pass, const F& factor, bool first, const Int8Panel& panel, size_t n,
                        float* HWY_RESTRICT sum) {
  const DF d;
  constexpr size_t kLanes = hn::MaxLanes(DF());
  static_assert(kVectors == 1 || kVectors == 2);
  const size_t column = panel.first + n;
  const Columns<kKind> left(panel.scale + column, panel.zero_point + column);
  const Columns<kKind> right(panel.scale + column + (kVectors - 1) * kLanes,
                             panel.zero_point + column + (kVectors - 1) * kLanes);
  VF a[kTile], b[kTile];
  for (size_t r = 0; r < kTile; r++) {
    float* const at = sum + r * panel.columns + n;
    a[r] = first ? hn::Zero(d) : hn::LoadU(d, at);
    if constexpr (kVectors == 2) b[r] = first ? hn::Zero(d) : hn::LoadU(d, at + kLanes);
  }
  for (size_t u = 0; u < kRows; u++) {
    const VF wa = left.Weights(Widen(pass.row[u] + n));
    if constexpr (kVectors == 2) {
      const VF wb = right.Weights(Widen(pass.row[u] + n + kLanes));
      for (size_t r = 0; r < kTile; r++) {
        const VF f = factor(u, r);
        a[r] = hn::MulAdd(f, wa, a[r]);
        b[r] = hn::MulAdd(f, wb, b[r]);
      }
    } else {
      for (size_t r = 0; r < kTile; r++) a[r] = hn::MulAdd(factor(u, r), wa, a[r]);
    }
  }
  for (size_t r = 0; r < kTile; r++) {
    float* const at = sum + r * panel.columns + n;
    hn::StoreU(a[r], d, at);
    if constexpr (kVectors == 2) hn::StoreU(b[r], d, at + kLanes);
  }
}

// The kVectors vectors from n on for all rows of x, in tiles of at most 4, whose sums stay in registers.
template <Kind kKind, size_t kRows, size_t kVectors>
HWY_INLINE void AddTiles(const Pass<kRows>& pass, size_t batch, bool first, const Int8Panel& panel, size_t n, float* sum) {
  const DF d;
  size_t r0 = 0;
  const auto factor = [&](size_t u, size_t r) HWY_ATTR { return hn::Set(d, pass.value[u][r0 + r]); };
  for (size_t left = (batch + 3) / 4; left > 0; left--) {
    const size_t tile = (batch - r0 + left - 1) / left;
    float* const at = sum + r0 * panel.columns;
    switch (tile) {
      case 4:
        AddTile<kKind, kRows, 4, kVectors>(pass, factor, first, panel, n, at);
        break;
      case 3:
        AddTile<kKind, kRows, 3, kVectors>(pass, factor, first, panel, n, at);
        break;
      case 2:
        AddTile<kKind, kRows, 2, kVectors>(pass, factor, first, panel, n, at);
        break;
      default:
        AddTile<kKind, kRows, 1, kVectors>(pass, factor, first, panel, n, at);
    }
    r0 += tile;
  }
}

// sum[r][n] += value[u][r] * weight[u][n] over kRows rows of the kernel; `first`: sum[r][n] = instead.
template <Kind kKind, size_t kRows, bool kSkipping, bool kBatch>
HWY_INLINE void AddRows(const Pass<kRows>& pass, size_t batch, bool first, const Int8Panel& panel, float* sum) {
  const DF d;
  constexpr size_t kLanes = hn::MaxLanes(DF());
  const size_t columns = panel.columns;
  VF factors[kRows];
  if constexpr (!kBatch) {
    for (size_t u = 0; u < kRows; u++) factors[u] = hn::Set(d, pass.value[u][0]);
  }
  const auto factor = [&](size_t u, size_t) HWY_ATTR { return factors[u]; };
  size_t n = 0;
  for (; n + 2 * kLanes <= columns; n += 2 * kLanes) {
    if (kSkipping && n % kLine == 0) PrefetchAhead(pass, n, columns);
    if constexpr (kBatch) {
      AddTiles<kKind, kRows, 2>(pass, batch, first, panel, n, sum);
    } else {
      AddTile<kKind, kRows, 1, 2>(pass, factor, first, panel, n, sum);
    }
  }
  if (n + kLanes <= columns) {
    if constexpr (kBatch) {
      AddTiles<kKind, kRows, 1>(pass, batch, first, panel, n, sum);
    } else {
      AddTile<kKind, kRows, 1, 1>(pass, factor, first, panel, n, sum);
    }
    n += kLanes;
  }
  for (; n < columns; n++) {
    for (size_t r = 0; r < batch; r++) {
      float a = first ? 0.0f : sum[r * columns + n];
      for (size_t u = 0; u < kRows; u++) {
        const size_t column = panel.first + n;
        a += pass.value[u][r] * WeightOf<kKind>(pass.row[u][n], panel.scale[column], panel.zero_point[column]);
      }
      sum[r * columns + n] = a;
    }
  }
}

// The inputs to be summed, as CompactUnion lays them.
struct Inputs {
  const uint32_t* index;  // null: all rows from the first on
  const float* value;     // [count, batch]
  size_t count;
  size_t batch;
};

// Adds the inputs from `done` on, kRows a pass, which are a kRows-th of the list apart (see row-loops.cc). Returns how many it
// took.
template <Kind kKind, size_t kRows, bool kSkipping, bool kBatch>
HWY_INLINE size_t AddParts(const Int8Panel& panel, const Inputs& inputs, size_t done, float* sum) {
  const auto row_at = [&](size_t i) {
    return panel.values + (inputs.index ? inputs.index[i] : i) * panel.stride + panel.first;
  };
  const size_t part = (inputs.count - done) / kRows;
  const size_t rows_ahead = 1 + kAhead / (panel.columns + 1);
  // Nobody has fetched the first rows ahead.
  for (size_t n = 0; kSkipping && part > 0 && n < kAhead && n < panel.columns; n += kLine) {
    for (size_t u = 0; u < kRows; u++) hwy::Prefetch(row_at(done + u * part) + n);
  }
  for (size_t j = 0; j < part; j++) {
    Pass<kRows> pass;
    for (size_t u = 0; u < kRows; u++) {
      const size_t i = done + u * part + j;
      pass.row[u] = row_at(i);
      pass.value[u] = inputs.value + i * inputs.batch;
      pass.next[u] = kSkipping && i + rows_ahead < inputs.count ? row_at(i + rows_ahead) : pass.row[u];
    }
    AddRows<kKind, kRows, kSkipping, kBatch>(pass, inputs.batch, done == 0 && j == 0, panel, sum);
  }
  return part * kRows;
}

// Weights are made of kernels that fit a cache: there is nothing to prefetch.
template <Kind kKind, bool kBatch>
void SumAs(const Int8Panel& panel, const Inputs& inputs, bool skipping, float* sum) {
  size_t done = 0;
  if constexpr (kKind == Kind::kSteps) {
    if (skipping) {
      done += AddParts<kKind, 8, true, kBatch>(panel, inputs, done, sum);
    } else if (panel.prefetches) {
      done += AddParts<kKind, 4, true, kBatch>(panel, inputs, done, sum);
    }
  }
  done += AddParts<kKind, 4, false, kBatch>(panel, inputs, done, sum);
  done += AddParts<kKind, 2, false, kBatch>(panel, inputs, done, sum);
  done += AddParts<kKind, 1, false, kBatch>(panel, inputs, done, sum);
  if (done == 0) hwy::ZeroBytes(sum, inputs.batch * panel.columns * sizeof(float));
}

#if HWY_TARGET == HWY_WASM

// Steps are multiplied in integers: to widen a number to float takes twice the time of reading it there, and dot products of
// 16-bit integers a third of that. Values are rounded to 16 bits, and those that are much larger than the others of their row, of
// which a few would cost the others their bits, are left to the loop above.
constexpr float kLargestOfMean = 16;  // a value counts up to so many times the mean: an error of at most 2^-12 of the mean

// Of so many rows of the kernel 2^7 * 2^15 * rows stays below 2^31.
constexpr size_t kIntegerRows = 496;
constexpr size_t kIntegerPass = 8;  // rows of the kernel, in pairs

// Sums of all rows of x at a time.
constexpr size_t kIntegerSums = 8192;

// The values of a row of x as integers of `scale`.
struct IntegerRow {
  float largest;
  float scale;
};

// Rows of the kernel, and what the rows of x have for them: factors[p * batch + r] has the values of both rows of pair p, the first
// in the lower half.
template <size_t kPairs>
struct IntegerPass {
  const int8_t* row[2 * kPairs];
  const int32_t* factors;
  size_t batch;
  bool first;
};

// Adds kPairs pairs of rows to the sums [batch, columns] of `columns` columns, a multiple of 16; a half of these are made into 16
// bits at a time, which all rows of x multiply then.
template <size_t kPairs, bool kBatch>
HWY_INLINE void AddPairs(const IntegerPass<kPairs>& pass, size_t columns, int32_t* HWY_RESTRICT sum) {
  const hn::Full128<int8_t> d8;
  const hn::Full128<int16_t> d16;
  const hn::Full128<int32_t> d32;
  using V16 = hn::Vec<decltype(d16)>;
  using V32 = hn::Vec<decltype(d32)>;
  if constexpr (!kBatch) {
    V16 factor[kPairs];
    for (size_t p = 0; p < kPairs; p++) factor[p] = hn::BitCast(d16, hn::Set(d32, pass.factors[p]));
    for (size_t n = 0; n < columns; n += 16) {
      V32 s[4];
      for (size_t i = 0; i < 4; i++) s[i] = pass.first ? hn::Zero(d32) : hn::LoadU(d32, sum + n + 4 * i);
      for (size_t p = 0; p < kPairs; p++) {
        const auto one = hn::LoadU(d8, pass.row[2 * p] + n);
        const auto other = hn::LoadU(d8, pass.row[2 * p + 1] + n);
        const auto lower = hn::InterleaveLower(d8, one, other);
        const auto upper = hn::InterleaveUpper(d8, one, other);
        s[0] = hn::Add(s[0], hn::WidenMulPairwiseAdd(d32, hn::PromoteLowerTo(d16, lower), factor[p]));
        s[1] = hn::Add(s[1], hn::WidenMulPairwiseAdd(d32, hn::PromoteUpperTo(d16, lower), factor[p]));
        s[2] = hn::Add(s[2], hn::WidenMulPairwiseAdd(d32, hn::PromoteLowerTo(d16, upper), factor[p]));
        s[3] = hn::Add(s[3], hn::WidenMulPairwiseAdd(d32, hn::PromoteUpperTo(d16, upper), factor[p]));
      }
      for (size_t i = 0; i < 4; i++) hn::StoreU(s[i], d32, sum + n + 4 * i);
    }
  } else {
    for (size_t n = 0; n < columns; n += 8) {
      V16 a[kPairs], b[kPairs];
      for (size_t p = 0; p < kPairs; p++) {
        const hn::Half<decltype(d8)> half;
        const auto one = hn::ZeroExtendVector(d8, hn::LoadU(half, pass.row[2 * p] + n));
        const auto other = hn::ZeroExtendVector(d8, hn::LoadU(half, pass.row[2 * p + 1] + n));
        const auto both = hn::InterleaveLower(d8, one, other);
        a[p] = hn::PromoteLowerTo(d16, both);
        b[p] = hn::PromoteUpperTo(d16, both);
      }
      for (size_t r = 0; r < pass.batch; r++) {
        int32_t* const at = sum + r * columns + n;
        V32 left = pass.first ? hn::Zero(d32) : hn::LoadU(d32, at);
        V32 right = pass.first ? hn::Zero(d32) : hn::LoadU(d32, at + 4);
        for (size_t p = 0; p < kPairs; p++) {
          const V16 factor = hn::BitCast(d16, hn::Set(d32, pass.factors[p * pass.batch + r]));
          left = hn::Add(left, hn::WidenMulPairwiseAdd(d32, a[p], factor));
          right = hn::Add(right, hn::WidenMulPairwiseAdd(d32, b[p], factor));
        }
        hn::StoreU(left, d32, at);
        hn::StoreU(right, d32, at + 4);
      }
    }
  }
}

// Rows of the kernel that are multiplied in integers, and the values of the rows of x for them, [kIntegerRows + 1, batch].
struct IntegerList {
  const int8_t* row[kIntegerRows + 1];
  int16_t value[(kIntegerRows + 1) * kMaxBatch];
  size_t count;
};

// Adds the rows of the list from `first` on, kPairs pairs a pass, which are a part of the list apart, from `column` of the panel on.
// Returns how many rows it took.
template <size_t kPairs, bool kBatch>
HWY_INLINE size_t AddPairParts(const IntegerList& list, size_t batch, size_t column, size_t first, bool& started, size_t columns,
                               int32_t* sum) {
  constexpr size_t kRows = 2 * kPairs;
  const size_t part = (list.count - first) / kRows;
  int32_t factors[kPairs * kMaxBatch];
  for (size_t j = 0; j < part; j++) {
    IntegerPass<kPairs> pass;
    for (size_t p = 0; p < kPairs; p++) {
      const size_t one = first + 2 * p * part + j, other = one + part;
      pass.row[2 * p] = list.row[one] + column;
      pass.row[2 * p + 1] = list.row[other] + column;
      for (size_t r = 0; r < batch; r++) {
        factors[p * batch + r] =
            static_cast<uint16_t>(list.value[one * batch + r]) | static_cast<int32_t>(list.value[other * batch + r]) * 65536;
      }
    }
    pass.factors = factors;
    pass.batch = batch;
    pass.first = !started;
    AddPairs<kPairs, kBatch>(pass, columns, sum);
    started = true;
  }
  return part * kRows;
}

// How the values of each row of x become integers. Returns whether they can: not with an Inf or NaN.
HWY_INLINE bool FindIntegers(const Inputs& inputs, IntegerRow* rows) {
  for (size_t r = 0; r < inputs.batch; r++) {
    float total = 0;
    for (size_t i = 0; i < inputs.count; i++) total += hwy::ScalarAbs(inputs.value[i * inputs.batch + r]);
    rows[r].largest = kLargestOfMean * total / static_cast<float>(inputs.count);
    rows[r].scale = rows[r].largest / 32767;
    // A row of x that keeps nothing is 0 wherever the others keep something.
    if (total != 0 && !(rows[r].scale > 1e-30f && rows[r].scale < 1e30f)) return false;
  }
  return true;
}

// The next inputs from `next` on as integers.
HWY_INLINE void ListIntegers(const Int8Panel& panel, const Inputs& inputs, const IntegerRow* rows, size_t& next,
                             IntegerList& list) {
  const size_t batch = inputs.batch;
  list.count = 0;
  for (; next < inputs.count && list.count < kIntegerRows; next++) {
    bool counts = false;
    for (size_t r = 0; r < batch; r++) {
      const float value = inputs.value[next * batch + r];
      const bool in_integers = value != 0 && hwy::ScalarAbs(value) <= rows[r].largest;
      const float scaled = in_integers ? value / rows[r].scale : 0.0f;
      list.value[list.count * batch + r] = static_cast<int16_t>(scaled + (scaled < 0 ? -0.5f : 0.5f));
      counts |= in_integers;
    }
    if (!counts) continue;
    const size_t row = inputs.index ? inputs.index[next] : next;
    list.row[list.count++] = panel.values + row * panel.stride + panel.first;
  }
  if (list.count % 2 == 0) return;
  // The last pair of an odd number has a row twice, the second time by a value of 0.
  for (size_t r = 0; r < batch; r++) list.value[list.count * batch + r] = 0;
  list.row[list.count] = list.row[list.count - 1];
  list.count++;
}

// The steps of columns [0, columns), a multiple of 16, in integers. Returns whether it could.
template <bool kBatch>
bool SumIntegers(const Int8Panel& panel, const Inputs& inputs, size_t columns, float* sum) {
  const size_t batch = inputs.batch;
  IntegerRow rows[kMaxBatch];
  if (!FindIntegers(inputs, rows)) return false;
  const DF d;
  IntegerList list;
  HWY_ALIGN int32_t integers[kIntegerSums];
  const size_t columns_at_once = kIntegerSums / batch / 16 * 16;
  bool first = true;
  for (size_t next = 0; next < inputs.count; first = false) {
    ListIntegers(panel, inputs, rows, next, list);
    for (size_t column = 0; column < columns; column += columns_at_once) {
      const size_t here = HWY_MIN(columns_at_once, columns - column);
      bool started = false;
      const size_t done = AddPairParts<kIntegerPass / 2, kBatch>(list, batch, column, 0, started, here, integers);
      AddPairParts<1, kBatch>(list, batch, column, done, started, here, integers);
      if (!started) hwy::ZeroBytes(integers, batch * here * sizeof(int32_t));
      for (size_t r = 0; r < batch; r++) {
        const VF scales = hn::Set(d, rows[r].scale);
        for (size_t n = 0; n < here; n += 4) {
          const auto whole = hn::Load(hn::RebindToSigned<DF>(), integers + r * here + n);
          const VF steps = hn::Mul(scales, hn::ConvertTo(d, whole));
          float* const at = sum + r * panel.columns + column + n;
          hn::StoreU(first ? steps : hn::Add(hn::LoadU(d, at), steps), d, at);
        }
      }
    }
  }
  const Int8Panel left{panel.values, panel.stride, nullptr, nullptr, panel.first, columns};
  for (size_t i = 0; i < inputs.count; i++) {
    for (size_t r = 0; r < batch; r++) {
      const float* const value = inputs.value + i * batch + r;
      if (!(hwy::ScalarAbs(*value) > rows[r].largest)) continue;
      Pass<1> pass{};
      pass.row[0] = panel.values + (inputs.index ? inputs.index[i] : i) * panel.stride + panel.first;
      pass.value[0] = value;
      AddRows<Kind::kSteps, 1, false, false>(pass, 1, false, left, sum + r * panel.columns);
    }
  }
  return true;
}

// Whether the steps could be summed in integers, but for the last columns, which are fewer than 16.
bool SumsIntegers(const Int8Panel& panel, const Inputs& inputs, size_t columns, float* sum) {
  if (columns == 0 || inputs.count == 0) return false;
  return inputs.batch == 1 ? SumIntegers<false>(panel, inputs, columns, sum) : SumIntegers<true>(panel, inputs, columns, sum);
}

#endif

// As SumAs of Kind::kSteps, for some rows of x.
void SumSteps(const Int8Panel& panel, const Inputs& inputs, bool skipping, float* sum) {
  if (inputs.batch == 1) return SumAs<Kind::kSteps, false>(panel, inputs, skipping, sum);
  const uint32_t* const index = inputs.index;
  const auto row_at = [&](size_t i) { return panel.values + (index ? index[i] : i) * panel.stride + panel.first; };
  const auto load = [](const int8_t* q) HWY_ATTR { return Widen(q); };
  // Without a prefetch: rows together keep most of the kernel.
  SumFewRows(row_at, load, [](int8_t q) { return static_cast<float>(q); }, inputs.value, inputs.batch, inputs.count, panel.columns,
             sum);
}

void SumInt8RowsBatchLoop(const Int8Panel& panel, Int8Sums sums, size_t rows, const uint32_t* index, const float* value,
                          size_t count, bool skipping, float* sum) {
  const Inputs inputs{index, value, count, rows};
  if (sums == Int8Sums::kSteps) {
#if HWY_TARGET == HWY_WASM
    const size_t whole = panel.columns / 16 * 16;
    if (SumsIntegers(panel, inputs, whole, sum)) {
      if (whole == panel.columns) return;
      float rest[16 * kMaxBatch];
      const size_t columns = panel.columns - whole;
      SumSteps({panel.values, panel.stride, nullptr, nullptr, panel.first + whole, columns}, inputs, skipping, rest);
      for (size_t r = 0; r < rows; r++) std::copy_n(rest + r * columns, columns, sum + r * panel.columns + whole);
      return;
    }
#endif
    return SumSteps(panel, inputs, skipping, sum);
  }
  const bool is_normal = KindOf(panel) == Kind::kNormal;
  if (rows > 1) {
    return is_normal ? SumAs<Kind::kNormal, true>(panel, inputs, skipping, sum)
                     : SumAs<Kind::kGeneral, true>(panel, inputs, skipping, sum);
  }
  if (is_normal) return SumAs<Kind::kNormal, false>(panel, inputs, skipping, sum);
  SumAs<Kind::kGeneral, false>(panel, inputs, skipping, sum);
}

void ScaleSumsLoop(const float* parts, size_t count, size_t part_stride, float total, const float* scale,
                   const float* zero_point, size_t columns, float* y) {
  const DF d;
  constexpr size_t kLanes = hn::MaxLanes(DF());
  const VF totals = hn::Set(d, total);
  size_t n = 0;
  for (; n + kLanes <= columns; n += kLanes) {
    VF v = hn::LoadU(d, parts + n);
    for (size_t p = 1; p < count; p++) v = hn::Add(v, hn::LoadU(d, parts + p * part_stride + n));
    v = hn::NegMulAdd(hn::LoadU(d, zero_point + n), totals, v);
    hn::StoreU(hn::Mul(hn::LoadU(d, scale + n), v), d, y + n);
  }
  for (; n < columns; n++) {
    float v = parts[n];
    for (size_t p = 1; p < count; p++) v += parts[p * part_stride + n];
    y[n] = scale[n] * (v - zero_point[n] * total);
  }
}

// `depth` rows of a panel as MultiplyPacked reads them.
template <Kind kKind>
void PackPanel(const Int8Panel& panel, size_t depth, float* packed) {
  const DF d;
  constexpr size_t kLanes = hn::MaxLanes(DF());
  constexpr size_t kWidth = 2 * kLanes;
  size_t n = 0;
  for (; n + kWidth <= panel.columns; n += kWidth) {
    const size_t column = panel.first + n;
    const Columns<kKind> left(panel.scale + column, panel.zero_point + column);
    const Columns<kKind> right(panel.scale + column + kLanes, panel.zero_point + column + kLanes);
    const int8_t* row = panel.values + column;
    float* out = packed + n * depth;
    for (size_t k = 0; k < depth; k++, row += panel.stride, out += kWidth) {
      // The hardware's prefetch does not follow pieces of rows.
      if (n % kLine == 0) hwy::Prefetch(row + (k + 8 < depth ? 8 * panel.stride : 0));
      hn::Store(left.Weights(Widen(row)), d, out);
      hn::Store(right.Weights(Widen(row + kLanes)), d, out + kLanes);
    }
  }
  if (n == panel.columns) return;
  for (size_t k = 0; k < depth; k++) {
    const int8_t* const row = panel.values + k * panel.stride + panel.first;
    float* const out = packed + n * depth + k * kWidth;
    for (size_t i = 0; i < kWidth; i++) {
      const size_t column = panel.first + n + i;
      out[i] = n + i < panel.columns ? WeightOf<kKind>(row[n + i], panel.scale[column], panel.zero_point[column]) : 0.0f;
    }
  }
}

void PackInt8PanelLoop(const Int8Panel& panel, size_t depth, float* packed) {
  if (KindOf(panel) == Kind::kNormal) return PackPanel<Kind::kNormal>(panel, depth, packed);
  PackPanel<Kind::kGeneral>(panel, depth, packed);
}

void DequantizeInt8Loop(const int8_t* values, const float* scale, const float* zero_point, size_t columns,
                        float* weights) {
  const DF d;
  constexpr size_t kLanes = hn::MaxLanes(DF());
  size_t n = 0;
  for (; n + kLanes <= columns; n += kLanes) {
    hn::StoreU(Columns<Kind::kGeneral>(scale + n, zero_point + n).Weights(Widen(values + n)), d, weights + n);
  }
  for (; n < columns; n++) weights[n] = WeightOf<Kind::kGeneral>(values[n], scale[n], zero_point[n]);
}

}  // namespace HWY_NAMESPACE
}  // namespace sparsify
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sparsify {

HWY_EXPORT(SumInt8RowsBatchLoop);
HWY_EXPORT(ScaleSumsLoop);
HWY_EXPORT(PackInt8PanelLoop);
HWY_EXPORT(DequantizeInt8Loop);

void SumInt8RowsBatch(const Int8Panel& panel, Int8Sums sums, size_t rows, const uint32_t* index, const float* value,
                      size_t count, bool skipping, float* sum) {
  HWY_DYNAMIC_DISPATCH(SumInt8RowsBatchLoop)(panel, sums, rows, index, value, count, skipping, sum);
}

void ScaleSums(const float* parts, size_t count, size_t part_stride, float total, const float* scale,
               const float* zero_point, size_t n, float* y) {
  HWY_DYNAMIC_DISPATCH(ScaleSumsLoop)(parts, count, part_stride, total, scale, zero_point, n, y);
}

void PackInt8Panel(const Int8Panel& panel, size_t depth, float* packed) {
  HWY_DYNAMIC_DISPATCH(PackInt8PanelLoop)(panel, depth, packed);
}

void DequantizeInt8(const int8_t* values, const float* scale, const float* zero_point, size_t columns, float* weights) {
  HWY_DYNAMIC_DISPATCH(DequantizeInt8Loop)(values, scale, zero_point, columns, weights);
}

}  // namespace sparsify
#endif  // HWY_ONCE
