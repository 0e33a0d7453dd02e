// Keys and values of one sequence in the device's memory, in float or bfloat16: for each layer keys [capacity, key_heads,
// head_size], then values.
#ifndef SPARSIFY_CUDA_DECODER_CACHE_H_
#define SPARSIFY_CUDA_DECODER_CACHE_H_

#include <cstddef>
#include <cstdint>

#include "../shared/decoder-numbers.h"
#include "decoder-attention.h"
#include "device-memory.h"

namespace sparsify::cuda {

class DecoderCache {
 public:
  DecoderCache(const DecoderNumbers& numbers, bool narrow);

  // Makes room for positions [0, length), and keeps what is cached of the positions before `used`. Returns whether the cache lies
  // elsewhere now.
  bool Reserve(size_t length, size_t used, cudaStream_t stream);
  LayerCache Layer(size_t layer) const;

 private:
  const size_t layers_, row_bytes_;
  const bool narrow_;
  size_t capacity_ = 0;
  DeviceArray<uint8_t> memory_;
};

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DECODER_CACHE_H_
