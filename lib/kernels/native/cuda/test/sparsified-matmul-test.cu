// Holds the CUDA kernels against plain loops in double on the host: sizes with and without tails, all numbers of rows,
// thresholds, storages and groups of INT4, with clusters and in two launches. Under compute-sanitizer it also shows accesses
// out of bounds (memcheck) and races (racecheck).
//
// Usage: sparsified-matmul-test [quick]; ends with 0 if all hold. `quick` runs a tenth, for the sanitizers.
#include <algorithm>
#include <array>
#include <limits>
#include <string>

#include "../sparsified-matmul.h"
#include "device.h"
#include "int4-matrix.h"

using namespace sparsify;
using namespace sparsify::cuda;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Case {
  int rows, inputs, units;
  std::vector<float> x, threshold, weights;  // weights: as the kernel means them, [inputs, units]
  std::vector<float> bias;
  Activation activation = Activation::kLinear;
  Storage storage = Storage::kFloat32;
  std::vector<float> scale, zero_point;  // INT8
  std::vector<int8_t> quantized;         // INT8, [inputs, units]
  Int4Matrix int4;
};

double Activated(Activation activation, double z) {
  switch (activation) {
    case Activation::kRelu:
      return z < 0 ? 0 : z;
    case Activation::kSilu:
      return z / (1 + std::exp(-z));
    case Activation::kGelu:
      return 0.5 * z * std::erfc(-z * 0.70710678118654752);
    case Activation::kTanh:
      return std::tanh(z);
    case Activation::kSigmoid:
      return 1 / (1 + std::exp(-z));
    default:
      return z;
  }
}

float Bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  bits &= 0xffff0000u;
  std::memcpy(&value, &bits, 4);
  return value;
}

Case Normal(int rows, int inputs, int units, float threshold, Storage storage = Storage::kFloat32, uint64_t seed = 1) {
  Random random(seed + 31 * static_cast<uint64_t>(rows) + 1009 * static_cast<uint64_t>(inputs + units));
  Case c;
  c.rows = rows, c.inputs = inputs, c.units = units, c.storage = storage;
  c.x = random.Uniform(static_cast<size_t>(rows) * inputs);
  c.threshold = {threshold};
  const size_t size = static_cast<size_t>(inputs) * units;
  c.weights = random.Uniform(size);
  if (storage == Storage::kBfloat16) {
    for (float& weight : c.weights) weight = Bfloat16(weight);
  } else if (storage == Storage::kInt8) {
    for (int n = 0; n < units; n++) {
      c.scale.push_back(0.01f + 0.01f * std::fabs(random.Uniform()));
      c.zero_point.push_back(std::round(100 * random.Uniform()));
    }
    c.quantized.resize(size);
    for (size_t i = 0; i < size; i++) {
      c.quantized[i] = static_cast<int8_t>(std::lround(127.5f * random.Uniform() - 0.5f));
      c.weights[i] = c.scale[i % units] * (c.quantized[i] - c.zero_point[i % units]);
    }
  }
  return c;
}

Case NormalInt4(int rows, int inputs, int units, int group, Int4Kind kind, float threshold) {
  Case c = Normal(rows, inputs, units, threshold);
  c.storage = Storage::kInt4;
  Random random(static_cast<uint64_t>(rows) + 77 * static_cast<uint64_t>(inputs + 3 * units + group));
  c.int4 = Int4Matrix(random, static_cast<size_t>(inputs), static_cast<size_t>(units), static_cast<size_t>(group), kind, 0.1f);
  c.weights = c.int4.weights;
  return c;
}

// The kernel's bytes as the device gets them, rows padded for bf16 and INT8.
std::vector<uint8_t> Stored(const Case& c, int64_t* stride) {
  if (c.storage == Storage::kInt4) return c.int4.values;
  const int bytes = c.storage == Storage::kFloat32 ? 4 : c.storage == Storage::kBfloat16 ? 2 : 1;
  *stride = c.storage == Storage::kFloat32 ? c.units : (c.units + 15) / 16 * 16;
  std::vector<uint8_t> stored(static_cast<size_t>(c.inputs) * static_cast<size_t>(*stride) * bytes);
  for (int k = 0; k < c.inputs; k++) {
    for (int n = 0; n < c.units; n++) {
      const size_t from = static_cast<size_t>(k) * c.units + n;
      uint8_t* to = &stored[(static_cast<size_t>(k) * static_cast<size_t>(*stride) + n) * bytes];
      if (c.storage == Storage::kInt8) {
        *to = static_cast<uint8_t>(c.quantized[from]);
      } else {
        std::memcpy(to, reinterpret_cast<const uint8_t*>(&c.weights[from]) + (4 - bytes), bytes);
      }
    }
  }
  return stored;
}

int failures = 0;

