// Times the CUDA kernels by replayed graphs, beside the device's read roof and cuBLAS (where its library is found), all in
// turns. Weights rotate beyond the L2 cache; each has an x, and so a mask, of its own. INT4 has groups of 64 with zero points, or
// as GGUF has it of 32 with minimums.
//
// Usage: sparsified-matmul-bench [--json | two-launches] [WEIGHTS…], of float32, bf16, int8, int4, int4-min; all by default
#include <dlfcn.h>

#include <algorithm>
#include <string>

#include "../sparsified-matmul.h"
#include "device.h"

using namespace sparsify;
using namespace sparsify::cuda;

namespace {

constexpr int kRounds = 15;
constexpr size_t kRotatedBytes = size_t{512} << 20;

__global__ void ReadKernel(const uint4* data, size_t count, uint32_t* sink) {
  const size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
  uint32_t sum = 0;
  size_t i = static_cast<size_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (; i + 7 * step < count; i += 8 * step) {
    uint4 v[8];
#pragma unroll
    for (int u = 0; u < 8; u++) v[u] = __ldcs(data + i + u * step);
#pragma unroll
    for (int u = 0; u < 8; u++) sum ^= v[u].x ^ v[u].y ^ v[u].z ^ v[u].w;
  }
  for (; i < count; i += step) sum ^= data[i].x;
  if (sum == 0x12345678u) *sink = sum;
}

// cuBLAS by its C functions, so that this program links without it.
struct Cublas {
  void* handle = nullptr;
  int (*sgemm)(void*, int, int, int, int, int, const float*, const float*, int, const float*, int, const float*,
               float*, int) = nullptr;
  int (*set_stream)(void*, cudaStream_t) = nullptr;
  int (*set_math)(void*, int) = nullptr;

  Cublas() {
    void* library = nullptr;
    for (const char* name : {"libcublas.so.13", "libcublas.so.12", "libcublas.so"}) {
      if ((library = dlopen(name, RTLD_NOW)) != nullptr) break;
    }
    if (library == nullptr) return;
    const auto create = reinterpret_cast<int (*)(void**)>(dlsym(library, "cublasCreate_v2"));
    sgemm = reinterpret_cast<decltype(sgemm)>(dlsym(library, "cublasSgemm_v2"));
    set_stream = reinterpret_cast<decltype(set_stream)>(dlsym(library, "cublasSetStream_v2"));
    set_math = reinterpret_cast<decltype(set_math)>(dlsym(library, "cublasSetMathMode"));
    if (create == nullptr || create(&handle) != 0) handle = nullptr;
  }
};

// Milliseconds of one call of `work(i)`, which enqueues the i-th of `count` calls: a graph of all, replayed.
template <class F>
struct Timed {
  cudaGraphExec_t graph = nullptr;
  int count;
  std::vector<float> times;
  std::string name;
  double bytes;

