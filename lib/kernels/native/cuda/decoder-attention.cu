// A block has up to kQueries query heads that share a key head, and a stretch of the positions that they see; its softmax is
// kept relative to the largest score so far. The last block of a key head that is done adds the stretches up, in order.
#include "decoder-attention.h"

#include <cuda_runtime.h>

#include <algorithm>

#include "cached.cuh"
#include "decoder-heads.cuh"
#include "launch.cuh"

namespace sparsify::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kQueries = 8;  // a warp each
static_assert(kQueries == kWarps);
constexpr int kTile = 128;      // positions whose scores are kept at a time
constexpr int kScoreLanes = 16;  // that share a position
constexpr int kMaxSplits = 32;
// A stretch shorter than this costs more to add up than it brings.
constexpr int kLeastPositions = 64;

constexpr float kMinusInfinity = -__builtin_huge_valf();

struct Args {
  TokenAttention call;
  float scale;
  int splits;
  float* partial;     // [heads, splits, head_size + 2]: sums, then largest score and total
  unsigned* arrived;  // by key head and group of queries; all 0 between calls
};

int QueryGroups(const HeadNumbers& heads) { return (heads.heads / heads.key_heads + kQueries - 1) / kQueries; }

int SplitsFor(const HeadNumbers& heads, const Device& device) {
  const int wanted = 2 * device.multiprocessors / (heads.key_heads * QueryGroups(heads));
  return std::max(1, std::min(kMaxSplits, wanted));
}

size_t PartialFloats(const HeadNumbers& heads, int splits) {
  return static_cast<size_t>(heads.heads) * static_cast<size_t>(splits) * static_cast<size_t>(heads.head_size + 2);
}

// Parts of shared memory, in floats.
struct Memory {
  __device__ __forceinline__ Memory(float* memory, int size) {
    query = memory;                        // [kQueries, size]
    key = query + kQueries * size;         // [size], of this token
    value = key + size;                    // [size]
    score = value + size;                  // [kQueries, kTile]
    factor = score + kQueries * kTile;     // [kQueries]
    sums = factor + kQueries;              // [subsets, kQueries, size]
  }
  float *query, *key, *value, *score, *factor, *sums;
};
size_t MemoryBytes(int size) {
  const int subsets = kThreads / (size / 2);
  return sizeof(float) * static_cast<size_t>(kQueries * size + 2 * size + kQueries * kTile + kQueries +
                                             subsets * kQueries * size);
}

// Turns this block's queries, and this token's key and value if they are in its stretch; the first group of queries puts those
// into the cache.
template <class T>
__device__ __forceinline__ void PrepareHeads(const Args& args, int key_head, int first_head, int count, int position,
                                             bool has_token, const Memory& memory) {
  const TokenAttention& call = args.call;
  const HeadNumbers& heads = call.heads;
  const int size = heads.head_size, half = size / 2;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t place = (static_cast<int64_t>(position) * heads.key_heads + key_head) * size;
  float* const query = memory.query + warp * size;
  if (warp < count) {
    TurnHead(call.queries + (first_head + warp) * size, half, heads.query_norm, heads.epsilon, heads.cos, heads.sin,
             [&](int i, float x) { query[i] = x * args.scale; });
  } else {
    for (int i = lane; i < size; i += 32) query[i] = 0.0f;
  }
  if (!has_token) return;
  if (warp == 0) {
    T* const keys = static_cast<T*>(call.cache.keys) + place;
    TurnHead(call.keys + key_head * size, half, heads.key_norm, heads.epsilon, heads.cos, heads.sin,
             [&](int i, float x) {
               memory.key[i] = AsCached<T>(x);
               if (blockIdx.z == 0) Put(keys + i, x);
             });
  } else if (warp == 1) {
    T* const values = static_cast<T*>(call.cache.values) + place;
    for (int i = lane; i < size; i += 32) {
      const float x = call.values[key_head * size + i];
      memory.value[i] = AsCached<T>(x);
      if (blockIdx.z == 0) Put(values + i, x);
    }
  }
}

