#include "ops.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "decoder-op.h"
#include "sparsified-matmul.h"
#include "tensorflow/op-inputs.h"
#include "tensorflow/op-registration.h"

namespace sparsify {
namespace {

Threshold ThresholdOf(const Tensor& threshold, size_t inputs) {
  return {threshold.data(), IsPerInput(threshold, inputs) ? size_t{1} : size_t{0}};
}

// The parts of an INT8 kernel: values int32 [inputs, units / 4 rounded up], scale [units], zero point [units].
StoredKernel Int8KernelOf(const Tensor& values, const Tensor& scale, const Tensor& zero_point) {
  const size_t units = scale.size(), words = (units + 3) / 4;
  if (values.rank() != 2 || static_cast<size_t>(values.shape()[1]) != words || zero_point.size() != units) {
    throw InvalidArgument("the INT8 kernel has values " + values.ShapeText() + ", scale " + scale.ShapeText() +
                          " and zero point " + zero_point.ShapeText() +
                          "; they must be [inputs, units / 4 rounded up], [units] and [units]");
  }
  return StoredKernel::Int8(values.bytes(), words * 4, scale.data(), zero_point.data());
}

// What TensorFlow keeps of an op: its attribute, parsed.
struct Kernel {
  Activation activation = Activation::kLinear;
};

void ReadNothing(TF_OpKernelConstruction*, Kernel*) {}
void ReadActivation(TF_OpKernelConstruction* construction, Kernel* kernel) {
  kernel->activation = ActivationAttribute(construction);
}

// y = activation(kept(x) * weights + bias). The bias is the input of that index, if the op has so many.
void Multiply(const Kernel& kernel, TF_OpKernelContext* context, const Matrix& x, const StoredKernel& weights, size_t units,
              const Tensor& threshold, int bias_index) {
  const std::vector<Tensor> bias = InputsFrom(context, bias_index);
  const float* const biases = bias.empty() ? nullptr : PerUnit(bias[0], units, "bias");
  const Threshold limits = ThresholdOf(threshold, x.columns);
  const Tensor y = Output(context, 0, x.leading, units);
  const Layer layer{weights, biases, y.data(), units, kernel.activation};
  SparsifiedMatMul(x.data, x.rows, x.columns, limits, &layer, 1, Pool::Get());
}

void ComputeMatMul(const Kernel& kernel, TF_OpKernelContext* context) {
  const Tensor x = Input(context, 0), weights = Input(context, 1), threshold = Input(context, 2);
  const Matrix matrix(x);
  if (weights.rank() != 2 || static_cast<size_t>(weights.shape()[0]) != matrix.columns) {
    throw InvalidArgument("the kernel has shape " + weights.ShapeText() + "; it must be [" +
                          std::to_string(matrix.columns) + ", units] for an x with that many inputs");
  }
  const auto units = static_cast<size_t>(weights.shape()[1]);
  Multiply(kernel, context, matrix, StoredKernel::Floats(weights.data(), units), units, threshold, 3);
}

void ComputeMatMulInt8(const Kernel& kernel, TF_OpKernelContext* context) {
  const Tensor x = Input(context, 0), values = Input(context, 1), scale = Input(context, 2);
  const Tensor zero_point = Input(context, 3), threshold = Input(context, 4);
  const Matrix matrix(x);
  const StoredKernel int8 = Int8KernelOf(values, scale, zero_point);
  if (static_cast<size_t>(values.shape()[0]) != matrix.columns) {
    throw InvalidArgument("the INT8 kernel has values " + values.ShapeText() + "; they must be [" +
                          std::to_string(matrix.columns) + ", units / 4] for an x with that many inputs");
  }
  Multiply(kernel, context, matrix, int8, scale.size(), threshold, 5);
}

void ComputeDequantize(const Kernel&, TF_OpKernelContext* context) {
  const Tensor values = Input(context, 0), scale = Input(context, 1), zero_point = Input(context, 2);
  const StoredKernel int8 = Int8KernelOf(values, scale, zero_point);
  const Tensor weights = Output(context, 0, {values.shape()[0]}, scale.size());
  DequantizeKernel(int8, static_cast<size_t>(values.shape()[0]), scale.size(), weights.data(), Pool::Get());
}

// Gives x itself where no threshold can mask anything: nothing to read, nothing to write.
void ComputeMask(const Kernel&, TF_OpKernelContext* context) {
  const Tensor x = Input(context, 0), threshold = Input(context, 1);
  const Matrix matrix(x);
  const Threshold limits = ThresholdOf(threshold, matrix.columns);
  const float* const end = limits.values + threshold.size();
  if (x.rank() == 2 && std::all_of(limits.values, end, [](float limit) { return limit < 0; })) {
    return x.SetAsOutput(context, 0);
  }
  const Tensor y = Output(context, 0, {static_cast<int64_t>(matrix.rows)}, matrix.columns);
  MaskRows(x.data(), matrix.rows, matrix.columns, limits, y.data(), Pool::Get());
}

void ComputeBiasActivation(const Kernel& kernel, TF_OpKernelContext* context) {
  const Tensor x = Input(context, 0);
  const Matrix matrix(x);
  const std::vector<Tensor> bias = InputsFrom(context, 1);
  const float* const biases = bias.empty() ? nullptr : PerUnit(bias[0], matrix.columns, "bias");
  const Tensor y = Output(context, 0, matrix.leading, matrix.columns);
  AddBiasAndActivate(x.data(), matrix.rows, matrix.columns, biases, kernel.activation, y.data(), Pool::Get());
}

void RegisterAll() {
  // An attribute that is given takes 1.7 us of a call; a small call takes 12 us in all. Hence there are ops with and without a
  // bias, and the activation has a default.
  const std::vector<const char*> activation = {"activation: string = 'linear'"};
  Register<ReadActivation, ComputeMatMul>(
      {"SparsifiedMatMul", {"x: float", "kernel: float", "threshold: float"}, "y: float", activation});
  Register<ReadActivation, ComputeMatMul>({"SparsifiedMatMulWithBias",
                                           {"x: float", "kernel: float", "threshold: float", "bias: float"},
                                           "y: float",
                                           activation});
  Register<ReadActivation, ComputeMatMulInt8>(
      {"SparsifiedMatMulInt8",
       {"x: float", "values: int32", "scale: float", "zero_point: float", "threshold: float"},
       "y: float",
       activation});
  Register<ReadActivation, ComputeMatMulInt8>(
      {"SparsifiedMatMulInt8WithBias",
       {"x: float", "values: int32", "scale: float", "zero_point: float", "threshold: float", "bias: float"},
       "y: float",
       activation});
  Register<ReadNothing, ComputeDequantize>(
      {"SparsifyDequantizeInt8", {"values: int32", "scale: float", "zero_point: float"}, "weights: float", {}});
  Register<ReadNothing, ComputeMask>({"SparsifyMask", {"x: float", "threshold: float"}, "y: float", {}});
  Register<ReadActivation, ComputeBiasActivation>(
      {"SparsifyBiasActivation", {"x: float", "bias: B * float"}, "y: float", {"B: int >= 0", "activation: string"}});
  RegisterDecoderOp();
}

}  // namespace

std::string RegisterOps() { return RegisterOnce(RegisterAll); }

}  // namespace sparsify
