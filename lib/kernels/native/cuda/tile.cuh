// The part of a product of rows with a kernel that a block of threads computes: a tile of columns, and of the inputs a
// share. It lists the kept ones in shared memory, streams their rows of the kernel with wide loads, and adds its groups of
// lanes up. The shares of a tile are added up in a fixed order: through the shared memory of the blocks' cluster, or
// through device memory and a second launch.
#ifndef SPARSIFY_CUDA_TILE_CUH_
#define SPARSIFY_CUDA_TILE_CUH_

#include <cooperative_groups.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "launch.cuh"
#include "sparsified-matmul.h"
#include "weights.cuh"

namespace sparsify::cuda {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kMaxSplits = 8;  // the largest cluster that every chip with clusters takes
constexpr unsigned kIndexMask = kMaxInputs - 1;

// Inputs that a thread lists at a time, all loaded before the first is looked at; more are done in further rounds.
template <int kRows>
constexpr int kListedByThread = kRows == 1 ? 8 : kRows <= 4 ? 4 : 2;
template <int kRows>
constexpr int kListed = kThreads * kListedByThread<kRows>;

// Blocks take turns every so many inputs, so that a stretch of inputs that are all kept is divided among them.
constexpr int kTurn = 8;

// How the inputs are divided: `splits` blocks share a tile of columns.
struct Cut {
  int inputs;
  int splits;
  int slice;  // inputs of a block in one round, a multiple of 32
};

// The kept inputs of a block's slice, in order.
template <int kRows>
struct List {
  unsigned entry[kListed<kRows>];  // index of the input, and the rows that keep it from bit 24 on
  float x[kListed<kRows>][kRows];
  unsigned ballots[kListed<kRows> / 32];
};

// The input that is i-th in a slice.
__device__ __forceinline__ int InputAt(int i, int first, int split, int splits) {
  return first + ((i / kTurn) * splits + split) * kTurn + i % kTurn;
}

// Fills the list and returns its length. Ends with a barrier. A Source has what is multiplied: Value(row, input) and
// Threshold(input), for inputs within range; and Rows(), at most kRows.
template <int kRows, class Source>
__device__ __forceinline__ int Compact(const Source& source, const Cut& cut, int first, int split, List<kRows>& list) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int groups = cut.slice / 32;
  constexpr int kCount = kListedByThread<kRows>;
  float x[kCount][kRows], threshold[kCount];
#pragma unroll
  for (int j = 0; j < kCount; j++) {
    const int i = j * kThreads + static_cast<int>(threadIdx.x), k = InputAt(i, first, split, cut.splits);
    const bool inside = i < cut.slice && k < cut.inputs;
    threshold[j] = inside ? source.Threshold(k) : 0.0f;
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      // 0 beyond the end, under a threshold of 0: masked.
      x[j][r] = inside && r < source.Rows() ? source.Value(r, k) : 0.0f;
    }
  }
  unsigned kept[kCount];
#pragma unroll
  for (int j = 0; j < kCount; j++) {
    const int i = j * kThreads + static_cast<int>(threadIdx.x);
    kept[j] = 0;
    const bool inside = i < cut.slice && InputAt(i, first, split, cut.splits) < cut.inputs;
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      if (inside && r < source.Rows() && !(fabsf(x[j][r]) <= threshold[j])) kept[j] |= 1u << r;
    }
    const unsigned ballot = __ballot_sync(0xffffffffu, kept[j] != 0);
    if (lane == 0) list.ballots[j * kWarps + warp] = ballot;
  }
  __syncthreads();
  // Every warp finds for itself how many entries lie before each group of 32 inputs.
  int total = 0, before[(kListed<kRows> / 32 + 31) / 32];
