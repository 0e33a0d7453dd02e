#include "sparsified-matmul.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "block-loops.h"
#include "flush-denormals.h"
#include "int4-loops.h"
#include "int8-loops.h"
#include "narrow-loops.h"
#include "shared/problem.h"

namespace sparsify {
namespace {

// Below this a second thread costs more than it brings: handing over takes 0.5 to 5 us, reading this takes 5.
constexpr size_t kBytesForThreads = 100 * 1024;

// Waking a thread takes 30 to 60 us: below this, sleeping ones are left alone. 576 x 1536 at 50 % (1.8 MB): 98 us with
// one thread or two; dense (3.5 MB): 169 and 142 us.
constexpr size_t kBytesWorthWaking = 5 << 19;

// Tasks a thread: more of them even out a disturbed core, each costs a row of private sums and a tail of fewer rows
// than a full pass. Not smaller than kBytesATask.
constexpr size_t kTasksAThread = 4;
constexpr size_t kBytesATask = 384 * 1024;
// INT8 rows are a fourth as long, so that parts of this size still have many. 576 x 1536, two threads awake, AVX-512:
// dense from a median of 94 us to 72, at 50 % from 47 to 45 (at best from 33 to 22).
constexpr size_t kInt8BytesATask = 192 * 1024;

// Of the plain loops over rows.
constexpr size_t kFloatsATask = 24 * 1024;
constexpr size_t kFloatsWorthWaking = 256 * 1024;

// 2 million multiplications take some 40 us, as waking does.
constexpr size_t kProductsWorthWaking = 1 << 21;

// The private sums of a task should stay in the L2 cache: this many floats (512 KB are common, 1 and 2 MB too).
constexpr size_t kSumsAtOnce = 32 * 1024;

// Of the dense blocks: 128 KB of packed kernel and 144 KB of x at a time, which share the L2 cache.
constexpr size_t kBlockColumns = 128;
constexpr size_t kBlockRows = 144;

// Rows that are multiplied by skipping. 12 independent rows at 50 % keep 99.98 % of the inputs between them, so what is
// gained is the one stream; beyond this many the sums take turns in the cache and blocks are faster. Time of TensorFlow's
// MatMul over ours at 16 rows, skipping: 576 x 1536 1.29, 1536 x 576 1.40, 4096 x 1024 0.83, 5632 x 2048 0.63.
constexpr size_t kSkippingRowsSmall = 16;
constexpr size_t kSmallWeights = 1 << 21;

// With more kept than this, rows are read as one dense stream: there is nothing left for the prefetch to gain.
constexpr double kDenseShare = 0.9;

// Memory that lives as long as its thread and is never cleared.
class Scratch {
 public:
  // Room for n floats, aligned to 64 bytes.
  float* Floats(size_t n) {
    if (n > capacity_) {
      std::free(data_);
      capacity_ = (n + 1023) / 1024 * 1024;
      data_ = static_cast<float*>(std::aligned_alloc(64, capacity_ * sizeof(float)));
      if (data_ == nullptr) {
        capacity_ = 0;
        FailOutOfMemory();
      }
    }
    return data_;
  }
  ~Scratch() { std::free(data_); }

