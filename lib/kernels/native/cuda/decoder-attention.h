// Attention of one token to all that it sees, with what comes before: the norms and turns of its queries and keys, and the
// place of its keys and values in the cache.
#ifndef SPARSIFY_CUDA_DECODER_ATTENTION_H_
#define SPARSIFY_CUDA_DECODER_ATTENTION_H_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "sparsified-matmul.h"

namespace sparsify::cuda {

// The largest head that the kernel takes.
constexpr int kMaxHeadSize = 512;

// One layer's keys and values: each [positions, key_heads, head_size], in float or bfloat16.
struct LayerCache {
  void* keys;
  void* values;
  bool narrow;
};

struct HeadNumbers {
  int heads, key_heads, head_size;
  int window;             // positions that a token sees, itself included; 0: all before it
  float epsilon;          // of the norms
  const float* query_norm;  // [head_size] or null
  const float* key_norm;
  const float* cos;  // [rows, head_size / 2]
  const float* sin;
};

struct TokenAttention {
  HeadNumbers heads;
  const float* queries;  // [heads, head_size], not yet turned
  const float* keys;     // [key_heads, head_size], not yet turned
  const float* values;
  LayerCache cache;
  const int32_t* position;  // on the device: a graph that is replayed reads it anew
  void* workspace;          // as many bytes as AttentionWorkspaceBytes says, zeroed before the first call
  float* y;                 // [heads, head_size]
};

size_t AttentionWorkspaceBytes(const HeadNumbers& heads, const Device& device);
cudaError_t LaunchTokenAttention(const TokenAttention& call, const Device& device, cudaStream_t stream);

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DECODER_ATTENTION_H_
