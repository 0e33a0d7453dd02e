#include "decoder-products.h"

#include <algorithm>
#include <limits>

#include "decoder-loops.h"
#include "int8-loops.h"
#include "narrow-loops.h"
#include "row-loops.h"
#include "sparsified-matmul.h"

namespace sparsify {
namespace {

// As in sparsified-matmul.cc: below this a second thread costs more than it brings.
constexpr size_t kBytesForThreads = 100 * 1024;

// Parts a thread, as many for each: more even out a disturbed core, each costs sums of its own.
constexpr size_t kPartsAThread = 2;
constexpr size_t kBytesAPart = 256 * 1024;

// Rows of the kernel a part at least, so that they lie apart.
constexpr size_t kRowsAPart = 8;

// Floats that the sums of two parts lie apart at least: threads that write into one cache line, or into two that the hardware fetches
// together, wait for each other.
constexpr size_t kApart = 32;

// With more kept than this, rows are read as one dense stream.
constexpr float kDenseShare = 0.9f;

// Columns of the head that a task takes: the sums of these columns stay in the L1 cache, and pieces of rows are long enough to
// read.
constexpr size_t kWideColumns = 8192;

// A kernel in bfloat16 is widened for many rows, up to this many floats at a time.
constexpr size_t kWidenedFloats = 4 << 20;

size_t CeilDiv(size_t a, size_t b) { return (a + b - 1) / b; }

// The first place that a part may begin at.
size_t Aligned(const float* sums) {
  const size_t past = reinterpret_cast<uintptr_t>(sums) / sizeof(float) % kApart;
  return past == 0 ? 0 : kApart - past;
}

Int8Sums Int8SumsOf(const DecoderDense& dense) {
  return dense.inputs * dense.units <= kRoundedWeights ? Int8Sums::kWeights : Int8Sums::kSteps;
}

bool IsScaledLater(const DecoderDense& dense) {
  return dense.kernel.is_int8() && Int8SumsOf(dense) == Int8Sums::kSteps;
}

// Of its own columns; others may lie beside them.
size_t RowBytes(const DecoderDense& dense) {
  const StoredKernel& kernel = dense.kernel;
  return kernel.is_int4() ? StoredKernel::Int4Stride(dense.units) : kernel.row_bytes() / kernel.stride * dense.units;
}

// As of INT8: small kernels are multiplied as they are defined.
bool IsRounded(const DecoderDense& dense) { return dense.kernel.is_int4() && Int8SumsOf(dense) == Int8Sums::kSteps; }

void Count(const DecoderDense& dense, size_t masked, const Masking& masking) {
  MaskedInputs& counts = masking.counts[0][dense.id];
  counts.masked += masked;
  counts.total += dense.inputs;
}

void SumPanel(const DecoderDense& dense, size_t first_row, size_t first_column, size_t columns, const uint32_t* index,
              const float* value, size_t count, bool skipping, bool prefetches, float* sum) {
  // Without a list the products begin at row `first_row` of the kernel.
  const size_t skipped = index ? 0 : first_row;
  const StoredKernel& kernel = dense.kernel;
  const size_t offset = skipped * kernel.stride;
  if (kernel.is_int4()) {
    SumInt4RowsBatch({kernel, first_column, columns}, first_row, 1, index, value, count, sum);
  } else if (kernel.is_int8()) {
    const Int8Panel panel{kernel.int8() + offset, kernel.stride, kernel.scale, kernel.zero_point, first_column, columns,
                          prefetches};
    SumInt8RowsBatch(panel, Int8SumsOf(dense), 1, index, value, count, skipping, sum);
  } else if (kernel.is_narrow()) {
    SumNarrowRows({kernel.narrow() + offset, kernel.stride, first_column, columns}, index, value, count, skipping, sum);
  } else {
    SumRows({kernel.floats() + offset, kernel.stride, first_column, columns}, index, value, count, skipping, sum);
  }
}

}  // namespace

float Masking::Of(const DecoderDense& dense) const {
  return thresholds ? thresholds[dense.id] : -std::numeric_limits<float>::infinity();
}

void RowProducts::Clear() {
  products_.clear();
  kept_count_ = 0;
}

size_t RowProducts::FindKept(const DecoderDense& dense, const float* x, float threshold) {
  for (size_t i = 0; i < kept_count_; i++) {
    if (kept_[i].x == x && kept_[i].threshold == threshold) return i;
  }
  if (kept_count_ == kept_.size()) kept_.emplace_back();
  Kept& kept = kept_[kept_count_];
  kept.x = x;
  kept.threshold = threshold;
  kept.index = nullptr;
  kept.value = x;
  kept.count = dense.inputs;
  if (threshold >= 0) {
    const size_t room = dense.inputs + kSlack;
    if (kept.indices.size() < room) {
      kept.indices.resize(room);
      kept.values.resize(room);
    }
    kept.count = Compact(x, dense.inputs, {&threshold, 0}, kept.indices.data(), kept.values.data());
    if (kept.count != dense.inputs) {
      kept.index = kept.indices.data();
      kept.value = kept.values.data();
    }
  }
  kept.rounded_count = 0;
  kept.total = SumAll(kept.value, kept.count);
  kept.skipping = static_cast<float>(kept.count) < kDenseShare * static_cast<float>(dense.inputs);
  return kept_count_++;
}

void RowProducts::Round(const DecoderDense& dense, Kept& kept) {
  const size_t group_size = dense.kernel.groups.size;
  for (size_t i = 0; i < kept.rounded_count; i++) {
    if (kept.rounded[i].group_size == group_size) return;
  }
  if (kept.rounded_count == kept.rounded.size()) kept.rounded.emplace_back();
  Rounded& rounded = kept.rounded[kept.rounded_count++];
  rounded.group_size = group_size;
  rounded.holds = RoundInputs(kept.index, kept.value, kept.count, 1, group_size, rounded.inputs);
}

const Int4Inputs* RowProducts::Kept::RoundedFor(const DecoderDense& dense) const {
  if (!IsRounded(dense)) return nullptr;
  for (size_t i = 0; i < rounded_count; i++) {
    if (rounded[i].group_size == dense.kernel.groups.size) return rounded[i].holds ? &rounded[i].inputs : nullptr;
  }
  return nullptr;
}

void RowProducts::Add(const DecoderDense& dense, const float* x, const Masking& masking) {
  const size_t masked = AddProduct(dense, x, masking.Of(dense));
  Count(dense, masked, masking);
}

void RowProducts::AddGroup(const std::vector<DecoderDense>& layers, const DecoderDense& whole, const float* x,
                           const Masking& masking) {
  const float threshold = masking.Of(layers[0]);
  const auto is_alike = [&](const DecoderDense& dense) { return masking.Of(dense) == threshold; };
  if (whole.kernel.data == nullptr || !std::all_of(layers.begin(), layers.end(), is_alike)) {
    for (const DecoderDense& dense : layers) Add(dense, x, masking);
    return;
  }
  const size_t masked = AddProduct(whole, x, threshold);
  for (const DecoderDense& dense : layers) Count(dense, masked, masking);
}

size_t RowProducts::AddProduct(const DecoderDense& dense, const float* x, float threshold) {
  const size_t kept = FindKept(dense, x, threshold);
  products_.push_back({&dense, kept, 0});
  if (IsRounded(dense)) Round(dense, kept_[kept]);
  return dense.inputs - kept_[kept].count;
}

void RowProducts::Run(Pool& pool) {
  size_t bytes = 0, units = 0, fewest = std::numeric_limits<size_t>::max();
  for (const Product& product : products_) {
    const Kept& kept = kept_[product.kept];
    bytes += RowBytes(*product.dense) * kept.count;
    units += product.dense->units;
    fewest = std::min(fewest, kept.count);
  }
  parts_ = 1;
  if (bytes >= kBytesForThreads && pool.threads() > 1) {
    const size_t threads = std::min<size_t>(pool.threads(), std::max<size_t>(2, bytes / kBytesAPart));
    parts_ = threads * (bytes >= threads * kPartsAThread * kBytesAPart ? kPartsAThread : 1);
    parts_ = std::min(parts_, std::max<size_t>(1, fewest / kRowsAPart));
  }
  part_stride_ = CeilDiv(units, kApart) * kApart;
  if (sums_.size() < parts_ * part_stride_ + kApart) sums_.resize(parts_ * part_stride_ + kApart);
  size_t next = Aligned(sums_.data());
  for (Product& product : products_) {
    product.sums = next;
    next += product.dense->units;
  }
  pool.ForEach(static_cast<uint32_t>(parts_), true, [&](size_t part) {
    for (const Product& product : products_) {
      const Kept& kept = kept_[product.kept];
      if (const Int4Inputs* const rounded = kept.RoundedFor(*product.dense)) {
        const size_t segments = rounded->segments.size(), units = product.dense->units;
        SumInt4Segments({product.dense->kernel, 0, units}, *rounded, segments * part / parts_, segments * (part + 1) / parts_,
                        sums_.data() + product.sums + part * part_stride_);
        continue;
      }
      const size_t first = kept.count * part / parts_;
      const size_t last = kept.count * (part + 1) / parts_;
      SumPanel(*product.dense, first, 0, product.dense->units, kept.index ? kept.index + first : nullptr,
               kept.value + first, last - first, kept.skipping, prefetches_, sums_.data() + product.sums + part * part_stride_);
    }
  });
}

void RowProducts::Finish(size_t i, float* y) const {
  const DecoderDense& dense = *products_[i].dense;
  const float* const sums = sums_.data() + products_[i].sums;
  if (!IsScaledLater(dense)) {
    sparsify::Finish(sums, parts_, part_stride_, dense.bias, Activation::kLinear, dense.units, y);
    return;
  }
  const float total = kept_[products_[i].kept].total;
  ScaleSums(sums, parts_, part_stride_, total, dense.kernel.scale, dense.kernel.zero_point, dense.units, y);
  if (dense.bias) sparsify::Finish(y, 1, 0, dense.bias, Activation::kLinear, dense.units, y);
}

void RowProducts::FinishGroup(const std::vector<DecoderDense>& layers, size_t& next, float* y) const {
  size_t left = 0;
  for (const DecoderDense& dense : layers) left += dense.units;
  for (; left > 0; next++) {
    const size_t units = products_[next].dense->units;
    Finish(next, y);
    y += units;
    left -= units;
  }
}

void RowProducts::AddTo(size_t i, float factor, float* x) {
  const DecoderDense& dense = *products_[i].dense;
  float* const sums = sums_.data() + products_[i].sums;
  size_t parts = parts_;
  if (IsScaledLater(dense)) {
    const float total = kept_[products_[i].kept].total;
    ScaleSums(sums, parts, part_stride_, total, dense.kernel.scale, dense.kernel.zero_point, dense.units, sums);
    parts = 1;
  }
  AddParts(sums, parts, part_stride_, dense.bias, factor, dense.units, x);
}

void MultiplyWide(const DecoderDense& dense, const float* x, const Masking& masking, RowProducts& scratch, float* y,
                  Pool& pool) {
  scratch.Clear();
  scratch.Add(dense, x, masking);
  const RowProducts::Kept& kept = scratch.kept_[0];
  const Int4Inputs* const rounded = kept.RoundedFor(dense);
  pool.ForEach(static_cast<uint32_t>(CeilDiv(dense.units, kWideColumns)), true, [&](size_t block) {
    const size_t first = block * kWideColumns;
    const size_t columns = std::min(kWideColumns, dense.units - first);
    if (rounded) {
      SumInt4Segments({dense.kernel, first, columns}, *rounded, 0, rounded->segments.size(), y + first);
    } else {
      SumPanel(dense, 0, first, columns, kept.index, kept.value, kept.count, kept.skipping, scratch.prefetches_, y + first);
    }
    if (IsScaledLater(dense)) {
      ScaleSums(y + first, 1, 0, kept.total, dense.kernel.scale + first, dense.kernel.zero_point + first, columns, y + first);
    }
    if (dense.bias) sparsify::Finish(y + first, 1, 0, dense.bias + first, Activation::kLinear, columns, y + first);
  });
}

namespace {

void CountRows(const std::vector<DecoderDense>& layers, const float* x, size_t rows, const Masking& masking, Pool& pool) {
  thread_local std::vector<uint64_t> masked;
  masked.assign(rows, 0);
  float counted_threshold = -1;
  for (const DecoderDense& dense : layers) {
    const float threshold = masking.Of(dense);
    if (threshold >= 0 && threshold != counted_threshold) {
      constexpr size_t kRowsATask = 16;
      uint64_t* const counts = masked.data();
      pool.ForEach(static_cast<uint32_t>(CeilDiv(rows, kRowsATask)), false, [&](size_t task) {
        const size_t last = std::min(rows, (task + 1) * kRowsATask);
        for (size_t r = task * kRowsATask; r < last; r++) {
          counts[r] = CountMasked(x + r * dense.inputs, dense.inputs, threshold);
        }
      });
      counted_threshold = threshold;
    }
    for (size_t r = 0; r < rows; r++) {
      MaskedInputs& counts = masking.counts[r][dense.id];
      counts.total += dense.inputs;
      if (threshold >= 0) counts.masked += masked[r];
    }
  }
}

// As many columns at a time as may be widened.
void MultiplyNarrow(const DecoderDense& dense, const float* x, size_t rows, float threshold, float* y, Pool& pool) {
  thread_local std::vector<float> widened, part, bias;
  const size_t most = std::max<size_t>(64, kWidenedFloats / dense.inputs / 64 * 64);
  for (size_t first = 0; first < dense.units; first += most) {
    const size_t columns = std::min(most, dense.units - first);
    if (widened.size() < dense.inputs * columns) widened.resize(dense.inputs * columns);
    float* const kernel = widened.data();
    constexpr size_t kRowsATask = 32;
    pool.ForEach(static_cast<uint32_t>(CeilDiv(dense.inputs, kRowsATask)), true, [&](size_t task) {
      const size_t last = std::min(dense.inputs, (task + 1) * kRowsATask);
      for (size_t k = task * kRowsATask; k < last; k++) {
        Widen(dense.kernel.narrow() + k * dense.kernel.stride + first, columns, kernel + k * columns);
      }
    });
    const bool whole = columns == dense.units;
    if (!whole && part.size() < rows * columns) part.resize(rows * columns);
    float* const out = whole ? y : part.data();
    const float* const own_bias = dense.bias ? dense.bias + first : nullptr;
    const Layer layer{StoredKernel::Floats(kernel, columns), own_bias, out, columns, Activation::kLinear};
    SparsifiedMatMul(x, rows, dense.inputs, {&threshold, 0}, &layer, 1, pool);
    if (whole) continue;
    for (size_t r = 0; r < rows; r++) std::copy_n(out + r * columns, columns, y + r * dense.units + first);
  }
}

}  // namespace

void MultiplyRows(const std::vector<DecoderDense>& layers, const float* x, size_t rows, const Masking& masking,
                  const std::vector<float*>& y, Pool& pool) {
  CountRows(layers, x, rows, masking, pool);
  std::vector<bool> done(layers.size(), false);
  for (size_t i = 0; i < layers.size(); i++) {
    if (done[i]) continue;
    const float threshold = masking.Of(layers[i]);
    const bool in_place = rows <= kFewRows;
    if (layers[i].kernel.is_narrow() && !in_place) {
      MultiplyNarrow(layers[i], x, rows, threshold, y[i], pool);
      continue;
    }
    std::vector<Layer> alike;
    for (size_t j = i; j < layers.size(); j++) {
      if ((layers[j].kernel.is_narrow() && !in_place) || masking.Of(layers[j]) != threshold) continue;
      alike.push_back({layers[j].kernel, layers[j].bias, y[j], layers[j].units, Activation::kLinear});
      done[j] = true;
    }
    SparsifiedMatMul(x, rows, layers[i].inputs, {&threshold, 0}, alike.data(), alike.size(), pool);
  }
}

}  // namespace sparsify