// score[query, i] for the positions first + i < end; minus infinity beyond.
template <class T>
__device__ __forceinline__ void ScoreTile(const Args& args, int key_head, int first, int end, int position,
                                          const Memory& memory) {
  const HeadNumbers& heads = args.call.heads;
  const int size = heads.head_size;
  const int group = threadIdx.x / kScoreLanes, lane = threadIdx.x % kScoreLanes;
  const T* const keys = static_cast<const T*>(args.call.cache.keys) + key_head * size;
  for (int i = group; i < kTile; i += kThreads / kScoreLanes) {
    const int t = first + i;
    float sum[kQueries] = {};
    if (t < end) {
      const T* const key = keys + static_cast<int64_t>(t) * heads.key_heads * size;
      for (int k = 2 * lane; k < size; k += 2 * kScoreLanes) {
        const float2 pair = t == position ? LoadPair(memory.key + k) : LoadPair(key + k);
#pragma unroll
        for (int q = 0; q < kQueries; q++) {
          const float2 query = LoadPair(memory.query + q * size + k);
          sum[q] += query.x * pair.x + query.y * pair.y;
        }
      }
    }
#pragma unroll
    for (int q = 0; q < kQueries; q++) {
#pragma unroll
      for (int step = kScoreLanes / 2; step > 0; step /= 2) {
        sum[q] += __shfl_xor_sync(0xffffffffu, sum[q], step);
      }
      if (lane == 0) memory.score[q * kTile + i] = t < end ? sum[q] : kMinusInfinity;
    }
  }
}

// A warp turns its query's scores into exp(score - largest) and says by which factor older sums are too large.
__device__ __forceinline__ void SoftmaxTile(const Memory& memory, float* largest, float* total) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float* const score = memory.score + warp * kTile;
  float tile_largest = *largest;
  for (int i = lane; i < kTile; i += 32) tile_largest = fmaxf(tile_largest, score[i]);
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    tile_largest = fmaxf(tile_largest, __shfl_xor_sync(0xffffffffu, tile_largest, step));
  }
  float sum = 0.0f;
  for (int i = lane; i < kTile; i += 32) {
    const float p = expf(score[i] - tile_largest);
    score[i] = p;
    sum += p;
  }
  const float factor = expf(*largest - tile_largest);
  *total = *total * factor + WarpSum(sum);
  *largest = tile_largest;
  if (lane == 0) memory.factor[warp] = factor;
}

// Adds the values of positions [first, end): a thread has two numbers of the head, and every so many-th position.
template <class T>
__device__ __forceinline__ void AddValues(const Args& args, int key_head, int first, int end, int position,
                                          const Memory& memory, float2 (&sum)[kQueries]) {
  const HeadNumbers& heads = args.call.heads;
  const int size = heads.head_size, pairs = size / 2, subsets = kThreads / pairs;
  const int column = 2 * (static_cast<int>(threadIdx.x) % pairs), subset = threadIdx.x / pairs;
  if (subset >= subsets) return;
  const T* const values = static_cast<const T*>(args.call.cache.values) + key_head * size + column;
#pragma unroll
  for (int q = 0; q < kQueries; q++) sum[q].x *= memory.factor[q], sum[q].y *= memory.factor[q];
  for (int t = first + subset; t < end; t += subsets) {
    const float2 value = t == position ? LoadPair(memory.value + column)
                                       : LoadPair(values + static_cast<int64_t>(t) * heads.key_heads * size);
#pragma unroll
    for (int q = 0; q < kQueries; q++) {
      const float p = memory.score[q * kTile + (t - first)];
      sum[q].x += p * value.x;
      sum[q].y += p * value.y;
    }
  }
}

// The result of `count` heads from the stretches of all blocks.
__device__ __forceinline__ void AddStretches(const Args& args, int first_head, int count, int stretches) {
  const int size = args.call.heads.head_size;
  for (int i = threadIdx.x; i < count * size; i += kThreads) {
    const int head = first_head + i / size;
    const float* const partial = args.partial + static_cast<int64_t>(head) * args.splits * (size + 2);
    float largest = kMinusInfinity;
    for (int s = 0; s < stretches; s++) largest = fmaxf(largest, __ldcg(partial + s * (size + 2) + size));
    float sum = 0.0f, total = 0.0f;
    for (int s = 0; s < stretches; s++) {
      const float* const stretch = partial + s * (size + 2);
      const float factor = expf(__ldcg(stretch + size) - largest);
      sum += factor * __ldcg(stretch + i % size);
      total += factor * __ldcg(stretch + size + 1);
    }
    args.call.y[static_cast<int64_t>(head) * size + i % size] = sum / total;
  }
}