void Fail(const Case& c, const Plan& plan, const std::string& what) {
  if (++failures > 20) return;
  std::printf("FAILED rows %d, %d x %d, storage %d, groups of %d and kind %d, threshold %g, %s, %d splits: %s\n", c.rows, c.inputs,
              c.units, static_cast<int>(c.storage), static_cast<int>(c.int4.group_size), static_cast<int>(c.int4.kind),
              c.threshold[0], plan.cluster ? "clusters" : "two launches", plan.splits,
              what.c_str());
}

void Run(const Case& c, const Device& device) {
  int64_t stride = 0;
  const Buffer<uint8_t> kernel(Stored(c, &stride));
  const Buffer<float> x(c.x), threshold(c.threshold), bias(c.bias), scale(c.scale), zero_point(c.zero_point);
  const size_t outputs = static_cast<size_t>(c.rows) * c.units;
  MatMul call = {};
  call.x = x.get(), call.rows = c.rows, call.inputs = c.inputs;
  call.threshold = threshold.get(), call.threshold_per_input = c.threshold.size() > 1;
  const DeviceInt4 int4(c.int4);
  call.kernel = {kernel.get(), c.storage, static_cast<size_t>(stride), c.scale.empty() ? nullptr : scale.get(),
                 c.zero_point.empty() ? nullptr : zero_point.get()};
  if (c.storage == Storage::kInt4) call.kernel = int4.Kernel();
  call.bias = c.bias.empty() ? nullptr : bias.get();
  call.activation = c.activation, call.units = c.units;
  for (const bool clusters : {true, false}) {
    if (clusters && !device.clusters) continue;
    Device as = device;
    as.clusters = clusters;
    const Plan plan = PlanFor(call, as);
    const Buffer<uint8_t> workspace(plan.workspace_bytes);
    std::vector<float> first;
    for (int round = 0; round < 2; round++) {
      const Buffer<float> y(std::vector<float>(outputs, -12345.0f));
      call.y = y.get();
      CHECK(cudaMemset(workspace.get(), 0xff, plan.workspace_bytes));
      CHECK(Launch(call, plan, workspace.get(), nullptr));
      CHECK(cudaDeviceSynchronize());
      const std::vector<float> actual = y.Values();
      if (round == 1 && std::memcmp(actual.data(), first.data(), outputs * 4) != 0) {
        Fail(c, plan, "the second run gives other bits");
      }
      first = actual;
    }
    for (int r = 0; r < c.rows; r++) {
      for (int n = 0; n < c.units; n++) {
        double sum = c.bias.empty() ? 0 : c.bias[n], magnitude = std::fabs(sum);
        for (int k = 0; k < c.inputs; k++) {
          const float value = c.x[static_cast<size_t>(r) * c.inputs + k];
          if (std::fabs(value) <= c.threshold[c.threshold.size() > 1 ? k : 0]) continue;
          const double product = static_cast<double>(value) * c.weights[static_cast<size_t>(k) * c.units + n];
          sum += product, magnitude += std::fabs(product);
        }
        const double expected = Activated(c.activation, sum);
        const float got = first[static_cast<size_t>(r) * c.units + n];
        // n products summed in float32 in any order, the activation and its own rounding.
        const double limit =
            1.2 * (c.inputs + 4) * 0x1p-24 * magnitude + 0x1p-20 * std::max(1.0, std::fabs(expected));
        const bool good = std::isfinite(expected) ? std::fabs(got - expected) <= limit
                          : std::isnan(expected)  ? std::isnan(got)
                                                  : got == static_cast<float>(expected);
        if (!good) {
          Fail(c, plan, "output " + std::to_string(r) + "," + std::to_string(n) + " is " + std::to_string(got) +
                            ", expected " + std::to_string(expected));
        }
      }
    }
  }
}

// The weights as they are defined, to the last bit, whole and from a column on.
void CheckWidened(const Case& c) {
  const DeviceInt4 int4(c.int4);
  for (const int first : {0, c.units / 3}) {
    const int columns = c.units - first;
    const Buffer<float> y(static_cast<size_t>(c.inputs) * static_cast<size_t>(columns));
    CHECK(LaunchWiden(int4.Kernel(), c.inputs, first, columns, y.get(), nullptr));
    const std::vector<float> actual = y.Values();
    for (int k = 0; k < c.inputs; k++) {
      for (int n = 0; n < columns; n++) {
        const float expected = c.weights[static_cast<size_t>(k) * c.units + first + n];
        const float got = actual[static_cast<size_t>(k) * columns + n];
        if (got == expected) continue;
        if (++failures <= 20) {
          std::printf("FAILED weight %d, %d of %d x %d, groups of %d, kind %d: is %g, expected %g\n", k, first + n, c.inputs,
                      c.units, static_cast<int>(c.int4.group_size), static_cast<int>(c.int4.kind), got, expected);
        }
      }
    }
  }
}

int cases = 0;

void Try(const Case& c, const Device& device) {
  cases++;
  Run(c, device);
}

}  // namespace

