// What a call is cut into is in tile.cuh.
#include "sparsified-matmul.h"

#include <cuda_runtime.h>

#include "activation.cuh"
#include "tile.cuh"

namespace sparsify::cuda {
namespace {

struct Args {
  MatMul call;
  Cut cut;
  float* partial;  // [splits, rows, units], or null with clusters
};

// The rows of x and their thresholds.
struct CallSource {
  using Loaded = float;
  const MatMul& call;
  __device__ __forceinline__ int Rows() const { return call.rows; }
  __device__ __forceinline__ float Load(int row, int input) const {
    return call.x[static_cast<int64_t>(row) * call.inputs + input];
  }
  __device__ __forceinline__ void Ready(float*) const {}
  __device__ __forceinline__ float Value(float loaded) const { return loaded; }
  __device__ __forceinline__ float Threshold(int input) const {
    return call.threshold[call.threshold_per_input ? input : 0];
  }
};

__device__ __forceinline__ void Finish(const MatMul& call, int row, int64_t column, float sum) {
  if (call.kernel.scale != nullptr) sum *= call.kernel.scale[column];
  if (call.bias != nullptr) sum += call.bias[column];
  call.y[row * static_cast<int64_t>(call.units) + column] = Activate(call.activation, sum);
}

template <class S, bool kCluster>
__device__ __forceinline__ void Multiply(const Args& args) {
  extern __shared__ __align__(16) unsigned char memory[];
  const MatMul& call = args.call;
  const Cut& cut = args.cut;
  const int tile = static_cast<int>(blockIdx.x) / cut.splits, split = static_cast<int>(blockIdx.x) % cut.splits;
  CallSource source{call};
  const Columns columns = {call.kernel, call.units};
  PrefetchGroups<S>(columns, cut, tile, split);
  MultiplyTile<S, kCluster>(source, columns, cut, tile, split, memory, [&](int row, int64_t column, float sum) {
    if (row >= call.rows || column >= call.units) return;
    if constexpr (kCluster) {
      Finish(call, row, column, sum);
    } else {
      args.partial[(static_cast<int64_t>(split) * call.rows + row) * call.units + column] = sum;
    }
  });
}

// Two kernels, since code for older chips must not name clusters: there the first is empty and never launched.
template <class S>
__global__ void __launch_bounds__(kThreads, S::kBlocks) ClusterKernel(const __grid_constant__ Args args) {
#if __CUDA_ARCH__ >= 900
  Multiply<S, true>(args);
#endif
}
template <class S>
__global__ void __launch_bounds__(kThreads, S::kBlocks) PartialKernel(const __grid_constant__ Args args) {
  Multiply<S, false>(args);
}

__global__ void FinishKernel(const __grid_constant__ Args args) {
  const MatMul& call = args.call;
  const int64_t size = static_cast<int64_t>(call.rows) * call.units;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= size) return;
  float total = 0.0f;
  for (int s = 0; s < args.cut.splits; s++) total += args.partial[s * size + i];
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

// Grid: blocks of columns; rows, in turns.
__global__ void __launch_bounds__(kThreads)
    WidenKernel(const __grid_constant__ StoredKernel kernel, int64_t inputs, int64_t first, int units, float* y) {
  const int unit = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (unit >= units) return;
  for (int64_t row = blockIdx.y; row < inputs; row += gridDim.y) {
    y[row * units + unit] = WeightAt(kernel, row, first + unit, first + unit);
  }
}

// Calls visit(Shape): kernels are compiled for 1, 2, 4 and 8 rows.
template <class F>
auto WithShape(const MatMul& call, F&& visit) {
  const Layout layout = LayoutOf(call.kernel);
  if (call.rows <= 1) return WithShape<1>(layout, visit);
  if (call.rows <= 2) return WithShape<2>(layout, visit);
  if (call.rows <= 4) return WithShape<4>(layout, visit);
  return WithShape<8>(layout, visit);
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
  if (error == cudaSuccess) error = cudaFuncGetAttributes(&code, ClusterKernel<Shape<Float32, 1, 4, 32, 4>>);
  device->clusters = clusters != 0 && code.ptxVersion >= 90;
  return error;
}

Plan PlanFor(const MatMul& call, const Device& device) {
  Plan plan = {};
  plan.cluster = device.clusters;
  const int tile = WithShape(call, [](auto shape) { return decltype(shape)::kTile; });
  plan.tiles = static_cast<int>((static_cast<int64_t>(call.units) + tile - 1) / tile);
  plan.splits = SplitsFor(plan.tiles, call.inputs, device);
  if (!plan.cluster) {
    plan.workspace_bytes =
        static_cast<size_t>(plan.splits) * static_cast<size_t>(call.rows) * static_cast<size_t>(call.units) * 4;
  }
  return plan;
}

cudaError_t Launch(const MatMul& call, const Plan& plan, void* workspace, cudaStream_t stream) {
  if (call.units == 0) return cudaSuccess;
  Args args = {call, {}, static_cast<float*>(workspace)};
  const cudaError_t error = WithShape(call, [&](auto shape) {
    using S = decltype(shape);
    args.cut = CutFor<S::kRows>(call.inputs, plan.splits, call.kernel.groups.size);
    return LaunchTiles(plan.cluster ? &ClusterKernel<S> : &PartialKernel<S>, args, plan.tiles * plan.splits,
                       {plan.cluster ? plan.splits : 0}, S::kBytes, stream);
  });
  if (error != cudaSuccess || plan.cluster) return error;
  const int64_t size = static_cast<int64_t>(call.rows) * call.units;
  FinishKernel<<<static_cast<unsigned>((size + 255) / 256), 256, 0, stream>>>(args);
  return cudaGetLastError();
}

cudaError_t LaunchWiden(const StoredKernel& kernel, int64_t inputs, int64_t first, int units, float* y,
                        cudaStream_t stream) {
  if (inputs * units == 0) return cudaSuccess;
  constexpr int64_t kMostRows = 65535;  // of a grid
  const dim3 grid(static_cast<unsigned>((units + kThreads - 1) / kThreads),
                  static_cast<unsigned>(std::min(inputs, kMostRows)));
  WidenKernel<<<grid, kThreads, 0, stream>>>(kernel, inputs, first, units, y);
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
