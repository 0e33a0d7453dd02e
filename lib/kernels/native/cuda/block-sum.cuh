// Sums over a warp and over a block of threads, in an order that never changes.
#ifndef SPARSIFY_CUDA_BLOCK_SUM_CUH_
#define SPARSIFY_CUDA_BLOCK_SUM_CUH_

#include <cuda_runtime.h>

namespace sparsify::cuda {

template <class T>
__device__ __forceinline__ T WarpSum(T value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

// For all kThreads of the block, a multiple of 32. `memory` [kThreads / 32] is shared, and may be used again after the next
// barrier.
template <int kThreads, class T>
__device__ __forceinline__ T BlockSum(T value, T* memory) {
  const T sum = WarpSum(value);
  if (threadIdx.x % 32 == 0) memory[threadIdx.x / 32] = sum;
  __syncthreads();
  T total = memory[0];
#pragma unroll
  for (int w = 1; w < kThreads / 32; w++) total += memory[w];
  return total;
}

// Sum of the squares of x [n], a multiple of 16 bytes, for all threads of the block.
template <int kThreads>
__device__ __forceinline__ float BlockSquares(const float* x, int n, float* memory) {
  float sum = 0.0f;
  const int vectors = n / 4;
#pragma unroll 4
  for (int i = threadIdx.x; i < vectors; i += kThreads) {
    const float4 v = reinterpret_cast<const float4*>(x)[i];
    sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  for (int i = vectors * 4 + static_cast<int>(threadIdx.x); i < n; i += kThreads) sum += x[i] * x[i];
  return BlockSum<kThreads>(sum, memory);
}

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_BLOCK_SUM_CUH_