int main(int argc, char** argv) {
  const bool quick = argc > 1 && std::strcmp(argv[1], "quick") == 0;
  Device device;
  CHECK(CurrentDevice(&device));
  std::printf("%d multiprocessors, %s\n", device.multiprocessors, device.clusters ? "clusters" : "no clusters");
  const std::vector<std::pair<int, int>> shapes =
      quick ? std::vector<std::pair<int, int>>{{1, 7}, {33, 130}, {600, 515}}
            : std::vector<std::pair<int, int>>{{1, 1},    {1, 7},     {7, 1},     {8, 16},    {31, 33},  {64, 1003},
                                               {577, 96}, {1000, 130}, {4096, 40}, {40, 4096}, {520, 515}, {4113, 260}};
  for (const auto& [inputs, units] : shapes) {
    for (const int rows : {1, 2, 3, 5, 8}) {
      for (const float threshold : {-kInfinity, 0.5f, 0.9f, kInfinity}) {
        if (quick && threshold != 0.5f) continue;
        for (const Storage storage : {Storage::kFloat32, Storage::kBfloat16, Storage::kInt8}) {
          Try(Normal(rows, inputs, units, threshold, storage), device);
        }
      }
    }
  }
  // Groups that divide stretches of 64 inputs and such that do not, one a row and one for all; odd numbers of columns, a half of a
  // block too many, rows of 2,048 bytes.
  const std::vector<std::array<int, 3>> groups =
      quick ? std::vector<std::array<int, 3>>{{64, 130, 32}, {600, 515, 40}}
            : std::vector<std::array<int, 3>>{{1, 1, 1},      {64, 7, 64},   {64, 8, 32},    {96, 9, 32},     {128, 15, 64},
                                              {128, 16, 128}, {33, 17, 11},  {256, 24, 64},  {520, 40, 8},    {1000, 131, 1000},
                                              {4096, 40, 64}, {96, 4096, 32}, {640, 515, 128}, {4224, 260, 64}, {700, 129, 28},
                                              {77, 33, 7},    {4160, 136, 32}};
  for (const auto& [inputs, units, group] : groups) {
    for (const Int4Kind kind : {Int4Kind::kSymmetric, Int4Kind::kAsymmetric, Int4Kind::kMinimum}) {
      for (const int rows : {1, 2, 3, 4, 7, 8}) {
        for (const float threshold : {-kInfinity, 0.5f, 0.9f, kInfinity}) {
          if (quick && (threshold != 0.5f || rows == 3 || rows == 7)) continue;
          Try(NormalInt4(rows, inputs, units, group, kind, threshold), device);
        }
      }
      CheckWidened(NormalInt4(1, inputs, units, group, kind, 0));
    }
  }
  for (const int rows : {1, 4}) {
    Try(NormalInt4(rows, quick ? 17024 : 40064, 36, 32, Int4Kind::kAsymmetric, 0.3f), device);
    Case c = NormalInt4(rows, 64, 50, 32, Int4Kind::kMinimum, 0.5f);
    c.bias = Random(9).Uniform(50, 8);
    c.activation = Activation::kGelu;
    Try(c, device);
    c.x[5] = kInfinity;  // times weights of which none is 0
    c.activation = Activation::kLinear;
    Try(c, device);
  }
  // More inputs than a block lists at a time.
  for (const int rows : {1, 4}) Try(Normal(rows, quick ? 17000 : 40001, 36, 0.3f), device);
  for (const Activation activation : {Activation::kRelu, Activation::kSilu, Activation::kGelu, Activation::kTanh,
                                      Activation::kSigmoid}) {
    for (const int rows : {1, 4}) {
      Case c = Normal(rows, 30, 50, 0.5f);
      c.bias = Random(9).Uniform(50, 8);
      c.activation = activation;
      Try(c, device);
    }
    Case wide = Normal(1, 1, 4001, -kInfinity);  // from -100 to 100
    wide.x = {1};
    for (int n = 0; n < 4001; n++) wide.weights[n] = (n - 2000) / 20.0f;
    wide.activation = activation;
    Try(wide, device);
  }
  for (const int rows : {1, 6}) {  // one threshold an input
    Case c = Normal(rows, 37, 21, 0);
    c.threshold.clear();
    for (int k = 0; k < 37; k++) c.threshold.push_back(std::vector<float>{-kInfinity, 0, 0.5f, 1, kInfinity}[k % 5]);
    Try(c, device);
  }
  for (const int rows : {1, 2, 8}) {  // NaN stays; Inf and NaN of a masked row stay out, also where another row keeps it
    Case c = Normal(rows, 40, 52, 0.5f);
    for (int r = 0; r < rows; r++) c.x[r * 40] = r > 0 && r == rows - 1 ? 3.0f : 0.0f;
    for (int n = 0; n < 52; n++) c.weights[n] = n % 2 ? kNaN : kInfinity;
    c.x[(rows - 1) * 40 + 7] = kNaN;
    Try(c, device);
    c.x[(rows - 1) * 40 + 7] = 0.5f;  // a tie is masked
    Try(c, device);
  }
  std::printf("%d cases, %d failures\n", cases, failures);
  return failures == 0 ? 0 : 1;
}