  Timed(std::string name, double bytes, int count, cudaStream_t stream, F work)
      : count(count), name(std::move(name)), bytes(bytes) {
    cudaGraph_t captured;
    work(0);  // what is set up at the first call stays out of the graph
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
    for (int i = 0; i < count; i++) work(i);
    CHECK(cudaStreamEndCapture(stream, &captured));
    CHECK(cudaGraphInstantiate(&graph, captured, 0));
    CHECK(cudaGraphDestroy(captured));
  }
  void Replay(cudaStream_t stream, cudaEvent_t from, cudaEvent_t to) {
    CHECK(cudaEventRecord(from, stream));
    CHECK(cudaGraphLaunch(graph, stream));
    CHECK(cudaEventRecord(to, stream));
    CHECK(cudaEventSynchronize(to));
    float ms = 0;
    CHECK(cudaEventElapsedTime(&ms, from, to));
    times.push_back(ms / static_cast<float>(count));
  }
  float Median() const {
    std::vector<float> sorted = times;
    std::sort(sorted.begin(), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

template <class F>
Timed<F> Time(std::string name, double bytes, int count, cudaStream_t stream, F work) {
  return Timed<F>(std::move(name), bytes, count, stream, work);
}

struct Row {
  std::string shape, storage;
  int rows;
  float sparsity, us, cublas_us, dense_us;
  double share;
};

// How weights are stored.
struct Form {
  const char* name;
  Storage storage;
  int group_size = 0;  // of INT4
  bool has_minimum = false;
};
constexpr Form kForms[] = {{"float32", Storage::kFloat32},
                           {"bf16", Storage::kBfloat16},
                           {"int8", Storage::kInt8},
                           {"int4", Storage::kInt4, 64},
                           {"int4-min", Storage::kInt4, 32, true}};

class Shape {
 public:
  Shape(int inputs, int units, const Form& form, const Device& device, Cublas& cublas, cudaStream_t stream)
      : inputs_(inputs), units_(units), form_(form), device_(device), cublas_(cublas), stream_(stream), bytes_(Bytes()),
        copies_(static_cast<int>(std::max<size_t>(4, kRotatedBytes / bytes_))),
        weights_(static_cast<size_t>(copies_) * bytes_), y_(static_cast<size_t>(units) * kMaxRows),
        x_(Random(3).Uniform(static_cast<size_t>(copies_) * inputs * kMaxRows)),
        scale_(std::vector<float>(static_cast<size_t>(units), 0.01f)) {
    std::vector<float> values = Random(5).Uniform(bytes_ / 4);
    constexpr uint8_t kHalf = 0x2c;  // twice: 0.065 in float16
    if (form.storage == Storage::kInt4) {
      auto* const bytes = reinterpret_cast<uint8_t*>(values.data());
      std::fill(bytes + ValueBytes(), bytes + bytes_, kHalf);
    }
    for (int i = 0; i < copies_; i++) {
      CHECK(cudaMemcpy(weights_.get() + static_cast<size_t>(i) * bytes_, values.data(), bytes_, cudaMemcpyHostToDevice));
    }
  }

  void Measure(int rows, const std::vector<float>& sparsities, std::vector<Row>* table) {
    cudaEvent_t from, to;
    CHECK(cudaEventCreate(&from));
    CHECK(cudaEventCreate(&to));
    const size_t total = bytes_ * static_cast<size_t>(copies_);
    const Buffer<uint32_t> sink(1);
    auto roof = Time("roof", static_cast<double>(total), 1, stream_, [&](int) {
      ReadKernel<<<device_.multiprocessors * 8, 256, 0, stream_>>>(reinterpret_cast<const uint4*>(weights_.get()),
                                                                   total / 16, sink.get());
    });
    const float one = 1, zero = 0;
    if (cublas_.handle != nullptr) {
      cublas_.set_stream(cublas_.handle, stream_);
      cublas_.set_math(cublas_.handle, 3);  // TF32, as TensorFlow multiplies
    }
    // INT8, INT4 and bf16 are held against float32 weights of the same shape where these fit beside them.
    const Buffer<float> dense(form_.storage == Storage::kFloat32 ? 0 : Size() * 4);
    CHECK(cudaMemset(dense.get(), 0x3c, dense.size() * 4));  // 0.0115
    auto reference = Time("cublas", 0, copies_, stream_, [&](int i) {
      if (cublas_.handle == nullptr) return;
      const auto* const own = reinterpret_cast<const float*>(weights_.get() + static_cast<size_t>(i) * bytes_);
      const float* w = form_.storage == Storage::kFloat32 ? own : dense.get() + static_cast<size_t>(i % 4) * Size();
      // Row-major [rows, K] x [K, N] is column-major [N, K] x [K, rows].
      cublas_.sgemm(cublas_.handle, 0, 0, units_, rows, inputs_, &one, w, units_,
                    x_.get() + static_cast<size_t>(i) * inputs_ * kMaxRows, inputs_, &zero, y_.get(), units_);
    });
    std::vector<Buffer<float>*> thresholds;
    for (const float sparsity : sparsities) {
      // Uniform in [-1, 1): the share s of the values is at most s in magnitude.
      thresholds.push_back(new Buffer<float>(std::vector<float>{sparsity == 0 ? -1.0f : sparsity}));
    }
    MatMul first = Call(0, rows, thresholds[0]->get());
    const Plan plan = PlanFor(first, device_);
    const Buffer<uint8_t> workspace(plan.workspace_bytes);
    const auto ours = [&](size_t j) {
      return [this, rows, &thresholds, &plan, &workspace, j](int i) {
        CHECK(Launch(Call(i, rows, thresholds[j]->get()), plan, workspace.get(), stream_));
      };
    };
    std::vector<Timed<decltype(ours(0))>> own;
    for (size_t j = 0; j < sparsities.size(); j++) {
      own.push_back(Time("own", 0, copies_, stream_, ours(j)));
    }
    for (int round = 0; round < kRounds; round++) {
      roof.Replay(stream_, from, to);
      if (cublas_.handle != nullptr) reference.Replay(stream_, from, to);
      for (auto& timed : own) timed.Replay(stream_, from, to);
    }
    const double rate = static_cast<double>(total) / roof.Median();
    const float cublas_us = cublas_.handle == nullptr ? NAN : 1000 * reference.Median();
    for (size_t j = 0; j < sparsities.size(); j++) {
      const double kept = 1 - std::pow(sparsities[j], rows);
      // Of groups, all scales are read.
      const double read = static_cast<double>(ValueBytes()) * kept + static_cast<double>(bytes_ - ValueBytes());
      table->push_back({std::to_string(inputs_) + "x" + std::to_string(units_),
                        form_.name,
                        rows, sparsities[j], 1000 * own[j].Median(), cublas_us, 1000 * own[0].Median(),
                        read / own[j].Median() / rate});
    }
    roof_ = rate * 1000;
    for (auto* threshold : thresholds) delete threshold;
  }
  double roof() const { return roof_; }

 private:
  size_t Size() const { return static_cast<size_t>(inputs_) * static_cast<size_t>(units_); }
  // Bytes from one row to the next of INT4, and of the scales of its groups.
  size_t Int4Stride() const { return (StoredKernel::Int4Stride(static_cast<size_t>(units_)) + 15) / 16 * 16; }
  size_t HalfBytes() const { return (static_cast<size_t>(units_) + 7) / 8 * 16; }
  size_t Groups() const { return static_cast<size_t>(inputs_ / form_.group_size); }
  size_t ValueBytes() const {
    switch (form_.storage) {
      case Storage::kFloat32:
        return Size() * 4;
      case Storage::kBfloat16:
        return Size() * 2;
      case Storage::kInt8:
        return Size();
      default:
        return static_cast<size_t>(inputs_) * Int4Stride();
    }
  }
  size_t Bytes() const {
    if (form_.storage != Storage::kInt4) return ValueBytes();
    return ValueBytes() + Groups() * (HalfBytes() + (form_.has_minimum ? HalfBytes() : Int4Stride()));
  }
  StoredKernel Kernel(int i) const {
    const uint8_t* const data = weights_.get() + static_cast<size_t>(i) * bytes_;
    if (form_.storage != Storage::kInt4) {
      return {data, form_.storage, static_cast<size_t>(units_), form_.storage == Storage::kInt8 ? scale_.get() : nullptr};
    }
    const uint8_t* const scale = data + ValueBytes();
    const uint8_t* const offset = scale + Groups() * HalfBytes();
    Int4Groups groups;
    groups.size = static_cast<size_t>(form_.group_size);
    groups.stride = HalfBytes() / sizeof(Float16Bits);
    groups.scale = reinterpret_cast<const Float16Bits*>(scale);
    if (form_.has_minimum) groups.minimum = reinterpret_cast<const Float16Bits*>(offset);
    if (!form_.has_minimum) groups.zero_point = offset;
    return StoredKernel::Int4(data, Int4Stride(), groups);
  }
  MatMul Call(int i, int rows, const float* threshold) const {
    MatMul call = {};
    call.x = x_.get() + static_cast<size_t>(i) * inputs_ * kMaxRows;
    call.rows = rows, call.inputs = inputs_, call.threshold = threshold;
    call.kernel = Kernel(i), call.units = units_;
    call.y = y_.get();
    return call;
  }

  int inputs_, units_;
  Form form_;
  Device device_;
  Cublas& cublas_;
  cudaStream_t stream_;
  size_t bytes_;  // of a kernel
  int copies_;
  Buffer<uint8_t> weights_;
  Buffer<float> y_, x_, scale_;
  double roof_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> wanted(argv + 1, argv + argc);
  const auto take = [&](const char* option) {
    const bool is_first = !wanted.empty() && wanted[0] == option;
    if (is_first) wanted.erase(wanted.begin());
    return is_first;
  };
  const bool json = take("--json");
  Device device;
  CHECK(CurrentDevice(&device));
  if (take("two-launches")) device.clusters = false;
  cudaDeviceProp properties;
  CHECK(cudaGetDeviceProperties(&properties, 0));
  Cublas cublas;
  cudaStream_t stream;
  CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  const std::vector<float> sparsities = {0, 0.3f, 0.5f, 0.7f, 0.9f};
  std::vector<Row> table;
  double roof = 0;
  for (const auto& [inputs, units] : std::vector<std::pair<int, int>>{
           {4096, 11008}, {11008, 4096}, {4096, 14336}, {4096, 4096}, {2048, 5632}, {576, 1536}, {1536, 576}}) {
    for (const Form& form : kForms) {
      if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), form.name) == wanted.end()) continue;
      Shape shape(inputs, units, form, device, cublas, stream);
      for (const int rows : {1, 2, 4, 8}) {
        if (rows > 1 && (form.storage == Storage::kBfloat16 || form.has_minimum || inputs + units < 15000)) continue;
        shape.Measure(rows, sparsities, &table);
        roof = std::max(roof, shape.roof());
      }
    }
  }
  if (json) {
    std::printf("{\"device\": \"%s\", \"readBytesPerSecond\": %.4g, \"rows\": [", properties.name, roof);
    for (size_t i = 0; i < table.size(); i++) {
      const Row& row = table[i];
      std::printf("%s\n{\"shape\": \"%s\", \"dtype\": \"%s\", \"rows\": %d, \"sparsity\": %g, \"us\": %.2f, "
                  "\"vsCublas\": %s, \"vsOwnDense\": %.3f, \"bandwidthShare\": %.3f}",
                  i ? "," : "", row.shape.c_str(), row.storage.c_str(), row.rows, row.sparsity, row.us,
                  std::isnan(row.cublas_us) ? "null" : std::to_string(row.cublas_us / row.us).c_str(),
                  row.dense_us / row.us, row.share);
    }
    std::printf("\n]}\n");
    return 0;
  }
  std::printf("%s, reads %.0f GB/s\n", properties.name, roof / 1e9);
  std::printf("%12s %8s %5s %9s %9s %10s %10s %10s\n", "shape", "weights", "rows", "sparsity", "us", "vs cuBLAS",
              "vs own 0", "bandwidth");
  for (const Row& row : table) {
    std::printf("%12s %8s %5d %9.1f %9.2f %9.2fx %9.2fx %8.0f %%\n", row.shape.c_str(), row.storage.c_str(), row.rows,
                row.sparsity, row.us, row.cublas_us / row.us, row.dense_us / row.us, 100 * row.share);
  }
  return 0;
}
