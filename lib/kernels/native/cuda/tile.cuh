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

// Asks for what will be read later to be in the L2 cache by then.
__device__ __forceinline__ void Prefetch(const void* at) { asm volatile("prefetch.global.L2 [%0];" ::"l"(at)); }
__device__ __forceinline__ void Prefetch(const float* from, int64_t count) {
  constexpr int kLine = 32;  // numbers of a cache line
  for (int64_t i = static_cast<int64_t>(threadIdx.x) * kLine; i < count; i += kThreads * kLine) Prefetch(from + i);
}

// The columns of a kernel, as they are stored.
struct Columns {
  StoredKernel kernel;  // [inputs, stride]
  int units;
};

// Blocks that a multiprocessor must have room for: SplitsFor makes up to 8/3 for each. Where registers leave room for two, a
// token of Llama-2-7B's shape takes 6.8 ms in bfloat16 on an H100, for three 5.4.
constexpr int kBlocksAtOnce = 3;

// How a block reads: each warp takes a stretch of the kept rows, its groups of kLanes lanes take these in turns, kUnroll of them at
// a time; a lane has kColumns columns of a row.
template <class W, int kRows_, int kColumns_, int kLanes_, int kUnroll_, int kBlocks_ = kBlocksAtOnce>
struct Shape {
  using Weights = W;
  static constexpr int kRows = kRows_, kColumns = kColumns_, kLanes = kLanes_, kUnroll = kUnroll_, kBlocks = kBlocks_;
  static constexpr int kWords = kColumns / W::kPerWord;
  static constexpr int kTile = kLanes * kColumns;
  static constexpr int kGroups = kThreads / kLanes, kGroupsOfWarp = 32 / kLanes;
  static constexpr int kPass = kUnroll * kGroupsOfWarp;  // rows that a warp asks for at a time
  static constexpr int kSums = kRows * kTile;  // of a tile
  static constexpr size_t kGroupBytes = kGroups * kSums * sizeof(float);
  static constexpr size_t kWorkBytes = kGroupBytes > sizeof(List<kRows>) ? kGroupBytes : sizeof(List<kRows>);
  // The list, and in its place later the sums of the groups; then what a cluster's blocks send each other.
  static constexpr size_t kBytes = kWorkBytes + (kSums + kMaxSplits) * sizeof(float);
};

// The column that is i-th of a lane's, in a tile.
template <class S>
__device__ __forceinline__ int ColumnAt(int i, int lane) {
  if constexpr (S::Weights::kGrouped) {
    constexpr int kBytes = S::kColumns / 2;
    return lane * kBytes / 8 * 16 + lane * kBytes % 8 + i / kBytes * 8 + i % kBytes;
  } else {
    return lane * S::kColumns + i;
  }
}

// A lane's columns of a kernel. Lanes beyond the last column read the first ones and drop the result: no branch around the loads.
template <class S, bool kGrouped = S::Weights::kGrouped>
class LaneKernel {
 public:
  using Weights = typename S::Weights;
  using Vector = typename Words<S::kWords>::Type;
  struct Group {};  // of INT4

  __device__ __forceinline__ LaneKernel(const Columns& columns, int tile, int lane) {
    const int first = tile * S::kTile + lane * S::kColumns;
    const StoredKernel& kernel = columns.kernel;
    row_bytes_ = static_cast<unsigned>(kernel.stride) * 4 / Weights::kPerWord;
    data_ = static_cast<const unsigned char*>(kernel.data) + (first < columns.units ? first : 0) * 4 / Weights::kPerWord;
    if constexpr (Weights::kPerWord == 4) {
#pragma unroll
      for (int i = 0; i < S::kColumns; i++) {
        zero_[i] = kernel.zero_point != nullptr && first + i < columns.units ? kernel.zero_point[first + i] : 0.0f;
      }
    }
  }
  __device__ __forceinline__ Vector Load(unsigned row) const {
    return LoadStream(reinterpret_cast<const Vector*>(data_ + static_cast<uint64_t>(row) * row_bytes_));
  }
  __device__ __forceinline__ void Unpack(const Group&, const Vector& loaded, float (&w)[S::kColumns]) const {
    uint32_t words[S::kWords];
    Split(loaded, words);
#pragma unroll
    for (int i = 0; i < S::kWords; i++) Weights::Unpack(words[i], w + i * Weights::kPerWord);
    if constexpr (Weights::kPerWord == 4) {
#pragma unroll
      for (int c = 0; c < S::kColumns; c++) w[c] -= zero_[c];
    }
  }

