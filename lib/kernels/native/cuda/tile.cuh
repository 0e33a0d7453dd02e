// The part of a product of rows with a kernel that a block of threads computes: a tile of columns, and of the inputs a
// share. It lists the kept ones in shared memory, streams their rows of the kernel with wide loads, and adds its groups of
// lanes up. The shares of a tile are added up in a fixed order: through the shared memory of the blocks' cluster, or
// through device memory and a second launch.
//
// Of a small product most time goes by waiting, for one thing after another: 1.5 ms of a token of Llama-2-7B's shape on an
// H100, in whichever type its weights are. So what does not depend on another is asked for at the same time or before.
#ifndef SPARSIFY_CUDA_TILE_CUH_
#define SPARSIFY_CUDA_TILE_CUH_

#include <cooperative_groups.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kept-rows.cuh"
#include "launch.cuh"
#include "sparsified-matmul.h"
#include "weights.cuh"

namespace sparsify::cuda {

constexpr int kMaxSplits = 8;  // the largest cluster that every chip with clusters takes

// Asks for `count` numbers that will be read later to be in the L2 cache by then.
__device__ __forceinline__ void Prefetch(const float* from, int64_t count) {
  constexpr int kLine = 32;  // numbers of a cache line
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * kLine; i < count; i += kThreads * kLine) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(from + i));
  }
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
  static constexpr int kSums = kRows * kTile;  // of a tile
  static constexpr size_t kGroupBytes = kGroups * kSums * sizeof(float);
  static constexpr size_t kWorkBytes = kGroupBytes > sizeof(List<kRows>) ? kGroupBytes : sizeof(List<kRows>);
  // The list, and in its place later the sums of the groups; then what a cluster's blocks send each other.
  static constexpr size_t kBytes = kWorkBytes + (kSums + kMaxSplits) * sizeof(float);
};

// Blocks that a multiprocessor must have room for: SplitsFor makes up to 8/3 for each. Where registers leave room for two, a
// token of Llama-2-7B's shape takes 6.8 ms in bfloat16 on an H100, for three 5.4.
constexpr int kBlocksAtOnce = 3;

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

// The sums of a lane's own columns over its rows of the kernel.
template <class S>
using LaneSums = float[S::kRows][S::kOwn];

// Returns how many inputs the block kept.
template <class S, class Source>
__device__ __forceinline__ int SumRows(Source& source, const Columns& columns, const Cut& cut, int tile, int split,
                                       unsigned char* memory, LaneSums<S>& sum) {
  auto& list = *reinterpret_cast<List<S::kRows>*>(memory);
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
  int kept = 0;
  for (int first = 0; first < cut.inputs; first += cut.slice * cut.splits) {
    const int count = ListKeptRows<S::kRows>(source, cut, first, split, list);
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
  return kept;
}

// Adds up what the groups of lanes have, and calls put(i, sum) for the i-th sum of the tile.
template <class S, class F>
__device__ __forceinline__ void AddGroups(const LaneSums<S>& sum, unsigned char* memory, const F& put) {
  auto* const group_sums = reinterpret_cast<float*>(memory);  // [kGroups, kRows, kTile]
  const int group = threadIdx.x / S::kLanes, lane = threadIdx.x % S::kLanes;
#pragma unroll
  for (int r = 0; r < S::kRows; r++) {
#pragma unroll
    for (int i = 0; i < S::kOwn; i++) {
      // Neighbouring lanes in neighbouring banks.
      group_sums[(group * S::kRows + r) * S::kTile + i * S::kLanes + lane] = sum[r][i];
    }
  }
  __syncthreads();
  for (int i = threadIdx.x; i < S::kSums; i += kThreads) {
    float total = 0.0f;
#pragma unroll
    for (int g = 0; g < S::kGroups; g++) total += group_sums[g * S::kSums + i];
    put(i, total);
  }
}

// Computes the `split`-th share of a tile, and with clusters adds the shares up. Calls finish(row, column, sum) for the tile's
// sums, or without clusters for those of this share, to be added up later; columns may lie beyond the last. Returns how many
// inputs the share kept.
template <class S, bool kCluster, class Source, class F>
__device__ __forceinline__ int MultiplyTile(Source& source, const Columns& columns, const Cut& cut, int tile, int split,
                                            unsigned char* memory, const F& finish) {
  const auto finish_at = [&](int i, float sum) {
    finish(i / S::kTile, ColumnAt<S>(tile, i % S::kTile / S::kLanes, i % S::kLanes), sum);
  };
  LaneSums<S> sum = {};
  if constexpr (!kCluster) {
    const int kept = SumRows<S>(source, columns, cut, tile, split, memory, sum);
    LetNextKernelStart();
    AddGroups<S>(sum, memory, finish_at);
    return kept;
  } else {
#if __CUDA_ARCH__ >= 900
    cooperative_groups::cluster_group cluster = cooperative_groups::this_cluster();
    cluster.barrier_arrive();
    const int kept = SumRows<S>(source, columns, cut, tile, split, memory, sum);
    LetNextKernelStart();
    // Each block finishes some of the sums, to which the others send their shares: by then all must have begun, and who
    // is sent to reads its own memory alone, so that none has to wait for another to end.
    auto* const inbox = reinterpret_cast<float*>(memory + S::kWorkBytes);  // [splits, own]
    const int own = (S::kSums + cut.splits - 1) / cut.splits;
    cluster.barrier_wait();
    AddGroups<S>(sum, memory, [&](int i, float total) {
      *cluster.map_shared_rank(inbox + split * own + i % own, i / own) = total;
    });
    cluster.sync();
    for (int i = threadIdx.x; i < own && split * own + i < S::kSums; i += kThreads) {
      float total = 0.0f;
      for (int s = 0; s < cut.splits; s++) total += inbox[s * own + i];
      finish_at(split * own + i, total);
    }
    return kept;
#else
    return 0;
#endif
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
