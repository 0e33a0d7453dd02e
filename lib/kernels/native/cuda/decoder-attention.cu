// A block has up to kMaxQueries query heads that share a key head, and a stretch of the positions that they see; its softmax
// is kept relative to the largest score so far. The last block of a key head that is done adds the stretches up, in order.
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
constexpr int kMaxQueries = 8;  // of a block, a warp each
static_assert(kMaxQueries == kWarps);
constexpr int kTile = 128;       // positions whose scores are kept at a time
constexpr int kScoreLanes = 16;  // that share a position
constexpr int kScoreGroups = kThreads / kScoreLanes;
// Positions of which a thread reads at a time: what it waits for is memory, and few blocks are there to wait together.
constexpr int kAhead = 4;
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

// Query heads of a block: kernels are compiled for 1, 2, 4 and 8.
int QueriesFor(const HeadNumbers& heads) {
  int queries = 1;
  while (queries < kMaxQueries && queries < heads.heads / heads.key_heads) queries *= 2;
  return queries;
}
int QueryGroups(const HeadNumbers& heads) {
  const int queries = QueriesFor(heads);
  return (heads.heads / heads.key_heads + queries - 1) / queries;
}

int SplitsFor(const HeadNumbers& heads, const Device& device) {
  const int wanted = 2 * device.multiprocessors / (heads.key_heads * QueryGroups(heads));
  return std::max(1, std::min(kMaxSplits, wanted));
}

size_t PartialFloats(const HeadNumbers& heads, int splits) {
  return static_cast<size_t>(heads.heads) * static_cast<size_t>(splits) * static_cast<size_t>(heads.head_size + 2);
}

// Parts of shared memory. This token's key and value are there as the cache has them.
template <class T, int kQueries>
struct Memory {
  __device__ __forceinline__ Memory(float* memory, int size) {
    query = memory;                      // [kQueries, size]
    score = query + kQueries * size;     // [kQueries, kTile]
    factor = score + kQueries * kTile;   // [kMaxQueries]
    sums = factor + kMaxQueries;         // [subsets, kQueries, size]
    key = reinterpret_cast<T*>(sums + kThreads / (size / 2) * kQueries * size);  // [size]
    value = key + size;
  }
  float *query, *score, *factor, *sums;
  T *key, *value;
};
size_t MemoryBytes(int size, int queries) {
  const int subsets = kThreads / (size / 2);
  return sizeof(float) * static_cast<size_t>(queries * size + queries * kTile + kMaxQueries + subsets * queries * size +
                                             2 * size);
}

// Turns this block's queries, and this token's key and value if they are in its stretch; the first group of queries puts those
// into the cache.
template <class T, int kQueries>
__device__ __forceinline__ void PrepareHeads(const Args& args, int key_head, int first_head, int count, int position,
                                             bool has_token, const Memory<T, kQueries>& memory) {
  const TokenAttention& call = args.call;
  const HeadNumbers& heads = call.heads;
  const int size = heads.head_size, half = size / 2;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int64_t place = (static_cast<int64_t>(position) * heads.key_heads + key_head) * size;
  float* const query = memory.query + warp * size;
  // The last warps have this token, where they have no query.
  const int key_warp = kQueries < kWarps ? kWarps - 1 : 0, value_warp = kQueries + 1 < kWarps ? kWarps - 2 : 1;
  if (warp < count) {
    TurnHead(call.queries + (first_head + warp) * size, half, heads.query_norm, heads.epsilon, heads.cos, heads.sin,
             [&](int i, float x) { query[i] = x * args.scale; });
  } else if (warp < kQueries) {
    for (int i = lane; i < size; i += 32) query[i] = 0.0f;
  }
  if (!has_token) return;
  if (warp == key_warp) {
    T* const keys = static_cast<T*>(call.cache.keys) + place;
    TurnHead(call.keys + key_head * size, half, heads.key_norm, heads.epsilon, heads.cos, heads.sin,
             [&](int i, float x) {
               Put(memory.key + i, x);
               if (blockIdx.z == 0) Put(keys + i, x);
             });
  } else if (warp == value_warp) {
    T* const values = static_cast<T*>(call.cache.values) + place;
    for (int i = lane; i < size; i += 32) {
      const float x = call.values[key_head * size + i];
      Put(memory.value + i, x);
      if (blockIdx.z == 0) Put(values + i, x);
    }
  }
}