 private:
  float* data_ = nullptr;
  size_t capacity_ = 0;
};

size_t CeilDiv(size_t a, size_t b) { return (a + b - 1) / b; }
size_t RoundUp(size_t a, size_t b) { return CeilDiv(a, b) * b; }

// The inputs that count, of up to kMaxBatch rows.
struct KeptInputs {
  const uint32_t* index;  // null: all of them
  const float* value;     // [count, rows]
  size_t count;
  size_t rows;
  bool skipping;
};

// How one layer's work is cut: into blocks of columns (whole rows if the sums fit in the cache) and parts of the
// list of kept inputs. Each task has sums of its own, which Finish adds up in order.
struct Cut {
  size_t first_task;
  size_t blocks;
  size_t block_columns;
  size_t parts;
  size_t sums;  // offset of its sums in the scratch, [parts, rows, padded units]
  size_t row_stride;
};

// Splits by parts of the list, not by columns: whole rows are read at 42 GB/s by two threads, halves at 38, sixteenths
// at 21 (4096 x 11008). Columns are split only where the sums of whole rows would not fit.
// `most_parts`: what the list can be cut into.
Cut CutLayer(const Layer& layer, const KeptInputs& kept, size_t most_parts, size_t share_bytes, unsigned threads) {
  Cut cut{};
  const size_t columns_at_once = std::max<size_t>(256, kSumsAtOnce / kept.rows);
  cut.blocks = std::max<size_t>(1, CeilDiv(layer.units, columns_at_once));
  cut.block_columns = RoundUp(CeilDiv(std::max<size_t>(layer.units, 1), cut.blocks), 16);
  cut.blocks = std::max<size_t>(1, CeilDiv(layer.units, cut.block_columns));
  cut.row_stride = cut.blocks * cut.block_columns;
  if (threads == 1) {
    cut.parts = 1;
    return cut;
  }
  const size_t bytes_a_task = layer.kernel.is_quantized() ? kInt8BytesATask : kBytesATask;
  const size_t tasks = std::min(std::max<size_t>(1, share_bytes / bytes_a_task), threads * kTasksAThread);
  cut.parts = std::min(CeilDiv(tasks, cut.blocks), std::max<size_t>(1, most_parts));
  return cut;
}

// Sum of the kept values of row r.
double TotalOf(const KeptInputs& kept, size_t r) {
  double totals[4] = {};  // so that an addition need not wait for the last
  for (size_t i = 0; i < kept.count; i++) totals[i % 4] += static_cast<double>(kept.value[i * kept.rows + r]);
  return (totals[0] + totals[1]) + (totals[2] + totals[3]);
}

// The product of the kept inputs and part of a layer's kernel: list entries [first, last), columns from `column` on.
void SumLayer(const Layer& layer, const KeptInputs& kept, Int8Sums sums, size_t first, size_t last, size_t column,
              size_t columns, float* sum) {
  // Without a list of indices the product begins at row `first` of the kernel.
  const size_t first_row = kept.index ? 0 : first;
  const uint32_t* const index = kept.index ? kept.index + first : nullptr;
  const float* const value = kept.value + first * kept.rows;
  const StoredKernel& kernel = layer.kernel;
  const size_t offset = first_row * kernel.stride;
  if (kernel.is_int4()) {
    SumInt4RowsBatch({kernel, column, columns}, first_row, kept.rows, index, value, last - first, sum);
  } else if (kernel.is_int8()) {
    const Int8Panel panel{kernel.int8() + offset, kernel.stride, kernel.scale, kernel.zero_point, column, columns};
    SumInt8RowsBatch(panel, sums, kept.rows, index, value, last - first, kept.skipping, sum);
  } else if (kernel.is_narrow()) {
    const NarrowPanel panel{kernel.narrow() + offset, kernel.stride, column, columns};
    SumNarrowRowsBatch(panel, kept.rows, index, value, last - first, kept.skipping, sum);
  } else {
    const Panel panel{kernel.floats() + offset, kernel.stride, column, columns};
    SumRowsBatch(panel, kept.rows, index, value, last - first, kept.skipping, sum);
  }
}

// The kept inputs rounded for layers of INT4, by their group sizes.
class RoundedInputs {
 public:
  // Returns whether they can be rounded for all the layers.
  bool Round(const KeptInputs& kept, const Layer* layers, size_t layer_count) {
    count_ = 0;
    for (size_t l = 0; l < layer_count; l++) {
      const StoredKernel& kernel = layers[l].kernel;
      if (!kernel.is_int4() || Find(kernel.groups.size)) continue;
      if (count_ == all_.size()) all_.emplace_back();
      Rounded& rounded = all_[count_++];
      rounded.group_size = kernel.groups.size;
      if (!RoundInputs(kept.index, kept.value, kept.count, kept.rows, rounded.group_size, rounded.inputs)) return false;
    }
    return true;
  }
  const Int4Inputs* Find(size_t group_size) const {
    for (size_t i = 0; i < count_; i++) {
      if (all_[i].group_size == group_size) return &all_[i].inputs;
    }
    return nullptr;
  }

