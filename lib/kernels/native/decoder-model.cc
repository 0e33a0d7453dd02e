#include "decoder-model.h"

#include <algorithm>

#include "narrow-loops.h"
#include "pool.h"
#if !defined(__wasm__)
#include "prefetch-trial.h"
#include "side-by-side.h"
#endif

namespace sparsify {
namespace {

// Large enough for a task, small enough that all threads get some.
constexpr size_t kFloatsATask = 256 * 1024;

void NarrowAll(const float* data, size_t size, BFloat16* narrow) {
  Pool::Get().ForEach(static_cast<uint32_t>((size + kFloatsATask - 1) / kFloatsATask), true, [&](size_t task) {
    const size_t first = task * kFloatsATask;
    Narrow(data + first, std::min(kFloatsATask, size - first), narrow + first);
  });
}

}  // namespace

DecoderModel::DecoderModel(const DecoderTensor& description, const std::vector<DecoderTensor>& tensors,
                           const std::vector<DecoderWords>& words)
    : DecoderDescription(description) {
  DecoderMemory memory;
  memory.int8_step = memory.int4_step = sizeof(int32_t);
  memory.narrow_step = 1;
  memory.narrow = [this](const float* kernel, size_t inputs, size_t units, size_t) {
    auto* const narrow = static_cast<BFloat16*>(narrowed_.Allocate(inputs * units * sizeof(BFloat16)));
    NarrowAll(kernel, inputs * units, narrow);
    return narrow;
  };
  ReadWeights(tensors, words, memory);
#if !defined(__wasm__)
  // In WebAssembly memory is scarce, arithmetic takes the time, and nothing can be prefetched.
  side_by_side_ = LaySideBySide(layers);
  prefetches = PrefetchPays(layers);
#endif
}

std::vector<MemoryRange> DecoderModel::InPlace() const {
  std::vector<MemoryRange> ranges;
  const auto add = [&ranges](const DecoderDense& dense) {
    if (dense.kernel.is_narrow()) return;
    const auto first = reinterpret_cast<uintptr_t>(dense.kernel.data);
    ranges.push_back({first, first + dense.inputs * dense.kernel.row_bytes()});
  };
  const auto add_group = [&add](const std::vector<DecoderDense>& group, const DecoderDense& whole) {
    if (whole.kernel.data != nullptr) return;
    for (const DecoderDense& dense : group) add(dense);
  };
  for (const DecoderLayer& layer : layers) {
    add_group(layer.qkv, layer.qkv_whole);
    add(layer.output);
    for (const FeedForward& feed : layer.feeds) {
      add_group(feed.gate_up, feed.gate_up_whole);
      add(feed.down);
    }
  }
  add(head);
  return ranges;
}

}  // namespace sparsify