 private:
  const unsigned char* data_;
  unsigned row_bytes_;
  float zero_[S::kColumns];
};

// Of INT4.
template <class S>
class LaneKernel<S, true> {
 public:
  using Vector = typename Words<S::kWords>::Type;

  // The group of rows whose numbers are in registers; at first none.
  class Group {
   public:
    __device__ __forceinline__ bool Has(unsigned row) const { return row - first_ < size_; }
    __device__ __forceinline__ bool EndsBefore(unsigned row) const { return row >= first_ + size_; }

   private:
    friend LaneKernel;
    unsigned first_ = 0, size_ = 0;
    typename S::Weights::template Group<S::kWords> numbers_;
  };

  __device__ __forceinline__ LaneKernel(const Columns& columns, int tile, int lane) : kernel_(columns.kernel) {
    const int first = tile * S::kTile + ColumnAt<S>(0, lane);
    column_ = first < columns.units ? first : 0;
    row_bytes_ = static_cast<unsigned>(kernel_.stride);
    data_ = static_cast<const unsigned char*>(kernel_.data) + ByteOf(column_);
  }
  __device__ __forceinline__ Vector Load(unsigned row) const {
    return LoadStream(reinterpret_cast<const Vector*>(data_ + static_cast<uint64_t>(row) * row_bytes_));
  }
  // Reads the numbers of a row's group.
  __device__ __forceinline__ void Select(unsigned row, Group& group) const {
    const Int4Groups& groups = kernel_.groups;
    group.size_ = static_cast<unsigned>(groups.size);
    const unsigned at = row / group.size_;
    group.first_ = at * group.size_;
    const uint64_t half = static_cast<uint64_t>(at) * static_cast<unsigned>(groups.stride) + static_cast<unsigned>(column_);
    uint32_t scales[4 * S::kWords];
    LoadHalves(groups.scale + half, scales);
    if constexpr (S::Weights::kHasMinimum) {
      uint32_t minimums[4 * S::kWords];
      LoadHalves(groups.minimum + half, minimums);
      group.numbers_.Set(scales, minimums);
    } else {
      constexpr uint32_t kEights = 0x88888888u;  // the zero point of a symmetric kernel
      uint32_t zeros[S::kWords];
#pragma unroll
      for (uint32_t& zero : zeros) zero = kEights;
      if (groups.zero_point != nullptr) {
        const uint8_t* const zero_point = groups.zero_point + static_cast<uint64_t>(at) * row_bytes_ + ByteOf(column_);
        Split(__ldg(reinterpret_cast<const Vector*>(zero_point)), zeros);
      }
      group.numbers_.Set(scales, zeros);
    }
  }
  __device__ __forceinline__ void Unpack(const Group& group, const Vector& loaded, float (&w)[S::kColumns]) const {
    uint32_t words[S::kWords];
    Split(loaded, words);
    group.numbers_.Unpack(words, w);
  }

 private:
  // Of a column in the lower halves of bytes.
  static __device__ __forceinline__ int ByteOf(int column) { return column / 16 * 8 + column % 16; }
  // The numbers of the lane's columns. Rows of them may end with a block's lower halves: they are padded to 8 numbers.
  __device__ __forceinline__ void LoadHalves(const Float16Bits* at, uint32_t (&pairs)[4 * S::kWords]) const {
    using Half = typename Words<2 * S::kWords>::Type;
    uint32_t lower[2 * S::kWords], upper[2 * S::kWords] = {};
    Split(__ldg(reinterpret_cast<const Half*>(at)), lower);
    if (column_ + 8 < static_cast<int>(kernel_.groups.stride)) Split(__ldg(reinterpret_cast<const Half*>(at + 8)), upper);
    PairHalves<S::kWords>(lower, upper, pairs);
  }

  const StoredKernel& kernel_;
  int column_;
  unsigned row_bytes_;
  const unsigned char* data_;
};

// The sums of a lane's own columns over its rows of the kernel.
template <class S>
using LaneSums = float[S::kRows][S::kColumns];