#pragma unroll
  for (int half = 0; half < (kListed<kRows> / 32 + 31) / 32; half++) {
    const int group = half * 32 + lane;
    const int own = group < groups ? __popc(list.ballots[group]) : 0;
    int sum = own;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int other = __shfl_up_sync(0xffffffffu, sum, step);
      if (lane >= step) sum += other;
    }
    before[half] = total + sum - own;
    total += __shfl_sync(0xffffffffu, sum, 31);
  }
#pragma unroll
  for (int j = 0; j < kCount; j++) {
    const int group = j * kWarps + warp;
    const int start = __shfl_sync(0xffffffffu, before[j * kWarps / 32], group % 32);
    const unsigned ballot = __ballot_sync(0xffffffffu, kept[j] != 0);
    if (kept[j] == 0) continue;
    const int at = start + __popc(ballot & ((1u << lane) - 1));
    const int i = j * kThreads + static_cast<int>(threadIdx.x);
    list.entry[at] = static_cast<unsigned>(InputAt(i, first, split, cut.splits)) | kept[j] << 24;
#pragma unroll
    for (int r = 0; r < kRows; r++) list.x[at][r] = x[j][r];
  }
  __syncthreads();
  return total;
}

// The columns of a kernel, as they are stored.
struct Columns {
  const void* kernel;       // [inputs, stride]
  int64_t stride;           // numbers from one row to the next
  const float* zero_point;  // INT8: [units], or null for 0
  int units;
};

// How a block reads: groups of kLanes lanes take rows of the kernel in turns, kUnroll of them at a time; a lane has
// kVectors vectors of kColumns columns, kLanes * kColumns columns apart.
template <class W, int kRows_, int kColumns_, int kVectors_, int kLanes_, int kUnroll_>
struct Shape {
  using Weights = W;
  static constexpr int kRows = kRows_, kColumns = kColumns_, kVectors = kVectors_, kLanes = kLanes_;
  static constexpr int kUnroll = kUnroll_;
  static constexpr int kOwn = kColumns * kVectors;  // columns of a lane
  static constexpr int kTile = kLanes * kOwn;
  static constexpr int kGroups = kThreads / kLanes;
  static constexpr size_t kSumBytes = (kGroups + 1) * kRows * kTile * sizeof(float);
  static constexpr size_t kBytes = kSumBytes > sizeof(List<kRows>) ? kSumBytes : sizeof(List<kRows>);
};

// Adds x * (row of the kernel) for kCount entries of the list from `at` on.
template <class S, int kCount>
__device__ __forceinline__ void AddRows(int64_t stride, const List<S::kRows>& list, int at,
                                        const unsigned char* const (&kernel)[S::kVectors], const float (&offset)[S::kOwn],
                                        float (&sum)[S::kRows][S::kOwn]) {
  using Weights = typename S::Weights;
  constexpr int kWords = S::kColumns / Weights::kPerWord;
  using Vector = typename Words<kWords>::Type;
  Vector loaded[kCount][S::kVectors];
  unsigned entry[kCount];
#pragma unroll
  for (int u = 0; u < kCount; u++) {
    entry[u] = list.entry[at + u];
    const int64_t bytes = static_cast<int64_t>(entry[u] & kIndexMask) * (stride * 4 / Weights::kPerWord);
#pragma unroll
    for (int v = 0; v < S::kVectors; v++) {
      loaded[u][v] = LoadStream(reinterpret_cast<const Vector*>(kernel[v] + bytes));
    }
  }
#pragma unroll
  for (int u = 0; u < kCount; u++) {
#pragma unroll
    for (int v = 0; v < S::kVectors; v++) {
      uint32_t words[kWords];
      Split(loaded[u][v], words);
      float w[S::kColumns];
#pragma unroll
      for (int i = 0; i < kWords; i++) Weights::Unpack(words[i], w + i * Weights::kPerWord);
      if constexpr (Weights::kPerWord == 4) {
#pragma unroll
        for (int c = 0; c < S::kColumns; c++) w[c] -= offset[v * S::kColumns + c];
      }
#pragma unroll
      for (int r = 0; r < S::kRows; r++) {
        const float x = list.x[at + u][r];
        // A row that masks the input leaves it out: 0 times an Inf or NaN of the kernel would be NaN.
        if (S::kRows == 1 || (entry[u] >> (24 + r) & 1) != 0) {
#pragma unroll
          for (int c = 0; c < S::kColumns; c++) {
            sum[r][v * S::kColumns + c] = fmaf(x, w[c], sum[r][v * S::kColumns + c]);
          }
        }
      }
    }
  }
}

