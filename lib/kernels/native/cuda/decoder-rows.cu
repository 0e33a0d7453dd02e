#include "decoder-rows.h"

#include <cuda_runtime.h>

#include <algorithm>

#include "block-sum.cuh"
#include "cached.cuh"
#include "decoder-heads.cuh"
#include "gate.cuh"
#include "weights.cuh"

namespace sparsify::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr unsigned kMostBlocks = 4096;
constexpr float kMinusInfinity = -__builtin_huge_valf();

unsigned Blocks(int64_t size) {
  return static_cast<unsigned>(std::min<int64_t>((size + kThreads - 1) / kThreads, kMostBlocks));
}

__device__ __forceinline__ int64_t FirstIndex() { return static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; }
__device__ __forceinline__ int64_t IndexStep() { return static_cast<int64_t>(gridDim.x) * kThreads; }

// Grid: blocks of hidden numbers and one more, for the angles; rows.
__global__ void __launch_bounds__(kThreads)
    EmbedKernel(const __grid_constant__ Embedding embedding, TokenInput input, int hidden, Angles angles, float* x) {
  const int row = blockIdx.y;
  if (blockIdx.x + 1 == gridDim.x) {
    // An angle is rounded to float before its cosine is taken, as on the CPU.
    const double position = *input.position + row;
    for (int i = threadIdx.x; i < angles.half; i += kThreads) {
      const double angle = static_cast<float>(position * static_cast<double>(angles.frequencies[i]));
      angles.cos[row * angles.half + i] = static_cast<float>(cos(angle) * static_cast<double>(angles.factor));
      angles.sin[row * angles.half + i] = static_cast<float>(sin(angle) * static_cast<double>(angles.factor));
    }
    return;
  }
  const int k = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (k >= hidden) return;
  const int64_t token = input.tokens[row];
  const float value = embedding.is_column ? WeightAt(embedding.table, k, token, token)
                                          : WeightAt(embedding.table, token, k, token);
  x[static_cast<int64_t>(row) * hidden + k] = value * embedding.factor;
}

__global__ void __launch_bounds__(kThreads)
    NormRowsKernel(const float* x, const float* weight, int n, float epsilon, float* y) {
  __shared__ float memory[kWarps];
  x += static_cast<int64_t>(blockIdx.x) * n;
  y += static_cast<int64_t>(blockIdx.x) * n;
  float squares = 0.0f;
  for (int i = threadIdx.x; i < n; i += kThreads) squares += x[i] * x[i];
  const float scale = 1.0f / sqrtf(BlockSum<kThreads>(squares, memory) / static_cast<float>(n) + epsilon);
  for (int i = threadIdx.x; i < n; i += kThreads) y[i] = x[i] * scale * weight[i];
}

struct Turn {
  HeadNumbers heads;
  int start;
  float* queries;
  int64_t stride;
  const float* keys;
  const float* values;
  int64_t key_stride;
  LayerCache cache;
  float scale;
};

// A warp a head. Grid: rows; query heads, then key heads.
template <class T>
__global__ void __launch_bounds__(kThreads) TurnRowsKernel(const __grid_constant__ Turn turn) {
  const HeadNumbers& heads = turn.heads;
  const int size = heads.head_size, half = size / 2, lane = threadIdx.x % 32;
  const int row = blockIdx.x;
  const int head = static_cast<int>(blockIdx.y) * kWarps + static_cast<int>(threadIdx.x) / 32;
  const float* const cos = heads.cos + static_cast<int64_t>(row) * half;
  const float* const sin = heads.sin + static_cast<int64_t>(row) * half;
  if (head < heads.heads) {
    float* const query = turn.queries + row * turn.stride + head * size;
    // A norm reads the whole head before it is overwritten, and a lane writes the places that it has read.
    TurnHead(query, half, heads.query_norm, heads.epsilon, cos, sin, [&](int i, float x) { query[i] = x * turn.scale; });
    return;
  }
  const int key_head = head - heads.heads;
  if (key_head >= heads.key_heads) return;
  const int64_t place = (static_cast<int64_t>(turn.start + row) * heads.key_heads + key_head) * size;
  T* const keys = static_cast<T*>(turn.cache.keys) + place;
  T* const values = static_cast<T*>(turn.cache.values) + place;
  const int64_t from = row * turn.key_stride + key_head * size;
  TurnHead(turn.keys + from, half, heads.key_norm, heads.epsilon, cos, sin, [&](int i, float x) { Put(keys + i, x); });
  for (int i = lane; i < size; i += 32) Put(values + i, turn.values[from + i]);
}

