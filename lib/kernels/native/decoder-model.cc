#include "decoder-model.h"

#include <algorithm>

#include "narrow-loops.h"
#include "pool.h"

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
}

std::vector<MemoryRange> DecoderModel::InPlace() const {
  std::vector<MemoryRange> ranges;
  const auto add = [&ranges](const DecoderDense& dense) {
    if (dense.kernel.is_narrow()) return;
    const auto first = reinterpret_cast<uintptr_t>(dense.kernel.data);
    ranges.push_back({first, first + dense.inputs * dense.kernel.row_bytes()});
  };
  for (const DecoderLayer& layer : layers) {
    for (const DecoderDense& dense : layer.qkv) add(dense);
    add(layer.output);
    for (const FeedForward& feed : layer.feeds) {
      for (const DecoderDense& dense : feed.gate_up) add(dense);
      add(feed.down);
    }
  }
  add(head);
  return ranges;
}

}  // namespace sparsify