// Adds x * (row of the kernel), of an entry of the list.
template <class S>
__device__ __forceinline__ void AddRow(const LaneKernel<S>& kernel, const typename LaneKernel<S>::Group& group,
                                       const typename LaneKernel<S>::Vector& loaded, const List<S::kRows>& list, int at,
                                       LaneSums<S>& sum) {
  float w[S::kColumns];
  kernel.Unpack(group, loaded, w);
#pragma unroll
  for (int r = 0; r < S::kRows; r++) {
    const float x = list.x[at][r];
    // A row that masks the input leaves it out: 0 times an Inf or NaN of the kernel would be NaN.
    if (S::kRows == 1 || (list.entry[at] >> (24 + r) & 1) != 0) {
#pragma unroll
      for (int c = 0; c < S::kColumns; c++) sum[r][c] = fmaf(x, w[c], sum[r][c]);
    }
  }
}

// Adds kUnroll entries of the list, kGroupsOfWarp apart, or those of them that lie before `end`: all rows are asked for before the
// first is multiplied.
template <class S, bool kAll>
__device__ __forceinline__ void AddRows(const LaneKernel<S>& kernel, typename LaneKernel<S>::Group& group,
                                        const List<S::kRows>& list, int at, int end, LaneSums<S>& sum) {
  typename LaneKernel<S>::Vector loaded[S::kUnroll];
  const auto row = [&](int i) { return list.entry[i] & kIndexMask; };
#pragma unroll
  for (int u = 0; u < S::kUnroll; u++) {
    const int i = at + u * S::kGroupsOfWarp;
    if (kAll || i < end) loaded[u] = kernel.Load(row(i));
  }
  if constexpr (!S::Weights::kGrouped) {
#pragma unroll
    for (int u = 0; u < S::kUnroll; u++) {
      const int i = at + u * S::kGroupsOfWarp;
      if (kAll || i < end) AddRow<S>(kernel, group, loaded[u], list, i, sum);
    }
  } else {
    asm volatile("" ::: "memory");  // rows are read from the list again: to keep them takes registers
    // One group after the other that these rows are of, mostly one or two; rows ascend.
    for (unsigned next = row(at);;) {
      if (!group.Has(next)) kernel.Select(next, group);
      bool more = false;
#pragma unroll
      for (int u = 0; u < S::kUnroll; u++) {
        const int i = at + u * S::kGroupsOfWarp;
        if (!kAll && i >= end) continue;
        const unsigned own = row(i);
        if (group.Has(own)) AddRow<S>(kernel, group, loaded[u], list, i, sum);
        if (!more && group.EndsBefore(own)) next = own, more = true;
      }
      if (!more) break;
    }
  }
}

// Asks for the scales and zero points or minimums of the first inputs that a block will read.
template <class S>
__device__ __forceinline__ void PrefetchGroups(const Columns& columns, const Cut& cut, int tile, int split) {
  if constexpr (S::Weights::kGrouped) {
    constexpr int kLine = 64;  // float16 numbers of a cache line
    constexpr int kLines = (S::kTile + kLine - 1) / kLine;
    const StoredKernel& kernel = columns.kernel;
    const Int4Groups& groups = kernel.groups;
    const int first = split * cut.slice, end = min(first + cut.slice, cut.inputs), size = static_cast<int>(groups.size);
    if (first >= end) return;
    const int from = first / size, lines = ((end - 1) / size + 1 - from) * kLines;
    for (int i = threadIdx.x; i < lines; i += kThreads) {
      const int64_t group = from + i / kLines;
      const int column = tile * S::kTile + i % kLines * kLine;
      if (column >= columns.units) continue;
      const int64_t half = group * static_cast<int64_t>(groups.stride) + column;
      Prefetch(groups.scale + half);
      if (groups.minimum != nullptr) Prefetch(groups.minimum + half);
      if (groups.zero_point != nullptr) Prefetch(groups.zero_point + group * static_cast<int64_t>(kernel.stride) + column / 2);
    }
  }
}

