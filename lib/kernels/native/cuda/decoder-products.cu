// What a product is cut into is in tile.cuh. A tile belongs to one Dense layer.
#include "decoder-products.h"

#include <cuda_runtime.h>

#include "block-sum.cuh"
#include "gate.cuh"
#include "tile.cuh"

namespace sparsify::cuda {
namespace {

constexpr int kTileColumns = 128;  // of aligned kernels, the most

struct Part {
  Columns columns;
  const float* bias;
  const float* threshold;
  unsigned long long* kept;
  float* y;
  int first_tile;
  int first_unit;  // in the partial sums
};

struct Args {
  Row row;
  Cut cut;
  Part parts[kMaxProducts];
  int part_count;
  bool add;
  int units;       // of all parts
  float* partial;  // [splits, units], or null with clusters
};

struct RowSource {
  struct Loaded {
    float x, other;
  };
  const Row& row;
  const int inputs;
  const float threshold;
  float scale;  // kNormed
  __device__ __forceinline__ int Rows() const { return 1; }
  __device__ __forceinline__ float Threshold(int) const { return threshold; }
  __device__ __forceinline__ Loaded Load(int, int k) const {
    return {row.x[k], row.kind == RowKind::kPlain ? 0.0f : row.other[k]};
  }
  __device__ __forceinline__ void Ready(float* memory) {
    if (row.kind != RowKind::kNormed) return;
    const float squares = BlockSquares<kThreads>(row.x, inputs, memory);
    scale = 1.0f / sqrtf(squares / static_cast<float>(inputs) + row.epsilon);
  }
  __device__ __forceinline__ float Value(const Loaded& loaded) const {
    switch (row.kind) {
      case RowKind::kNormed:
        return loaded.x * scale * loaded.other;
      case RowKind::kGated:
        return ActivateGate(row.activation, loaded.x) * loaded.other;
      default:
        return loaded.x;
    }
  }
};

__device__ __forceinline__ void Finish(const Args& args, const Part& part, int64_t column, float sum) {
  const float* const scale = part.columns.kernel.scale;
  if (scale != nullptr) sum *= scale[column];
  if (part.bias != nullptr) sum += part.bias[column];
  part.y[column] = args.add ? part.y[column] + sum : sum;
}

template <class S, bool kCluster>
__device__ __forceinline__ void Multiply(const Args& args) {
  extern __shared__ __align__(16) unsigned char memory[];
  const Cut& cut = args.cut;
  const int tile = static_cast<int>(blockIdx.x) / cut.splits, split = static_cast<int>(blockIdx.x) % cut.splits;
  int at = 0;
  while (at + 1 < args.part_count && tile >= args.parts[at + 1].first_tile) at++;
  const Part& part = args.parts[at];
  const int tile_of_part = tile - part.first_tile;
  // Weights, which the kernel before does not write.
  const int first = tile_of_part * S::kTile, count = min(S::kTile, part.columns.units - first);
  if (args.row.kind == RowKind::kNormed) Prefetch(args.row.other, cut.inputs);
  const float* const scale = part.columns.kernel.scale;
  if (scale != nullptr) Prefetch(scale + first, count);
  if (part.bias != nullptr) Prefetch(part.bias + first, count);
  PrefetchGroups<S>(part.columns, cut, tile_of_part, split);
  WaitForKernelBefore();
  RowSource source{args.row, cut.inputs, *part.threshold, 1.0f};
  const int kept = MultiplyTile<S, kCluster>(
      source, part.columns, cut, tile_of_part, split, memory, [&](int, int64_t column, float sum) {
        if (column >= part.columns.units) return;
        if constexpr (kCluster) {
          Finish(args, part, column, sum);
        } else {
          args.partial[static_cast<int64_t>(split) * args.units + part.first_unit + column] = sum;
        }
      });
  // Every tile lists the same inputs.
  if (tile_of_part == 0 && threadIdx.x == 0) atomicAdd(part.kept, static_cast<unsigned long long>(kept));
}

// Two kernels, since code for older chips must not name clusters: there the first is empty and never launched.
template <class S>
__global__ void __launch_bounds__(kThreads, S::kBlocks) RowClusterKernel(const __grid_constant__ Args args) {
#if __CUDA_ARCH__ >= 900
  Multiply<S, true>(args);
#endif
}
template <class S>
__global__ void __launch_bounds__(kThreads, S::kBlocks) RowPartialKernel(const __grid_constant__ Args args) {
  Multiply<S, false>(args);
}

__global__ void RowFinishKernel(const __grid_constant__ Args args) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= args.units) return;
  int at = 0;
  while (at + 1 < args.part_count && i >= args.parts[at + 1].first_unit) at++;
  float total = 0.0f;
  for (int s = 0; s < args.cut.splits; s++) total += args.partial[static_cast<int64_t>(s) * args.units + i];
  Finish(args, args.parts[at], i - args.parts[at].first_unit, total);
}

// The layers [first, last), which lie alike.
cudaError_t LaunchAlike(const RowProducts& products, int first, int last, const Layout& layout,
                        const DeviceMasking& masking, const Device& device, float* workspace, cudaStream_t stream) {
  return WithShape<1>(layout, [&](auto shape) {
    using S = decltype(shape);
    static_assert(S::kTile <= kTileColumns);
    Args args = {};
    args.row = products.row;
    args.add = products.add;
    int tiles = 0;
    for (int i = first; i < last; i++) {
      const DecoderDense& dense = *products.dense[i];
      const int units = static_cast<int>(dense.units);
      args.parts[args.part_count++] = {{dense.kernel, units},
                                       dense.bias,
                                       masking.thresholds + dense.id,
                                       masking.kept + dense.id,
                                       products.y[i],
                                       tiles,
                                       args.units};
      tiles += (units + S::kTile - 1) / S::kTile;
      args.units += units;
    }
    const int inputs = static_cast<int>(products.dense[first]->inputs);
    const int splits = SplitsFor(tiles, inputs, device);
    args.cut = CutFor<1>(inputs, splits, layout.group_size);
    args.partial = workspace;
    const cudaError_t error =
        LaunchTiles(device.clusters ? &RowClusterKernel<S> : &RowPartialKernel<S>, args, tiles * splits,
                    {device.clusters ? splits : 0, device.clusters}, S::kBytes, stream);
    if (error != cudaSuccess || device.clusters) return error;
    RowFinishKernel<<<static_cast<unsigned>((args.units + 255) / 256), 256, 0, stream>>>(args);
    return cudaGetLastError();
  });
}

}  // namespace

size_t RowWorkspaceBytes(int units, const Device& device) {
  return device.clusters ? 0 : static_cast<size_t>(kMaxSplits) * static_cast<size_t>(units) * sizeof(float);
}

cudaError_t LaunchRowProducts(const RowProducts& products, const DeviceMasking& masking, const Device& device,
                              float* workspace, cudaStream_t stream) {
  for (int first = 0, last; first < products.count; first = last) {
    const Layout layout = LayoutOf(products.dense[first]->kernel);
    for (last = first + 1; last < products.count; last++) {
      if (!(LayoutOf(products.dense[last]->kernel) == layout)) break;
    }
    const cudaError_t error = LaunchAlike(products, first, last, layout, masking, device, workspace, stream);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace sparsify::cuda