// Grid: stretches, key heads, groups of queries.
template <class T>
__global__ void __launch_bounds__(kThreads) AttentionKernel(const __grid_constant__ Args args) {
  extern __shared__ __align__(16) unsigned char bytes[];
  const HeadNumbers& heads = args.call.heads;
  const int size = heads.head_size;
  const Memory memory(reinterpret_cast<float*>(bytes), size);
  WaitForKernelBefore();
  const int split = blockIdx.x, key_head = blockIdx.y, group = heads.heads / heads.key_heads;
  const int first_query = static_cast<int>(blockIdx.z) * kQueries;
  const int first_head = key_head * group + first_query, count = min(kQueries, group - first_query);
  const int position = *args.call.position;
  const int first_seen = heads.window != 0 ? max(0, position + 1 - heads.window) : 0;
  const int seen = position + 1 - first_seen;
  const int length = max(kLeastPositions, (seen + args.splits - 1) / args.splits);
  const int stretches = (seen + length - 1) / length;
  if (split >= stretches) return;
  const int begin = first_seen + split * length, end = min(begin + length, position + 1);

  PrepareHeads<T>(args, key_head, first_head, count, position, split == stretches - 1, memory);
  __syncthreads();
  float largest = kMinusInfinity, total = 0.0f;  // of the warp's query
  float2 sum[kQueries] = {};
  for (int first = begin; first < end; first += kTile) {
    const int last = min(end, first + kTile);
    ScoreTile<T>(args, key_head, first, last, position, memory);
    __syncthreads();
    SoftmaxTile(memory, &largest, &total);
    __syncthreads();
    AddValues<T>(args, key_head, first, last, position, memory, sum);
    __syncthreads();
  }
  LetNextKernelStart();
  const int pairs = size / 2, subsets = kThreads / pairs;
  const int subset = threadIdx.x / pairs, column = 2 * (static_cast<int>(threadIdx.x) % pairs);
  if (subset < subsets) {
#pragma unroll
    for (int q = 0; q < kQueries; q++) {
      *reinterpret_cast<float2*>(memory.sums + (subset * kQueries + q) * size + column) = sum[q];
    }
  }
  if (threadIdx.x % 32 == 0) memory.factor[threadIdx.x / 32] = total;
  const int warp = threadIdx.x / 32;
  if (threadIdx.x % 32 == 0 && warp < count && stretches > 1) {
    float* const end_of_sums =
        args.partial + (static_cast<int64_t>(first_head + warp) * args.splits + split) * (size + 2) + size;
    end_of_sums[0] = largest;
    end_of_sums[1] = total;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < count * size; i += kThreads) {
    const int head = first_head + i / size;
    float x = 0.0f;
    for (int s = 0; s < subsets; s++) x += memory.sums[s * kQueries * size + i];
    if (stretches == 1) {
      args.call.y[static_cast<int64_t>(head) * size + i % size] = x / memory.factor[i / size];
    } else {
      args.partial[(static_cast<int64_t>(head) * args.splits + split) * (size + 2) + i % size] = x;
    }
  }
  if (stretches == 1) return;
  __threadfence();
  __syncthreads();
  auto* const is_last = reinterpret_cast<unsigned*>(memory.score);
  unsigned* const arrived = args.arrived + blockIdx.y * gridDim.z + blockIdx.z;
  if (threadIdx.x == 0) *is_last = atomicAdd(arrived, 1u) == static_cast<unsigned>(stretches) - 1;
  __syncthreads();
  if (*is_last == 0) return;
  __threadfence();
  AddStretches(args, first_head, count, stretches);
  if (threadIdx.x == 0) *arrived = 0;
}

}  // namespace

size_t AttentionWorkspaceBytes(const HeadNumbers& heads, const Device& device) {
  return sizeof(float) * PartialFloats(heads, SplitsFor(heads, device)) +
         sizeof(unsigned) * static_cast<size_t>(heads.key_heads * QueryGroups(heads));
}

cudaError_t LaunchTokenAttention(const TokenAttention& call, const Device& device, cudaStream_t stream) {
  Args args = {};
  args.call = call;
  args.scale = 1.0f / sqrtf(static_cast<float>(call.heads.head_size));
  args.splits = SplitsFor(call.heads, device);
  args.partial = static_cast<float*>(call.workspace);
  args.arrived = reinterpret_cast<unsigned*>(args.partial + PartialFloats(call.heads, args.splits));
  const dim3 grid(static_cast<unsigned>(args.splits), static_cast<unsigned>(call.heads.key_heads),
                  static_cast<unsigned>(QueryGroups(call.heads)));
  const size_t bytes = MemoryBytes(call.heads.head_size);
  return LaunchTogether(call.cache.narrow ? &AttentionKernel<uint16_t> : &AttentionKernel<float>, args, grid, kThreads,
                        bytes, {0, device.clusters}, stream);
}

}  // namespace sparsify::cuda
