#include "decoder-cache.h"

#include <algorithm>
#include <utility>

namespace sparsify::cuda {
namespace {

// At least, so that a short sequence does not move at every few tokens.
constexpr size_t kLeastPositions = 256;

}  // namespace

DecoderCache::DecoderCache(const DecoderNumbers& numbers, bool narrow)
    : layers_(numbers.layers),
      row_bytes_(numbers.key_heads * numbers.head_size * (narrow ? sizeof(uint16_t) : sizeof(float))),
      narrow_(narrow) {}

bool DecoderCache::Reserve(size_t length, size_t used, cudaStream_t stream) {
  if (length <= capacity_) return false;
  const size_t capacity = std::max({kLeastPositions, 2 * capacity_, (length + 63) / 64 * 64});
  DeviceArray<uint8_t> memory(2 * layers_ * capacity * row_bytes_);
  if (used > 0) {
    for (size_t part = 0; part < 2 * layers_; part++) {
      Check(cudaMemcpyAsync(memory.get() + part * capacity * row_bytes_, memory_.get() + part * capacity_ * row_bytes_,
                            used * row_bytes_, cudaMemcpyDeviceToDevice, stream));
    }
  }
  Check(cudaStreamSynchronize(stream));  // the old memory is freed next
  memory_ = std::move(memory);
  capacity_ = capacity;
  return true;
}

LayerCache DecoderCache::Layer(size_t layer) const {
  uint8_t* const keys = memory_.get() + 2 * layer * capacity_ * row_bytes_;
  return {keys, keys + capacity_ * row_bytes_, narrow_};
}

}  // namespace sparsify::cuda