// score[query, i] for the positions first + i < end; minus infinity beyond.
template <class T, int kQueries>
__device__ __forceinline__ void ScoreTile(const Args& args, int key_head, int first, int end, int position,
                                          const Memory<T, kQueries>& memory) {
  const HeadNumbers& heads = args.call.heads;
  const int size = heads.head_size;
  const int group = threadIdx.x / kScoreLanes, lane = threadIdx.x % kScoreLanes;
  const T* const keys = static_cast<const T*>(args.call.cache.keys) + key_head * size;
  for (int from = group; from < kTile; from += kScoreGroups * kAhead) {
    if (first + from - group >= end) {
#pragma unroll
      for (int a = 0; a < kAhead; a++) {
        for (int q = lane; q < kQueries; q += kScoreLanes) memory.score[q * kTile + from + a * kScoreGroups] = kMinusInfinity;
      }
      continue;
    }
    const T* key[kAhead];
#pragma unroll
    for (int a = 0; a < kAhead; a++) {
      // Beyond the end the last key is read once more: no branch around the loads.
      const int t = min(first + from + a * kScoreGroups, end - 1);
      key[a] = t == position ? memory.key : keys + static_cast<int64_t>(t) * heads.key_heads * size;
    }
    float sum[kAhead][kQueries] = {};
#pragma unroll 4
    for (int k = 2 * lane; k < size; k += 2 * kScoreLanes) {
      float2 pair[kAhead];
#pragma unroll
      for (int a = 0; a < kAhead; a++) pair[a] = LoadPair(key[a] + k);
#pragma unroll
      for (int q = 0; q < kQueries; q++) {
        const float2 query = LoadPair(memory.query + q * size + k);
#pragma unroll
        for (int a = 0; a < kAhead; a++) sum[a][q] += query.x * pair[a].x + query.y * pair[a].y;
      }
    }
#pragma unroll
    for (int a = 0; a < kAhead; a++) {
      const int i = from + a * kScoreGroups;
#pragma unroll
      for (int q = 0; q < kQueries; q++) {
#pragma unroll
        for (int step = kScoreLanes / 2; step > 0; step /= 2) {
          sum[a][q] += __shfl_xor_sync(0xffffffffu, sum[a][q], step);
        }
        if (lane == 0) memory.score[q * kTile + i] = first + i < end ? sum[a][q] : kMinusInfinity;
      }
    }
  }
}