// The column that is i-th of a lane's, in a tile.
template <class S>
__device__ __forceinline__ int64_t ColumnAt(int tile, int i, int lane) {
  const int vector = i / S::kColumns;
  return static_cast<int64_t>(tile) * S::kTile + (vector * S::kLanes + lane) * S::kColumns + i % S::kColumns;
}

// Sums of this block, [kRows, kTile] in `memory`, ready for all its threads after the next barrier. Returns how many inputs
// the block kept.
template <class S, class Source>
__device__ __forceinline__ int SumTile(const Source& source, const Columns& columns, const Cut& cut, int tile, int split,
                                       unsigned char* memory, float** block_sums) {
  auto& list = *reinterpret_cast<List<S::kRows>*>(memory);
  auto* const group_sums = reinterpret_cast<float*>(memory);                // [kGroups, kRows, kTile]
  *block_sums = group_sums + S::kGroups * S::kRows * S::kTile;  // [kRows, kTile]
  const int group = threadIdx.x / S::kLanes, lane = threadIdx.x % S::kLanes;
  const unsigned char* kernel[S::kVectors];
#pragma unroll
  for (int v = 0; v < S::kVectors; v++) {
    const int64_t column = ColumnAt<S>(tile, v * S::kColumns, lane);
    // Lanes beyond the last column read the first one and drop the result: no branch around the loads.
    kernel[v] = static_cast<const unsigned char*>(columns.kernel) +
                (column < columns.units ? column : 0) * 4 / S::Weights::kPerWord;
  }
  float offset[S::kOwn];
#pragma unroll
  for (int i = 0; i < S::kOwn; i++) {
    const int64_t column = ColumnAt<S>(tile, i, lane);
    offset[i] = columns.zero_point != nullptr && column < columns.units ? columns.zero_point[column] : 0.0f;
  }
  float sum[S::kRows][S::kOwn] = {};
  int kept = 0;
  for (int first = 0; first < cut.inputs; first += cut.slice * cut.splits) {
    const int count = Compact<S::kRows>(source, cut, first, split, list);
    kept += count;
    int at = group * S::kUnroll;
    for (; at + S::kUnroll <= count; at += S::kGroups * S::kUnroll) {
      AddRows<S, S::kUnroll>(columns.stride, list, at, kernel, offset, sum);
    }
    for (const int end = min(at + S::kUnroll, count); at < end; at++) {
      AddRows<S, 1>(columns.stride, list, at, kernel, offset, sum);
    }
    __syncthreads();  // the list is overwritten next
  }
#pragma unroll
  for (int r = 0; r < S::kRows; r++) {
#pragma unroll
    for (int i = 0; i < S::kOwn; i++) {
      // Neighbouring lanes in neighbouring banks.
      group_sums[(group * S::kRows + r) * S::kTile + i * S::kLanes + lane] = sum[r][i];
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < S::kRows * S::kTile; i += kThreads) {
    float total = 0.0f;
#pragma unroll
    for (int g = 0; g < S::kGroups; g++) total += group_sums[g * S::kRows * S::kTile + i];
    (*block_sums)[i] = total;
  }
  return kept;
}

#if __CUDA_ARCH__ >= 900
// Calls finish(row, column, sum) for the sums over the blocks of a cluster, the `split`-th of which this is; columns may lie
// beyond the last.
template <class S, class F>
__device__ __forceinline__ void FinishInCluster(float* block_sums, const Cut& cut, int tile, int split, const F& finish) {
  cooperative_groups::cluster_group cluster = cooperative_groups::this_cluster();
  cluster.sync();
  for (int i = split * kThreads + static_cast<int>(threadIdx.x); i < S::kRows * S::kTile; i += cut.splits * kThreads) {
    float total = 0.0f;
    for (int s = 0; s < cut.splits; s++) total += *cluster.map_shared_rank(block_sums + i, s);
    finish(i / S::kTile, ColumnAt<S>(tile, i % S::kTile / S::kLanes, i % S::kLanes), total);
  }
  cluster.sync();  // a block's memory must outlive what the others read of it
}
#endif

// Calls put(row, column, sum) for the sums of this block; columns may lie beyond the last.
template <class S, class F>
__device__ __forceinline__ void PutTile(const float* block_sums, int tile, const F& put) {
  __syncthreads();
  for (int i = threadIdx.x; i < S::kRows * S::kTile; i += kThreads) {
    put(i / S::kTile, ColumnAt<S>(tile, i % S::kTile / S::kLanes, i % S::kLanes), block_sums[i]);
  }
}

// How a kernel lies: what decides which code reads it.
struct Layout {
  Storage storage;
  bool aligned;  // rows can be read 16 bytes at a time
};
inline Layout LayoutOf(Storage storage, const void* kernel, int64_t stride) {
  return {storage, storage != Storage::kFloat32 || (stride % 4 == 0 && reinterpret_cast<uintptr_t>(kernel) % 16 == 0)};
}

// Calls visit(Shape) with how a block reads for up to kRows rows: tiles of 128 columns where they fit in registers, loads
// of 16 bytes where rows of the kernel allow them.
template <int kRows, class F>
auto WithShape(const Layout& layout, F&& visit) {
  switch (layout.storage) {
    case Storage::kBfloat16:
      return visit(Shape<Bfloat16, kRows, kRows <= 2 ? 8 : 4, 1, kRows <= 2 ? 16 : 32, 4>());
    case Storage::kInt8:
      return visit(Shape<Int8, kRows, kRows <= 2 ? 8 : 4, 1, kRows <= 2 ? 16 : 32, kRows <= 2 ? 8 : 4>());
    default:
      return layout.aligned ? visit(Shape<Float32, kRows, 4, 1, 32, 4>()) : visit(Shape<Float32, kRows, 1, 1, 32, 8>());
  }
}

// Blocks that share a tile. Two to three blocks a multiprocessor keep enough loads under way; more only list the same inputs
// more often. On an H100, 4096 x 14336 at sparsity 0: 82 us with 224 blocks, 89 with 448; 4096 x 11008: 64 with 344, 66 with
// 172, 76 with 688.
inline int SplitsFor(int tiles, int inputs, const Device& device) {
  const int splits = std::min(kMaxSplits, device.multiprocessors * 8 / 3 / std::max(tiles, 1));
  return std::max(1, std::min(splits, inputs / 32));
}

template <int kRows>
Cut CutFor(int inputs, int splits) {
  const int turn = kTurn * splits;
  const int needed = (inputs + turn - 1) / turn * kTurn;
  const int rounded = (needed + 31) / 32 * 32;
  return {inputs, splits, rounded < kListed<kRows> ? rounded : kListed<kRows>};
}

// Launches `kernel` with blocks of kThreads.
template <class Args>
cudaError_t LaunchTiles(void (*kernel)(Args), const Args& args, int blocks, const Together& together, size_t bytes,
                        cudaStream_t stream) {
  if (bytes > 48 * 1024) {
    const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    if (error != cudaSuccess) return error;
  }
  return LaunchTogether(kernel, args, dim3(static_cast<unsigned>(blocks)), kThreads, bytes, together, stream);
}

}  // namespace sparsify::cuda

#endif  // SPARSIFY_CUDA_TILE_CUH_
