// What happens to a head of queries or keys before attention: a norm where the model has one, and the turn by its position.
#ifndef SPARSIFY_CUDA_DECODER_HEADS_CUH_
#define SPARSIFY_CUDA_DECODER_HEADS_CUH_

#include "block-sum.cuh"

namespace sparsify::cuda {

// A warp normalises a head by `norm` [2 * half] (or null), turns it by the angles of cos and sin [half], and calls
// put(place, value) for each of its numbers.
template <class F>
__device__ __forceinline__ void TurnHead(const float* head, int half, const float* norm, float epsilon, const float* cos,
                                         const float* sin, const F& put) {
  const int lane = threadIdx.x % 32;
  float scale = 1.0f;
  if (norm != nullptr) {
    float squares = 0.0f;
    for (int i = lane; i < 2 * half; i += 32) squares += head[i] * head[i];
    scale = 1.0f / sqrtf(WarpSum(squares) / static_cast<float>(2 * half) + epsilon);
  }
  for (int i = lane; i < half; i += 32) {
    float a = head[i], b = head[half + i];
    if (norm != nullptr) a = a * scale * norm[i], b = b * scale * norm[half + i];
    put(i, a * cos[i] - b * sin[i]);
    put(half + i, b * cos[i] + a * sin[i]);
  }
}

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_DECODER_HEADS_CUH_
