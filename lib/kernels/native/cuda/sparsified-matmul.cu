// `splits` blocks share a tile of columns, each with a part of the inputs: it lists the kept ones in shared memory, streams
// their rows of the kernel with wide loads, and adds its groups of lanes up. The parts of a tile are added up in a fixed
// order: through the shared memory of the blocks' cluster, or through device memory and a second launch.
#include "sparsified-matmul.h"

#include <cooperative_groups.h>

#include <algorithm>

#include "activation.cuh"
#include "weights.cuh"

namespace sparsify::cuda {
namespace {

namespace cg = cooperative_groups;

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

struct Args {
  MatMul call;
  int splits;
  int slice;       // inputs of a block in one round, a multiple of 32
  float* partial;  // [splits, rows, units], or null with clusters
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

// Fills the list and returns its length. Ends with a barrier.
template <int kRows>
__device__ __forceinline__ int Compact(const Args& args, int first, int split, List<kRows>& list) {
  const MatMul& call = args.call;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int groups = args.slice / 32;
  constexpr int kCount = kListedByThread<kRows>;
  float x[kCount][kRows], threshold[kCount];
#pragma unroll
  for (int j = 0; j < kCount; j++) {
    const int i = j * kThreads + static_cast<int>(threadIdx.x), k = InputAt(i, first, split, args.splits);
    const bool inside = i < args.slice && k < call.inputs;
    threshold[j] = inside ? call.threshold[call.threshold_per_input ? k : 0] : 0.0f;
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      // 0 beyond the end, under a threshold of 0: masked.
      x[j][r] = inside && r < call.rows ? call.x[static_cast<int64_t>(r) * call.inputs + k] : 0.0f;
    }
  }
  unsigned kept[kCount];
#pragma unroll
  for (int j = 0; j < kCount; j++) {
    const int i = j * kThreads + static_cast<int>(threadIdx.x);
    kept[j] = 0;
    const bool inside = i < args.slice && InputAt(i, first, split, args.splits) < call.inputs;
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      if (inside && r < call.rows && !(fabsf(x[j][r]) <= threshold[j])) kept[j] |= 1u << r;
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
    list.entry[at] = static_cast<unsigned>(InputAt(i, first, split, args.splits)) | kept[j] << 24;
#pragma unroll
    for (int r = 0; r < kRows; r++) list.x[at][r] = x[j][r];
  }
  __syncthreads();
  return total;
}

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
__device__ __forceinline__ void AddRows(const MatMul& call, const List<S::kRows>& list, int at,
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
    const int64_t bytes = static_cast<int64_t>(entry[u] & kIndexMask) * (call.stride * 4 / Weights::kPerWord);
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

__device__ __forceinline__ void Finish(const MatMul& call, int row, int64_t column, float sum) {
  if (call.scale != nullptr) sum *= call.scale[column];
  if (call.bias != nullptr) sum += call.bias[column];
  call.y[row * static_cast<int64_t>(call.units) + column] = Activate(call.activation, sum);
}

template <class S, bool kCluster>
__device__ __forceinline__ void MultiplyTile(const Args& args) {
  extern __shared__ __align__(16) unsigned char memory[];
  auto& list = *reinterpret_cast<List<S::kRows>*>(memory);
  auto* const group_sums = reinterpret_cast<float*>(memory);       // [kGroups, kRows, kTile]
  auto* const block_sums = group_sums + S::kGroups * S::kRows * S::kTile;  // [kRows, kTile]

  const MatMul& call = args.call;
  const int tile = static_cast<int>(blockIdx.x) / args.splits, split = static_cast<int>(blockIdx.x) % args.splits;
  const int group = threadIdx.x / S::kLanes, lane = threadIdx.x % S::kLanes;
  // The i-th of a lane's columns.
  const auto column_of = [&](int i, int of_lane) {
    const int vector = i / S::kColumns;
    return static_cast<int64_t>(tile) * S::kTile + (vector * S::kLanes + of_lane) * S::kColumns + i % S::kColumns;
  };
  const unsigned char* kernel[S::kVectors];
#pragma unroll
  for (int v = 0; v < S::kVectors; v++) {
    const int64_t column = column_of(v * S::kColumns, lane);
    // Lanes beyond the last column read the first one and drop the result: no branch around the loads.
    kernel[v] = static_cast<const unsigned char*>(call.kernel) +
                (column < call.units ? column : 0) * 4 / S::Weights::kPerWord;
  }
  float offset[S::kOwn];
#pragma unroll
  for (int i = 0; i < S::kOwn; i++) {
    const int64_t column = column_of(i, lane);
    offset[i] = call.zero_point != nullptr && column < call.units ? call.zero_point[column] : 0.0f;
  }
  float sum[S::kRows][S::kOwn] = {};
  for (int first = 0; first < call.inputs; first += args.slice * args.splits) {
    const int count = Compact<S::kRows>(args, first, split, list);
    int at = group * S::kUnroll;
    for (; at + S::kUnroll <= count; at += S::kGroups * S::kUnroll) {
      AddRows<S, S::kUnroll>(call, list, at, kernel, offset, sum);
    }
    for (const int end = min(at + S::kUnroll, count); at < end; at++) {
      AddRows<S, 1>(call, list, at, kernel, offset, sum);
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
    block_sums[i] = total;
  }
  if constexpr (kCluster) {
#if __CUDA_ARCH__ >= 900
    cg::cluster_group cluster = cg::this_cluster();
    cluster.sync();
    for (int i = split * kThreads + static_cast<int>(threadIdx.x); i < S::kRows * S::kTile;
         i += args.splits * kThreads) {
      float total = 0.0f;
      for (int s = 0; s < args.splits; s++) total += *cluster.map_shared_rank(block_sums + i, s);
      const int row = i / S::kTile;
      const int64_t column = column_of(i % S::kTile / S::kLanes, i % S::kLanes);
      if (row < call.rows && column < call.units) Finish(call, row, column, total);
    }
    cluster.sync();  // a block's memory must outlive what the others read of it
#endif
  } else {
    __syncthreads();
    for (int i = threadIdx.x; i < S::kRows * S::kTile; i += kThreads) {
      const int row = i / S::kTile;
      const int64_t column = column_of(i % S::kTile / S::kLanes, i % S::kLanes);
      if (row >= call.rows || column >= call.units) continue;
      args.partial[(static_cast<int64_t>(split) * call.rows + row) * call.units + column] = block_sums[i];
    }
  }
}

// Two kernels, since code for older chips must not name clusters: there the first is empty and never launched.
template <class S>
__global__ void __launch_bounds__(kThreads) ClusterKernel(const __grid_constant__ Args args) {
#if __CUDA_ARCH__ >= 900
  MultiplyTile<S, true>(args);
#endif
}
template <class S>
__global__ void __launch_bounds__(kThreads) PartialKernel(const __grid_constant__ Args args) {
  MultiplyTile<S, false>(args);
}

__global__ void FinishKernel(const __grid_constant__ Args args) {
  const MatMul& call = args.call;
  const int64_t size = static_cast<int64_t>(call.rows) * call.units;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= size) return;
  float total = 0.0f;
  for (int s = 0; s < args.splits; s++) total += args.partial[s * size + i];
  Finish(call, static_cast<int>(i / call.units), i % call.units, total);
}

__global__ void MaskKernel(const float* x, int64_t size, int64_t inputs, const float* threshold, bool per_input,
                           float* y) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += step) {
    y[i] = fabsf(x[i]) <= threshold[per_input ? i % inputs : 0] ? 0.0f : x[i];
  }
}

__global__ void BiasActivationKernel(const float* x, int64_t size, int64_t units, const float* bias,
                                     Activation activation, float* y) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < size; i += step) {
    y[i] = Activate(activation, bias == nullptr ? x[i] : x[i] + bias[i % units]);
  }
}