// A warp turns its query's scores into exp(score - largest) and says by which factor older sums are too large.
template <class T, int kQueries>
__device__ __forceinline__ void SoftmaxTile(const Memory<T, kQueries>& memory, float* largest, float* total) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (warp >= kQueries) return;
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
template <class T, int kQueries>
__device__ __forceinline__ void AddValues(const Args& args, int key_head, int first, int end, int position,
                                          const Memory<T, kQueries>& memory, float2 (&sum)[kQueries]) {
  const HeadNumbers& heads = args.call.heads;
  const int size = heads.head_size, pairs = size / 2, subsets = kThreads / pairs;
  const int column = 2 * (static_cast<int>(threadIdx.x) % pairs), subset = threadIdx.x / pairs;
  if (subset >= subsets) return;
  const T* const values = static_cast<const T*>(args.call.cache.values) + key_head * size + column;
#pragma unroll
  for (int q = 0; q < kQueries; q++) sum[q].x *= memory.factor[q], sum[q].y *= memory.factor[q];
  for (int from = first + subset; from < end; from += subsets * 2 * kAhead) {
    float2 value[2 * kAhead];
#pragma unroll
    for (int a = 0; a < 2 * kAhead; a++) {
      const int t = min(from + a * subsets, end - 1);  // beyond the end it counts as 0
      value[a] = LoadPair(t == position ? memory.value + column : values + static_cast<int64_t>(t) * heads.key_heads * size);
    }
#pragma unroll
    for (int a = 0; a < 2 * kAhead; a++) {
      const int t = from + a * subsets;
      if (t >= end) break;
#pragma unroll
      for (int q = 0; q < kQueries; q++) {
        const float p = memory.score[q * kTile + (t - first)];
        sum[q].x += p * value[a].x;
        sum[q].y += p * value[a].y;
      }
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

// Asks for the keys and values of positions [begin, end) to be in the L2 cache soon.
template <class T>
__device__ __forceinline__ void PrefetchCache(const LayerCache& cache, const HeadNumbers& heads, int key_head, int begin,
                                              int end) {
  constexpr int kLine = 128 / sizeof(T);  // numbers
  const int lines = (heads.head_size + kLine - 1) / kLine;
  for (int i = threadIdx.x; i < (end - begin) * lines; i += kThreads) {
    const int64_t at =
        (static_cast<int64_t>(begin + i / lines) * heads.key_heads + key_head) * heads.head_size + i % lines * kLine;
    for (const void* const numbers : {cache.keys, cache.values}) {
      asm volatile("prefetch.global.L2 [%0];" ::"l"(static_cast<const T*>(numbers) + at));
    }
  }
}

// Grid: stretches, key heads, groups of queries.
template <class T, int kQueries>
__global__ void __launch_bounds__(kThreads) AttentionKernel(const __grid_constant__ Args args) {
  extern __shared__ __align__(16) unsigned char bytes[];
  const HeadNumbers& heads = args.call.heads;
  const int size = heads.head_size;
  const Memory<T, kQueries> memory(reinterpret_cast<float*>(bytes), size);
  const int split = blockIdx.x, key_head = blockIdx.y, group = heads.heads / heads.key_heads;
  const int first_query = static_cast<int>(blockIdx.z) * kQueries;
  const int first_head = key_head * group + first_query, count = min(kQueries, group - first_query);
  const int position = *args.call.position;
  const int first_seen = heads.window != 0 ? max(0, position + 1 - heads.window) : 0;
  const int seen = position + 1 - first_seen;
  const int wanted = max(1, min(args.splits, seen / kLeastPositions));
  const int length = (seen + wanted - 1) / wanted, stretches = (seen + length - 1) / length;
  if (split >= stretches) return;
  const int begin = first_seen + split * length, end = min(begin + length, position + 1);
  // The kernel before makes this token's query, key and value; the others are there.
  PrefetchCache<T>(args.call.cache, heads, key_head, begin, min(end, position));
  WaitForKernelBefore();

  PrepareHeads(args, key_head, first_head, count, position, split == stretches - 1, memory);
  __syncthreads();
  float largest = kMinusInfinity, total = 0.0f;  // of the warp's query
  float2 sum[kQueries] = {};
  for (int first = begin; first < end; first += kTile) {
    const int last = min(end, first + kTile);
    ScoreTile(args, key_head, first, last, position, memory);
    __syncthreads();
    SoftmaxTile(memory, &largest, &total);
    __syncthreads();
    AddValues(args, key_head, first, last, position, memory, sum);
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
  const int queries = QueriesFor(call.heads);
  const auto launch = [&](auto cached) {
    using T = decltype(cached);
    const auto kernel = queries == 1   ? &AttentionKernel<T, 1>
                        : queries == 2 ? &AttentionKernel<T, 2>
                        : queries == 4 ? &AttentionKernel<T, 4>
                                       : &AttentionKernel<T, 8>;
    return LaunchTogether(kernel, args, grid, kThreads, MemoryBytes(call.heads.head_size, queries), {0, device.clusters},
                          stream);
  };
  return call.cache.narrow ? launch(uint16_t()) : launch(float());
}

}  // namespace sparsify::cuda
