#include "ops.h"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <mutex>
#include <vector>

#include "decoder-op.h"
#include "op-kernel.h"
#include "sparsified-matmul.h"

namespace sparsify {
namespace {

// x's dimensions without the last.
std::vector<int64_t> Rows(const Tensor& x) { return {x.shape().begin(), x.shape().end() - 1}; }

// x as [rows, columns].
struct Matrix {
  explicit Matrix(const Tensor& x) {
    if (x.rank() == 0) throw InvalidArgument("x is a scalar; it must be [..., inputs]");
    columns = static_cast<size_t>(x.shape().back());
    for (size_t i = 0; i + 1 < x.rank(); i++) rows *= static_cast<size_t>(x.shape()[i]);
  }
  size_t rows = 1;
  size_t columns;
};

Threshold ThresholdOf(const Tensor& threshold, size_t inputs) {
  const size_t size = threshold.size();
  if (size != 1 && !(threshold.rank() == 1 && size == inputs)) {
    throw InvalidArgument("the threshold has shape " + threshold.ShapeText() + "; it must hold 1 value or be [" +
                          std::to_string(inputs) + "], one value per input");
  }
  return {threshold.data(), size == 1 ? size_t{0} : size_t{1}};
}

const float* BiasOf(const Tensor& bias, size_t units) {
  if (bias.size() == 0) return nullptr;
  if (bias.size() != units) {
    throw InvalidArgument("the bias has shape " + bias.ShapeText() + "; it must be [" + std::to_string(units) +
                          "], one value per unit, or [0]");
  }
  return bias.data();
}

Layer LayerOf(const Tensor& kernel, const Tensor* bias, Activation activation, const Matrix& x) {
  if (kernel.rank() != 2 || static_cast<size_t>(kernel.shape()[0]) != x.columns) {
    throw InvalidArgument("the kernel has shape " + kernel.ShapeText() + "; it must be [" +
                          std::to_string(x.columns) + ", units] for an x with that many inputs");
  }
  const auto units = static_cast<size_t>(kernel.shape()[1]);
  return {kernel.data(), bias ? BiasOf(*bias, units) : nullptr, nullptr, units, activation};
}

// The parts of an INT8 kernel: values int32 [inputs, units / 4 rounded up], scale [units], zero point [units].
Int8Kernel Int8KernelOf(const Tensor& values, const Tensor& scale, const Tensor& zero_point) {
  const size_t units = scale.size(), words = (units + 3) / 4;
  if (values.rank() != 2 || static_cast<size_t>(values.shape()[1]) != words || zero_point.size() != units) {
    throw InvalidArgument("the INT8 kernel has values " + values.ShapeText() + ", scale " + scale.ShapeText() +
                          " and zero point " + zero_point.ShapeText() +
                          "; they must be [inputs, units / 4 rounded up], [units] and [units]");
  }
  return {values.bytes(), words * 4, scale.data(), zero_point.data()};
}

std::vector<Activation> ParseActivations(const std::string& names) {
  std::vector<Activation> activations;
  for (size_t start = 0; start <= names.size();) {
    const size_t end = std::min(names.find(',', start), names.size());
    activations.push_back(ActivationNamed(names.substr(start, end - start)));
    start = end + 1;
  }
  return activations;
}

// What a kernel of TensorFlow's keeps: the attribute, parsed.
struct Kernel {
  std::vector<Activation> activations;
};

void* CreateKernel(TF_OpKernelConstruction* construction, const char* attribute) {
  auto* kernel = new Kernel;
  Guarded(construction, [&] { kernel->activations = ParseActivations(StringAttribute(construction, attribute)); });
  return kernel;
}

void* CreateWithActivation(TF_OpKernelConstruction* construction) { return CreateKernel(construction, "activation"); }
void* CreateWithActivations(TF_OpKernelConstruction* construction) {
  return CreateKernel(construction, "activations");
}
void* CreatePlain(TF_OpKernelConstruction*) { return new Kernel; }
void DestroyKernel(void* kernel) { delete static_cast<Kernel*>(kernel); }

void ComputeMatMul(const Kernel& kernel, TF_OpKernelContext* context) {
  const Tensor x = Input(context, 0), weights = Input(context, 1), threshold = Input(context, 2);
  const Matrix shape(x);
  std::vector<Tensor> held;
  if (tensorflow.TF_NumInputs(context) > 3) held.push_back(Input(context, 3));
  Layer layer = LayerOf(weights, held.empty() ? nullptr : &held[0], kernel.activations.at(0), shape);
  const Threshold limits = ThresholdOf(threshold, shape.columns);
  const Tensor y = Output(context, 0, Rows(x), layer.units);
  layer.y = y.data();
  SparsifiedMatMul(x.data(), shape.rows, shape.columns, limits, &layer, 1, Pool::Get());
}

void ComputeMatMulInt8(const Kernel& kernel, TF_OpKernelContext* context) {
  const Tensor x = Input(context, 0), values = Input(context, 1), scale = Input(context, 2);
  const Tensor zero_point = Input(context, 3), threshold = Input(context, 4);
  const Matrix shape(x);
  std::vector<Tensor> held;
  if (tensorflow.TF_NumInputs(context) > 5) held.push_back(Input(context, 5));
  const size_t units = scale.size();
  const Int8Kernel int8 = Int8KernelOf(values, scale, zero_point);
  if (static_cast<size_t>(values.shape()[0]) != shape.columns) {
    throw InvalidArgument("the INT8 kernel has values " + values.ShapeText() + "; they must be [" +
                          std::to_string(shape.columns) + ", units / 4] for an x with that many inputs");
  }
  const Threshold limits = ThresholdOf(threshold, shape.columns);
  const Tensor y = Output(context, 0, Rows(x), units);
  const float* const bias = held.empty() ? nullptr : BiasOf(held[0], units);
  const Layer layer{nullptr, bias, y.data(), units, kernel.activations.at(0), int8};
  SparsifiedMatMul(x.data(), shape.rows, shape.columns, limits, &layer, 1, Pool::Get());
}

void ComputeDequantize(const Kernel&, TF_OpKernelContext* context) {
  const Tensor values = Input(context, 0), scale = Input(context, 1), zero_point = Input(context, 2);
  const Int8Kernel int8 = Int8KernelOf(values, scale, zero_point);
  const Tensor weights = Output(context, 0, {values.shape()[0]}, scale.size());
  DequantizeKernel(int8, static_cast<size_t>(values.shape()[0]), scale.size(), weights.data(), Pool::Get());
}

void ComputeMatMulGroup(const Kernel& kernel, TF_OpKernelContext* context) {
  const Tensor x = Input(context, 0), threshold = Input(context, 1);
  const Matrix shape(x);
  const size_t count = kernel.activations.size();
  const auto inputs = static_cast<size_t>(tensorflow.TF_NumInputs(context));
  if (inputs != 2 + count && inputs != 2 + 2 * count) {
    throw InvalidArgument(std::to_string(count) + " activations for " + std::to_string(inputs - 2) +
                          " kernels and biases; give one for each kernel, and a bias for each or for none");
  }
  std::vector<Tensor> held;  // kernels, then biases
  for (size_t i = 2; i < inputs; i++) held.push_back(Input(context, static_cast<int>(i)));
  std::vector<Layer> layers;
  for (size_t i = 0; i < count; i++) {
    layers.push_back(
        LayerOf(held[i], held.size() > count ? &held[count + i] : nullptr, kernel.activations[i], shape));
  }
  const Threshold limits = ThresholdOf(threshold, shape.columns);
  std::vector<Tensor> outputs;
  for (size_t i = 0; i < count; i++) {
    outputs.push_back(Output(context, static_cast<int>(i), Rows(x), layers[i].units));
    layers[i].y = outputs.back().data();
  }
  SparsifiedMatMul(x.data(), shape.rows, shape.columns, limits, layers.data(), layers.size(), Pool::Get());
}

// Gives x itself where no threshold can mask anything: nothing to read, nothing to write.
void ComputeMask(const Kernel&, TF_OpKernelContext* context) {
  const Tensor x = Input(context, 0), threshold = Input(context, 1);
  const Matrix shape(x);
  const Threshold limits = ThresholdOf(threshold, shape.columns);
  const float* const end = limits.values + threshold.size();
  if (x.rank() == 2 && std::all_of(limits.values, end, [](float limit) { return limit < 0; })) {
    return x.SetAsOutput(context, 0);
  }
  const Tensor y = Output(context, 0, {static_cast<int64_t>(shape.rows)}, shape.columns);
  MaskRows(x.data(), shape.rows, shape.columns, limits, y.data(), Pool::Get());
}

void ComputeBiasActivation(const Kernel& kernel, TF_OpKernelContext* context) {
  const Tensor x = Input(context, 0);
  const Matrix shape(x);
  std::vector<Tensor> held;
  if (tensorflow.TF_NumInputs(context) > 1) held.push_back(Input(context, 1));
  const float* const values = held.empty() ? nullptr : BiasOf(held[0], shape.columns);
  const Tensor y = Output(context, 0, Rows(x), shape.columns);
  AddBiasAndActivate(x.data(), shape.rows, shape.columns, values, kernel.activations.at(0), y.data(), Pool::Get());
}

template <void (*kCompute)(const Kernel&, TF_OpKernelContext*)>
void Compute(void* kernel, TF_OpKernelContext* context) {
  Guarded(context, [&] { kCompute(*static_cast<const Kernel*>(kernel), context); });
}

}  // namespace

std::string RegisterOps() {
  static std::mutex mutex;
  static bool registered = false;
  const std::lock_guard<std::mutex> lock(mutex);
  if (registered) return "";
  const std::string problem = LoadTensorFlow();
  if (!problem.empty()) return problem;
  try {
    // An attribute that is given takes 1.7 us of a call, of 12 in all for a small one: hence two ops and a default.
    Register({"SparsifiedMatMul",
              {"x: float", "kernel: float", "threshold: float"},
              "y: float",
              {"activation: string = 'linear'"},
              &CreateWithActivation,
              &Compute<ComputeMatMul>,
              &DestroyKernel});
    Register({"SparsifiedMatMulWithBias",
              {"x: float", "kernel: float", "threshold: float", "bias: float"},
              "y: float",
              {"activation: string = 'linear'"},
              &CreateWithActivation,
              &Compute<ComputeMatMul>,
              &DestroyKernel});
    Register({"SparsifiedMatMulInt8",
              {"x: float", "values: int32", "scale: float", "zero_point: float", "threshold: float"},
              "y: float",
              {"activation: string = 'linear'"},
              &CreateWithActivation,
              &Compute<ComputeMatMulInt8>,
              &DestroyKernel});
    Register({"SparsifiedMatMulInt8WithBias",
              {"x: float", "values: int32", "scale: float", "zero_point: float", "threshold: float", "bias: float"},
              "y: float",
              {"activation: string = 'linear'"},
              &CreateWithActivation,
              &Compute<ComputeMatMulInt8>,
              &DestroyKernel});
    Register({"SparsifyDequantizeInt8",
              {"values: int32", "scale: float", "zero_point: float"},
              "weights: float",
              {},
              &CreatePlain,
              &Compute<ComputeDequantize>,
              &DestroyKernel});
    Register({"SparsifiedMatMulGroup",
              {"x: float", "threshold: float", "kernels: M * float", "biases: B * float"},
              "y: M * float",
              {"M: int >= 1", "B: int >= 0", "activations: string"},
              &CreateWithActivations,
              &Compute<ComputeMatMulGroup>,
              &DestroyKernel});
    Register({"SparsifyMask",
              {"x: float", "threshold: float"},
              "y: float",
              {},
              &CreatePlain,
              &Compute<ComputeMask>,
              &DestroyKernel});
    Register({"SparsifyBiasActivation",
              {"x: float", "bias: B * float"},
              "y: float",
              {"B: int >= 0", "activation: string"},
              &CreateWithActivation,
              &Compute<ComputeBiasActivation>,
              &DestroyKernel});
    RegisterDecoderOp();
  } catch (const std::exception& error) {
    return error.what();
  }
  registered = true;
  return "";
}

}  // namespace sparsify