template <class S>
cudaError_t LaunchShape(const Args& args, const Plan& plan, cudaStream_t stream) {
  const auto kernel = plan.cluster ? &ClusterKernel<S> : &PartialKernel<S>;
  if constexpr (S::kBytes > 48 * 1024) {
    const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize, S::kBytes);
    if (error != cudaSuccess) return error;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(plan.tiles * args.splits));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = S::kBytes;
  config.stream = stream;
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = static_cast<unsigned>(args.splits);
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  config.attrs = &attribute;
  config.numAttrs = plan.cluster ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, args);
}

// Calls visit(Shape) with how a block reads for this call: tiles of 128 columns where they fit in registers, loads of 16
// bytes where rows of the kernel allow them.
template <int kRows, class F>
auto WithShape(const MatMul& call, F&& visit) {
  switch (call.storage) {
    case Storage::kBfloat16:
      return visit(Shape<Bfloat16, kRows, kRows <= 2 ? 8 : 4, 1, kRows <= 2 ? 16 : 32, 4>());
    case Storage::kInt8:
      return visit(Shape<Int8, kRows, kRows <= 2 ? 8 : 4, 1, kRows <= 2 ? 16 : 32, kRows <= 2 ? 8 : 4>());
    default: {
      const bool aligned = call.stride % 4 == 0 && reinterpret_cast<uintptr_t>(call.kernel) % 16 == 0;
      return aligned ? visit(Shape<Float32, kRows, 4, 1, 32, 4>()) : visit(Shape<Float32, kRows, 1, 1, 32, 8>());
    }
  }
}