__global__ void __launch_bounds__(kThreads)
    MaskRowsKernel(const float* x, int64_t size, float threshold, float* y, unsigned long long* kept) {
  __shared__ unsigned long long memory[kWarps];
  unsigned long long own = 0;
  for (int64_t i = FirstIndex(); i < size; i += IndexStep()) {
    const bool masked = fabsf(x[i]) <= threshold;
    y[i] = masked ? 0.0f : x[i];
    if (!masked) own++;
  }
  const unsigned long long all = BlockSum<kThreads>(own, memory);
  if (threadIdx.x == 0 && all != 0) atomicAdd(kept, all);
}

__global__ void __launch_bounds__(kThreads) GateRowsKernel(GateActivation activation, const float* gate, const float* up,
                                                           int64_t stride, int64_t size, int width, float* y) {
  for (int64_t i = FirstIndex(); i < size; i += IndexStep()) {
    const int64_t at = i / width * stride + i % width;
    y[i] = ActivateGate(activation, gate[at]) * up[at];
  }
}

// Largest of a block. `memory` as for BlockSum.
__device__ __forceinline__ float BlockLargest(float value, float* memory) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
  if (threadIdx.x % 32 == 0) memory[threadIdx.x / 32] = value;
  __syncthreads();
  value = memory[0];
#pragma unroll
  for (int w = 1; w < kWarps; w++) value = fmaxf(value, memory[w]);
  return value;
}

// Grid: rows, heads.
__global__ void __launch_bounds__(kThreads)
    SoftmaxKernel(float* scores, int rows, int positions, int start, int window) {
  __shared__ float largest_memory[kWarps], sum_memory[kWarps];
  const int row = blockIdx.x;
  float* const score = scores + (static_cast<int64_t>(blockIdx.y) * rows + row) * positions;
  const int end = start + row + 1, begin = window != 0 ? max(0, end - window) : 0;
  float largest = kMinusInfinity;
  for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += kThreads) largest = fmaxf(largest, score[i]);
  largest = BlockLargest(largest, largest_memory);
  float sum = 0.0f;
  for (int i = begin + static_cast<int>(threadIdx.x); i < end; i += kThreads) sum += expf(score[i] - largest);
  const float factor = 1.0f / BlockSum<kThreads>(sum, sum_memory);
  for (int i = threadIdx.x; i < positions; i += kThreads) {
    score[i] = i >= begin && i < end ? expf(score[i] - largest) * factor : 0.0f;
  }
}

__global__ void __launch_bounds__(kThreads)
    LikelihoodKernel(const float* logits, const int32_t* targets, int vocabulary, float* y) {
  __shared__ float largest_memory[kWarps];
  __shared__ double sum_memory[kWarps];
  const float* const logit = logits + static_cast<int64_t>(blockIdx.x) * vocabulary;
  float largest = kMinusInfinity;
  for (int i = threadIdx.x; i < vocabulary; i += kThreads) largest = fmaxf(largest, logit[i]);
  largest = BlockLargest(largest, largest_memory);
  double sum = 0;
  for (int i = threadIdx.x; i < vocabulary; i += kThreads) sum += static_cast<double>(expf(logit[i] - largest));
  sum = BlockSum<kThreads>(sum, sum_memory);
  if (threadIdx.x != 0) return;
  y[blockIdx.x] =
      static_cast<float>(static_cast<double>(logit[targets[blockIdx.x]]) - static_cast<double>(largest) - log(sum));
}