// Returns how many inputs the block kept.
template <class S, class Source>
__device__ __forceinline__ int SumRows(Source& source, const Columns& columns, const Cut& cut, int tile, int split,
                                       unsigned char* memory, LaneSums<S>& sum) {
  auto& list = *reinterpret_cast<List<S::kRows>*>(memory);
  const int warp = threadIdx.x / 32, turn = threadIdx.x % 32 / S::kLanes, lane = threadIdx.x % S::kLanes;
  LaneKernel<S> kernel(columns, tile, lane);
  int kept = 0;
  for (int first = 0; first < cut.inputs; first += cut.slice * cut.splits) {
    const int count = ListKeptRows<S::kRows, S::Weights::kGrouped>(source, cut, first, split, list);
    kept += count;
    const int share = (count + kWarps - 1) / kWarps, end = min(count, (warp + 1) * share);
    int at = warp * share + turn;
    typename LaneKernel<S>::Group group;
    for (; at - turn + S::kPass <= end; at += S::kPass) AddRows<S, true>(kernel, group, list, at, end, sum);
    if (at < end) AddRows<S, false>(kernel, group, list, at, end, sum);
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
    for (int i = 0; i < S::kColumns; i++) {
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
    const int column = ColumnAt<S>(i % S::kTile / S::kLanes, i % S::kLanes);
    finish(i / S::kTile, static_cast<int64_t>(tile) * S::kTile + column, sum);
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

// How a kernel lies: what decides which code reads it, and how inputs are divided.
struct Layout {
  Storage storage;
  bool aligned;       // rows can be read 16 bytes at a time
  bool has_minimum;   // of INT4
  size_t group_size;  // of INT4
  bool operator==(const Layout& other) const {
    return storage == other.storage && aligned == other.aligned && has_minimum == other.has_minimum &&
           group_size == other.group_size;
  }
};
inline Layout LayoutOf(const StoredKernel& kernel) {
  const bool aligned = kernel.stride % 4 == 0 && reinterpret_cast<uintptr_t>(kernel.data) % 16 == 0;
  return {kernel.storage, !kernel.is_float() || aligned, kernel.groups.minimum != nullptr, kernel.groups.size};
}

// Words of 8 columns are the least that a lane reads of INT4: the sums of 8 rows of x leave room for two blocks. More columns a
// lane need registers for their scales, which minimums take twice as many of.
template <class W, int kRows>
constexpr bool kHasTwoWords = kRows == 1 && !W::kHasMinimum;
template <class W, int kRows>
using Int4Shape = Shape<W, kRows, kHasTwoWords<W, kRows> ? 16 : 8, kHasTwoWords<W, kRows> ? 8 : 16, kRows <= 2 ? 8 : 4,
                        kRows <= 4 ? kBlocksAtOnce : 2>;

// Calls visit(Shape) with how a block reads for up to kRows rows: tiles of 128 columns where they fit in registers, loads
// of 16 bytes where rows of the kernel allow them.
template <int kRows, class F>
auto WithShape(const Layout& layout, F&& visit) {
  switch (layout.storage) {
    case Storage::kBfloat16:
      return visit(Shape<Bfloat16, kRows, kRows <= 2 ? 8 : 4, kRows <= 2 ? 16 : 32, 4>());
    case Storage::kInt8:
      return visit(Shape<Int8, kRows, kRows <= 2 ? 8 : 4, kRows <= 2 ? 16 : 32, kRows <= 2 ? 8 : 4>());
    case Storage::kInt4:
      return layout.has_minimum ? visit(Int4Shape<Int4Minimum, kRows>()) : visit(Int4Shape<Int4, kRows>());
    default:
      return layout.aligned ? visit(Shape<Float32, kRows, 4, 32, 4>()) : visit(Shape<Float32, kRows, 1, 32, 8>());
  }
}

// Blocks that share a tile. Two to three blocks a multiprocessor keep enough loads under way; more only list the same inputs
// more often. On an H100, 4096 x 14336 at sparsity 0: 82 us with 224 blocks, 89 with 448; 4096 x 11008: 64 with 344, 66 with
// 172, 76 with 688.
inline int SplitsFor(int tiles, int inputs, const Device& device) {
  const int splits = std::min(kMaxSplits, device.multiprocessors * 8 / 3 / std::max(tiles, 1));
  return std::max(1, std::min(splits, inputs / 32));
}

// `group_size` is that of INT4, else 0.
template <int kRows>
Cut CutFor(int inputs, int splits, size_t group_size) {
  if (group_size != 0) {
    // Rounds of the same size, of whole groups of up to 64 inputs where these divide it.
    const int own = (inputs + splits - 1) / splits, most = kListedOfStretch<kRows>, rounds = (own + most - 1) / most;
    return {inputs, splits, ((own + rounds - 1) / rounds + 63) / 64 * 64};
  }
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
