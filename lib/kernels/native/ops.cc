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

// What an INT4 kernel has beside scales; the op's input behind these, if there is one.
enum class Int4Offset : uint8_t { kNone, kZeroPoint, kMinimum };

// The parts of an INT4 kernel of `units` columns and G groups: values int32 [inputs, words], scale int32 [G, units / 2 rounded up],
// and the offset, which lies like a row of values, or like scales.
StoredKernel Int4KernelOf(const Tensor& values, const Tensor& scale, const Tensor* offset, Int4Offset kind, size_t units) {
  const size_t words = StoredKernel::Int4Stride(units) / sizeof(int32_t);
  const bool has_matrices = values.rank() == 2 && scale.rank() == 2;
  const auto inputs = has_matrices ? static_cast<size_t>(values.shape()[0]) : 0;
  const auto groups = has_matrices ? static_cast<size_t>(scale.shape()[0]) : 0;
  const bool fits = has_matrices && static_cast<size_t>(values.shape()[1]) == words && groups != 0 && inputs % groups == 0;
  if (!fits) {
    throw InvalidArgument("the INT4 kernel has values " + values.ShapeText() + " and scale " + scale.ShapeText() + " for " +
                          std::to_string(units) + " units; they must be [inputs, " + std::to_string(words) +
                          "] and [groups, units / 2 rounded up], with groups that divide the inputs");
  }
  Int4Groups of;
  of.size = inputs / groups;
  of.scale = scale.halves();
  of.stride = Int4Groups::Stride(units);
  if (offset != nullptr) {
    const size_t width = kind == Int4Offset::kZeroPoint ? words : of.stride / 2;
    if (offset->rank() != 2 || static_cast<size_t>(offset->shape()[0]) != groups ||
        static_cast<size_t>(offset->shape()[1]) != width) {
      throw InvalidArgument("the INT4 kernel has zero points or minimums " + offset->ShapeText() + "; they must be [" +
                            std::to_string(groups) + ", " + std::to_string(width) + "], a row for each group");
    }
    if (kind == Int4Offset::kZeroPoint) of.zero_point = reinterpret_cast<const uint8_t*>(offset->bytes());
    if (kind == Int4Offset::kMinimum) of.minimum = offset->halves();
  }
  return StoredKernel::Int4(reinterpret_cast<const uint8_t*>(values.bytes()), words * sizeof(int32_t), of);
}

// What TensorFlow keeps of an op: its attributes, parsed.
struct Kernel {
  Activation activation = Activation::kLinear;
  bool is_odd = false;  // only of INT4: whether the last word of a group's scales has one
  size_t Units(const Tensor& scale) const {
    const auto words = scale.rank() == 2 ? static_cast<size_t>(scale.shape()[1]) : 0;
    return words == 0 ? 0 : 2 * words - (is_odd ? 1 : 0);
  }
};

void ReadNothing(TF_OpKernelConstruction*, Kernel*) {}
void ReadActivation(TF_OpKernelConstruction* construction, Kernel* kernel) {
  kernel->activation = ActivationAttribute(construction);
}

void ReadOddness(TF_OpKernelConstruction* construction, Kernel* kernel) {
  kernel->is_odd = IntAttribute(construction, "odd") != 0;
}
void ReadInt4(TF_OpKernelConstruction* construction, Kernel* kernel) {
  ReadActivation(construction, kernel);
  ReadOddness(construction, kernel);
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

template <Int4Offset kOffset>
void ComputeMatMulInt4(const Kernel& kernel, TF_OpKernelContext* context) {
  constexpr int kThreshold = kOffset == Int4Offset::kNone ? 3 : 4;
  const Tensor x = Input(context, 0), values = Input(context, 1), scale = Input(context, 2);
  const Tensor offset = Input(context, 3), threshold = Input(context, kThreshold);
  const Matrix matrix(x);
  const size_t units = kernel.Units(scale);
  const StoredKernel int4 =
      Int4KernelOf(values, scale, kOffset == Int4Offset::kNone ? nullptr : &offset, kOffset, units);
  if (static_cast<size_t>(values.shape()[0]) != matrix.columns) {
    throw InvalidArgument("the INT4 kernel has values " + values.ShapeText() + "; they must be [" +
                          std::to_string(matrix.columns) + ", words] for an x with that many inputs");
  }
  Multiply(kernel, context, matrix, int4, units, threshold, kThreshold + 1);
}

template <Int4Offset kOffset>
void ComputeDequantizeInt4(const Kernel& kernel, TF_OpKernelContext* context) {
  const Tensor values = Input(context, 0), scale = Input(context, 1);
  const std::vector<Tensor> offset = InputsFrom(context, 2);
  const size_t units = kernel.Units(scale);
  const StoredKernel int4 = Int4KernelOf(values, scale, offset.empty() ? nullptr : &offset[0], kOffset, units);
  const Tensor weights = Output(context, 0, {values.shape()[0]}, units);
  DequantizeKernel(int4, static_cast<size_t>(values.shape()[0]), units, weights.data(), Pool::Get());
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

// The ops of one form of INT4, whose names end with `suffix`; `offset` declares its input, if it has one.
template <Int4Offset kOffset>
void RegisterInt4(const std::string& suffix, const char* offset) {
  const auto declared = [offset](std::vector<const char*> first, const std::vector<const char*>& last) {
    if (kOffset != Int4Offset::kNone) first.push_back(offset);
    first.insert(first.end(), last.begin(), last.end());
    return first;
  };
  const std::vector<const char*> attributes = {"activation: string = 'linear'", "odd: int = 0"};
  const std::string name = "SparsifiedMatMulInt4" + suffix, with_bias = name + "WithBias";
  const std::string dequantize = "SparsifyDequantizeInt4" + suffix;
  Register<ReadInt4, ComputeMatMulInt4<kOffset>>(
      {name.c_str(), declared({"x: float", "values: int32", "scale: int32"}, {"threshold: float"}), "y: float", attributes});
  Register<ReadInt4, ComputeMatMulInt4<kOffset>>(
      {with_bias.c_str(), declared({"x: float", "values: int32", "scale: int32"}, {"threshold: float", "bias: float"}),
       "y: float", attributes});
  Register<ReadOddness, ComputeDequantizeInt4<kOffset>>(
      {dequantize.c_str(), declared({"values: int32", "scale: int32"}, {}), "weights: float", {"odd: int = 0"}});
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
  RegisterInt4<Int4Offset::kNone>("", nullptr);
  RegisterInt4<Int4Offset::kZeroPoint>("Asymmetric", "zero_point: int32");
  RegisterInt4<Int4Offset::kMinimum>("Minimum", "minimum: int32");
  Register<ReadNothing, ComputeMask>({"SparsifyMask", {"x: float", "threshold: float"}, "y: float", {}});
  Register<ReadActivation, ComputeBiasActivation>(
      {"SparsifyBiasActivation", {"x: float", "bias: B * float"}, "y: float", {"B: int >= 0", "activation: string"}});
  RegisterDecoderOp();
}

}  // namespace

std::string RegisterOps() { return RegisterOnce(RegisterAll); }

}  // namespace sparsify