__global__ void __launch_bounds__(kThreads)
    NarrowKernel(const float* kernel, int64_t size, int units, int64_t stride, uint16_t* y) {
  for (int64_t i = FirstIndex(); i < size; i += IndexStep()) {
    const int64_t unit = i % stride;
    y[i] = unit < units ? Narrowed(kernel[i / stride * units + unit]) : static_cast<uint16_t>(0);
  }
}

}  // namespace

cudaError_t LaunchEmbed(const Embedding& embedding, const TokenInput& input, int rows, int hidden, const Angles& angles,
                        float* x, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((hidden + kThreads - 1) / kThreads + 1), static_cast<unsigned>(rows));
  EmbedKernel<<<grid, kThreads, 0, stream>>>(embedding, input, hidden, angles, x);
  return cudaGetLastError();
}

cudaError_t LaunchNormRows(const float* x, const float* weight, int rows, int n, float epsilon, float* y,
                           cudaStream_t stream) {
  NormRowsKernel<<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(x, weight, n, epsilon, y);
  return cudaGetLastError();
}

cudaError_t LaunchTurnRows(const HeadNumbers& heads, int rows, int start, float* queries, int64_t stride,
                           const float* keys, const float* values, int64_t key_stride, const LayerCache& cache,
                           cudaStream_t stream) {
  const Turn turn = {heads, start, queries, stride, keys, values, key_stride, cache,
                     1.0f / sqrtf(static_cast<float>(heads.head_size))};
  const dim3 grid(static_cast<unsigned>(rows),
                  static_cast<unsigned>((heads.heads + heads.key_heads + kWarps - 1) / kWarps));
  if (cache.narrow) {
    TurnRowsKernel<uint16_t><<<grid, kThreads, 0, stream>>>(turn);
  } else {
    TurnRowsKernel<float><<<grid, kThreads, 0, stream>>>(turn);
  }
  return cudaGetLastError();
}

cudaError_t LaunchMaskRows(const float* x, int64_t size, float threshold, float* y, unsigned long long* kept,
                           cudaStream_t stream) {
  MaskRowsKernel<<<Blocks(size), kThreads, 0, stream>>>(x, size, threshold, y, kept);
  return cudaGetLastError();
}

cudaError_t LaunchGateRows(GateActivation activation, const float* gate, const float* up, int64_t stride, int rows,
                           int width, float* y, cudaStream_t stream) {
  const int64_t size = static_cast<int64_t>(rows) * width;
  GateRowsKernel<<<Blocks(size), kThreads, 0, stream>>>(activation, gate, up, stride, size, width, y);
  return cudaGetLastError();
}

cudaError_t LaunchSoftmax(float* scores, int heads, int rows, int positions, int start, int window,
                          cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(rows), static_cast<unsigned>(heads));
  SoftmaxKernel<<<grid, kThreads, 0, stream>>>(scores, rows, positions, start, window);
  return cudaGetLastError();
}

cudaError_t LaunchLikelihoods(const float* logits, const int32_t* targets, int rows, int vocabulary, float* y,
                              cudaStream_t stream) {
  LikelihoodKernel<<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(logits, targets, vocabulary, y);
  return cudaGetLastError();
}

cudaError_t LaunchNarrow(const float* kernel, int64_t inputs, int units, int64_t stride, uint16_t* y,
                         cudaStream_t stream) {
  const int64_t size = inputs * stride;
  NarrowKernel<<<Blocks(size), kThreads, 0, stream>>>(kernel, size, units, stride, y);
  return cudaGetLastError();
}

}  // namespace sparsify::cuda