 private:
  struct Rounded {
    size_t group_size;
    Int4Inputs inputs;
  };
  std::vector<Rounded> all_;  // the first count_ of them are of this call
  size_t count_ = 0;
};

void MultiplyKept(const KeptInputs& kept, const Layer* layers, size_t layer_count, Int8Sums int8_sums, Scratch& scratch,
                  Pool& pool, bool* all_finite) {
  thread_local RoundedInputs rounded_inputs;
  const bool in_steps = int8_sums == Int8Sums::kSteps;
  if (in_steps && !rounded_inputs.Round(kept, layers, layer_count)) {
    *all_finite = false;
    return;
  }
  // What the threads see of it. Null: by rows of the kernel.
  std::vector<const Int4Inputs*> rounded(layer_count);
  size_t row_bytes = 0;
  for (size_t l = 0; l < layer_count; l++) row_bytes += layers[l].kernel.row_bytes();
  const size_t bytes = kept.count * row_bytes;
  const unsigned threads = bytes < kBytesForThreads ? 1 : pool.threads();

  std::vector<Cut> cuts(layer_count);
  size_t tasks = 0;
  size_t sums = 0;
  for (size_t l = 0; l < layer_count; l++) {
    Cut& cut = cuts[l];
    const StoredKernel& kernel = layers[l].kernel;
    if (in_steps && kernel.is_int4()) rounded[l] = rounded_inputs.Find(kernel.groups.size);
    // 8 rows a part at least: fewer are not far enough apart to gain.
    const size_t most_parts = rounded[l] ? rounded[l]->segments.size() : kept.count / 8;
    cut = CutLayer(layers[l], kept, most_parts, kept.count * kernel.row_bytes(), threads);
    cut.first_task = tasks;
    cut.sums = sums;
    tasks += cut.blocks * cut.parts;
    sums += cut.parts * kept.rows * cut.row_stride;
  }
  float* const all_sums = scratch.Floats(sums);

  const auto multiply = [&](size_t task) {
    size_t l = layer_count - 1;
    while (cuts[l].first_task > task) l--;
    const Cut& cut = cuts[l];
    const size_t part = (task - cut.first_task) / cut.blocks;
    const size_t block = (task - cut.first_task) % cut.blocks;
    const size_t count = rounded[l] ? rounded[l]->segments.size() : kept.count;
    const size_t first = count * part / cut.parts;
    const size_t last = count * (part + 1) / cut.parts;
    const size_t column = block * cut.block_columns;
    const size_t columns = std::min(cut.block_columns, layers[l].units - column);
    // [parts, blocks, rows, block_columns]
    float* const sum =
        all_sums + cut.sums + (part * cut.blocks + block) * kept.rows * cut.block_columns;
    if (rounded[l]) {
      SumInt4Segments({layers[l].kernel, column, columns}, *rounded[l], first, last, sum);
    } else {
      SumLayer(layers[l], kept, int8_sums, first, last, column, columns, sum);
    }
  };

  std::vector<float> totals;
  for (size_t l = 0; l < layer_count && totals.empty() && in_steps; l++) {
    if (!layers[l].kernel.is_int8()) continue;
    for (size_t r = 0; r < kept.rows; r++) totals.push_back(static_cast<float>(TotalOf(kept, r)));
  }

  std::atomic<bool> finite{true};
  const auto finish = [&](size_t l, size_t block) {
    const Cut& cut = cuts[l];
    const Layer& layer = layers[l];
    const size_t column = block * cut.block_columns;
    const size_t columns = std::min(cut.block_columns, layer.units - column);
    bool block_finite = true;
    for (size_t r = 0; r < kept.rows; r++) {
      const float* parts = all_sums + cut.sums + block * kept.rows * cut.block_columns + r * columns;
      const size_t part_stride = cut.blocks * kept.rows * cut.block_columns;
      const float* const bias = layer.bias ? layer.bias + column : nullptr;
      float* const y = layer.y + r * layer.units + column;
      if (layer.kernel.is_int8() && in_steps) {
        ScaleSums(parts, cut.parts, part_stride, totals[r], layer.kernel.scale + column,
                  layer.kernel.zero_point + column, columns, y);
        block_finite &= Finish(y, 1, 0, bias, layer.activation, columns, y);
      } else {
        block_finite &= Finish(parts, cut.parts, part_stride, bias, layer.activation, columns, y);
      }
    }
    if (!block_finite) finite.store(false, std::memory_order_relaxed);
  };

  if (threads == 1) {
    for (size_t task = 0; task < tasks; task++) multiply(task);
  } else {
    pool.ForEach(static_cast<uint32_t>(tasks), bytes * kept.rows >= kBytesWorthWaking, multiply);
  }
  for (size_t l = 0; l < layer_count; l++) {
    if (layers[l].units == 0) continue;
    for (size_t block = 0; block < cuts[l].blocks; block++) finish(l, block);
  }
  *all_finite = finite.load(std::memory_order_relaxed);
}

KeptInputs FindKept(const float* x, size_t rows, size_t inputs, Threshold threshold, Scratch& scratch) {
  const size_t room = RoundUp(inputs + kSlack, 16);
  float* const value = scratch.Floats(room * (rows + 1));
  auto* const index = reinterpret_cast<uint32_t*>(value + room * rows);
  KeptInputs kept{};
  kept.rows = rows;
  kept.value = value;
  kept.count = rows == 1 ? Compact(x, inputs, threshold, index, value)
                         : CompactUnion(x, rows, inputs, threshold, index, value);
  kept.index = kept.count == inputs ? nullptr : index;
  kept.skipping = static_cast<double>(kept.count) < kDenseShare * static_cast<double>(inputs);
  return kept;
}

// Columns of y from `column` on for some tiles of x. `packed` has room for a panel.
void MultiplyColumns(const Tiles& tiles, size_t first_tile, size_t last_tile, const Layer& layer, size_t column,
                     size_t columns, float* packed) {
  const StoredKernel& kernel = layer.kernel;
  if (!kernel.is_quantized()) {
    return MultiplyBlock(tiles, first_tile, last_tile, {kernel.floats(), layer.units, column, columns}, packed, layer.y);
  }
  for (size_t k = 0; k < tiles.inputs || k == 0; k += kBlockDepth) {
    const size_t depth = std::min(kBlockDepth, tiles.inputs - k);
    if (kernel.is_int4()) {
      PackInt4Panel({kernel, column, columns}, k, depth, packed);
    } else {
      PackInt8Panel({kernel.int8() + k * kernel.stride, kernel.stride, kernel.scale, kernel.zero_point, column, columns},
                    depth, packed);
    }
    MultiplyPacked(tiles, first_tile, last_tile, {packed, k, depth, columns}, layer.y + column, layer.units);
  }
}

// Masks x and multiplies it densely, in blocks of rows and columns.
void MultiplyMasked(const float* x, size_t rows, size_t inputs, Threshold threshold, const Layer* layers,
                    size_t layer_count, Scratch& scratch, Pool& pool) {
  const size_t stride = RoundUp(inputs, kChunk);
  float* const masked = scratch.Floats(rows * stride);
  const Tiles tiles{masked, rows, inputs, stride, CeilDiv(rows, TileRows())};
  const size_t tiles_a_task = CeilDiv(kFloatsATask, TileRows() * std::max<size_t>(1, inputs));
  pool.ForEach(static_cast<uint32_t>(CeilDiv(tiles.count, tiles_a_task)), rows * inputs >= kFloatsWorthWaking,
               [&](size_t task) {
                 const size_t last = std::min(tiles.count, (task + 1) * tiles_a_task);
                 for (size_t tile = task * tiles_a_task; tile < last; tile++) {
                   const size_t first = tiles.First(tile);
                   MaskTile(x + first * inputs, tiles.First(tile + 1) - first, inputs, threshold, masked + first * stride);
                 }
               });
  const size_t row_blocks = CeilDiv(rows, kBlockRows);
  for (size_t l = 0; l < layer_count; l++) {
    const Layer& layer = layers[l];
    const size_t column_blocks = CeilDiv(layer.units, kBlockColumns);
    const bool worth_waking = rows * inputs * layer.units >= kProductsWorthWaking;
    pool.ForEach(static_cast<uint32_t>(row_blocks * column_blocks), worth_waking, [&](size_t task) {
      thread_local Scratch packed;
      const size_t first_tile = tiles.count * (task % row_blocks) / row_blocks;
      const size_t last_tile = tiles.count * (task % row_blocks + 1) / row_blocks;
      const size_t column = task / row_blocks * kBlockColumns;
      const size_t columns = std::min(kBlockColumns, layer.units - column);
      MultiplyColumns(tiles, first_tile, last_tile, layer, column, columns, packed.Floats(kBlockDepth * kBlockColumns));
      if (layer.bias == nullptr && layer.activation == Activation::kLinear) return;
      for (size_t r = tiles.First(first_tile); r < tiles.First(last_tile); r++) {
        float* const row = layer.y + r * layer.units + column;
        Finish(row, 1, 0, layer.bias ? layer.bias + column : nullptr, layer.activation, columns, row);
      }
    });
  }
}

}  // namespace

void SparsifiedMatMul(const float* x, size_t rows, size_t inputs, Threshold threshold, const Layer* layers,
                      size_t layer_count, Pool& pool) {
  const FlushDenormals flush;
  thread_local Scratch list_scratch;
  thread_local Scratch sum_scratch;
  size_t units = 0;
  for (size_t l = 0; l < layer_count; l++) units += layers[l].units;
  if (rows > (inputs * units <= kSmallWeights ? kSkippingRowsSmall : kFewRows)) {
    return MultiplyMasked(x, rows, inputs, threshold, layers, layer_count, sum_scratch, pool);
  }
  std::vector<Layer> moved(layers, layers + layer_count);
  const auto is_quantized = [](const Layer& layer) { return layer.kernel.is_quantized(); };
  const bool steps = std::any_of(layers, layers + layer_count, is_quantized) && inputs * units > kRoundedWeights;
  const auto multiply_rows = [&](size_t first, size_t count, Int8Sums int8_sums) {
    for (size_t l = 0; l < layer_count; l++) moved[l].y = layers[l].y + first * layers[l].units;
    const KeptInputs kept = FindKept(x + first * inputs, count, inputs, threshold, list_scratch);
    bool finite = true;
    MultiplyKept(kept, moved.data(), layer_count, int8_sums, sum_scratch, pool, &finite);
    return finite;
  };
  for (size_t first = 0; first < rows; first += kMaxBatch) {
    const size_t count = std::min(kMaxBatch, rows - first);
    const bool finite = multiply_rows(first, count, steps ? Int8Sums::kSteps : Int8Sums::kWeights);
    // Rows together read what any of them keeps, and 0 times an Inf or NaN that only another row keeps is NaN; and an Inf
    // in x times an INT8 weight is Inf, but NaN if the weight is made of steps, and has no place in 8 bits. Rare enough to be done again, row by row.
    if (!finite && (count > 1 || steps)) {
      for (size_t r = 0; r < count; r++) multiply_rows(first + r, 1, Int8Sums::kWeights);
    }
  }
}

void DequantizeKernel(const StoredKernel& kernel, size_t inputs, size_t units, float* weights, Pool& pool) {
  const size_t rows_a_task = std::max<size_t>(1, kFloatsATask / std::max<size_t>(1, units));
  const bool worth_waking = inputs * units >= kFloatsWorthWaking;
  pool.ForEach(static_cast<uint32_t>(CeilDiv(inputs, rows_a_task)), worth_waking, [&](size_t task) {
    const size_t last = std::min(inputs, (task + 1) * rows_a_task);
    for (size_t k = task * rows_a_task; k < last; k++) {
      if (kernel.is_int4()) {
        DequantizeInt4({kernel, 0, units}, k, weights + k * units);
      } else {
        DequantizeInt8(kernel.int8() + k * kernel.stride, kernel.scale, kernel.zero_point, units, weights + k * units);
      }
    }
  });
}

void MaskRows(const float* x, size_t rows, size_t inputs, Threshold threshold, float* y, Pool& pool) {
  const size_t rows_a_task = std::max<size_t>(1, kFloatsATask / std::max<size_t>(1, inputs));
  const bool worth_waking = rows * inputs >= kFloatsWorthWaking;
  pool.ForEach(static_cast<uint32_t>(CeilDiv(rows, rows_a_task)), worth_waking, [&](size_t task) {
    const size_t last = std::min(rows, (task + 1) * rows_a_task);
    for (size_t r = task * rows_a_task; r < last; r++) Mask(x + r * inputs, inputs, threshold, y + r * inputs);
  });
}

void AddBiasAndActivate(const float* x, size_t rows, size_t units, const float* bias, Activation activation,
                        float* y, Pool& pool) {
  const size_t rows_a_task = std::max<size_t>(1, kFloatsATask / std::max<size_t>(1, units));
  const bool worth_waking = rows * units >= kFloatsWorthWaking;
  pool.ForEach(static_cast<uint32_t>(CeilDiv(rows, rows_a_task)), worth_waking, [&](size_t task) {
    const size_t last = std::min(rows, (task + 1) * rows_a_task);
    for (size_t r = task * rows_a_task; r < last; r++) {
      Finish(x + r * units, 1, 0, bias, activation, units, y + r * units);
    }
  });
}

double ReadBandwidth(const float* data, size_t n, Pool& pool) {
  const size_t floats_a_task = 1024 * 1024;
  std::atomic<float> sink{0};
  const auto start = std::chrono::steady_clock::now();
  pool.ForEach(static_cast<uint32_t>(CeilDiv(n, floats_a_task)), true, [&](size_t task) {
    const size_t first = task * floats_a_task;
    sink.store(SumAll(data + first, std::min(floats_a_task, n - first)), std::memory_order_relaxed);
  });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  return static_cast<double>(n * sizeof(float)) / took.count();
}

}  // namespace sparsify