// The same for its number of rows too: kernels are compiled for 1, 2, 4 and 8.
template <class F>
auto WithShape(const MatMul& call, F&& visit) {
  if (call.rows <= 1) return WithShape<1>(call, visit);
  if (call.rows <= 2) return WithShape<2>(call, visit);
  if (call.rows <= 4) return WithShape<4>(call, visit);
  return WithShape<8>(call, visit);
}

template <int kRows>
int SliceOf(const MatMul& call, int splits) {
  const int turn = kTurn * splits;
  const int needed = (call.inputs + turn - 1) / turn * kTurn;
  const int rounded = (needed + 31) / 32 * 32;
  return rounded < kListed<kRows> ? rounded : kListed<kRows>;
}

unsigned GridFor(int64_t size) {
  const int64_t blocks = (size + 1023) / 1024;
  return static_cast<unsigned>(blocks < 4096 ? blocks : 4096);
}

}  // namespace

cudaError_t CurrentDevice(Device* device) {
  int id = 0, clusters = 0;
  cudaError_t error = cudaGetDevice(&id);
  if (error == cudaSuccess) error = cudaDeviceGetAttribute(&clusters, cudaDevAttrClusterLaunch, id);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&device->multiprocessors, cudaDevAttrMultiProcessorCount, id);
  }
  // Code that the driver has compiled from PTX for an older chip has no clusters in it.
  cudaFuncAttributes code = {};
  if (error == cudaSuccess) error = cudaFuncGetAttributes(&code, ClusterKernel<Shape<Float32, 1, 4, 1, 32, 4>>);
  device->clusters = clusters != 0 && code.ptxVersion >= 90;
  return error;
}

Plan PlanFor(const MatMul& call, const Device& device) {
  Plan plan = {};
  plan.cluster = device.clusters;
  const int tile = WithShape(call, [](auto shape) { return decltype(shape)::kTile; });
  plan.tiles = static_cast<int>((static_cast<int64_t>(call.units) + tile - 1) / tile);
  // Two to three blocks a multiprocessor keep enough loads under way; more only list the same inputs more often. On an
  // H100, 4096 x 14336 at sparsity 0: 82 us with 224 blocks, 89 with 448; 4096 x 11008: 64 with 344, 66 with 172, 76 with
  // 688.
  plan.splits = std::min(kMaxSplits, device.multiprocessors * 8 / 3 / std::max(plan.tiles, 1));
  plan.splits = std::max(1, std::min(plan.splits, call.inputs / 32));
  if (!plan.cluster) {
    plan.workspace_bytes =
        static_cast<size_t>(plan.splits) * static_cast<size_t>(call.rows) * static_cast<size_t>(call.units) * 4;
  }
  return plan;
}

cudaError_t Launch(const MatMul& call, const Plan& plan, void* workspace, cudaStream_t stream) {
  if (call.units == 0) return cudaSuccess;
  Args args = {call, plan.splits, 0, static_cast<float*>(workspace)};
  const cudaError_t error = WithShape(call, [&](auto shape) {
    using S = decltype(shape);
    args.slice = SliceOf<S::kRows>(call, plan.splits);
    return LaunchShape<S>(args, plan, stream);
  });
  if (error != cudaSuccess || plan.cluster) return error;
  const int64_t size = static_cast<int64_t>(call.rows) * call.units;
  FinishKernel<<<static_cast<unsigned>((size + 255) / 256), 256, 0, stream>>>(args);
  return cudaGetLastError();
}

cudaError_t LaunchMask(const float* x, int64_t rows, int64_t inputs, const float* threshold, bool per_input, float* y,
                       cudaStream_t stream) {
  if (rows * inputs == 0) return cudaSuccess;
  MaskKernel<<<GridFor(rows * inputs), 256, 0, stream>>>(x, rows * inputs, inputs, threshold, per_input, y);
  return cudaGetLastError();
}

cudaError_t LaunchBiasActivation(const float* x, int64_t rows, int64_t units, const float* bias, Activation activation,
                                 float* y, cudaStream_t stream) {
  if (rows * units == 0) return cudaSuccess;
  BiasActivationKernel<<<GridFor(rows * units), 256, 0, stream>>>(x, rows * units, units, bias, activation, y);
  return cudaGetLastError();
}

}  // namespace sparsify::cuda
